"""Simulates looks at documents that change at skewed rates: how old is what is known of them?

    python tests/bench/adaptive.py [--documents 100000] [--days 40] [--sigma 3.8] [--looks-a-day 1]

Every policy has the same budget, by default as many looks a day as there are documents, so that looking at
all of them alike means once a day. ``uniform``: in turn. ``adaptive``: where ``ingestion.adaptive`` says,
which knows no rate when it begins. ``oracle``: the same choice by the true rates, the floor. The time between
changes is log-normal among the documents. That is an assumption: by default 23 % change daily or more often,
and 30 % less than every four months. With a smaller ``--sigma`` they are less skewed, and there is less to
gain: the oracle says how much.

The age of a document is the time since the first change that no look has found; figures are means over all
documents and the second half of the time, and the first days by themselves. The exit code is 1 where adaptive
is above 60 % of uniform.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable

import numpy as np

from ingestion.adaptive import PRIOR_SHAPE, PRIOR_SPAN_S, Floats, best, learnt, mean_age, worth

DAY_S = 86_400.0
STEPS = 24  # a day
AT_MOST = 0.60
# Of the natural logarithm of days between changes: 23 % below 1 day, 70 % below 120 days.
DAILY = 0.739  # below the mean by so many standard deviations lie 23 %
SIGMA = math.log(120) / (0.524 + DAILY)

Choose = Callable[[Floats, Floats, Floats, int], np.typing.NDArray[np.intp]]


def simulated(rates: Floats, days: int, looks_a_day: float, choose: Choose, seed: int) -> list[float]:
    """The mean age, in days, at the end of each."""
    random = np.random.default_rng(seed)
    number = len(rates)
    shape, span_s = np.full(number, PRIOR_SHAPE), np.full(number, PRIOR_SPAN_S)
    looked_at = -DAY_S / looks_a_day * random.random(number)  # each once, before
    ages = []
    for step in range(days * STEPS):
        now = (step + 1) * DAY_S / STEPS
        since = now - looked_at
        some = choose(shape, span_s, since, round(number * looks_a_day / STEPS))
        changed = random.random(len(some)) < -np.expm1(-rates[some] * since[some])
        shape[some], span_s[some] = learnt(shape[some], span_s[some], since[some], changed)
        # Before the look and after it, half each: as old as it is on average within the step.
        before = age(rates, since).mean()
        looked_at[some] = now
        ages.append((before + age(rates, now - looked_at).mean()) / 2 / DAY_S)
    return [float(np.mean(ages[day * STEPS : (day + 1) * STEPS])) for day in range(days)]


def age(rates: Floats, since: Floats) -> Floats:
    """Expected, so long after the last look."""
    return since + np.expm1(-rates * since) / rates


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--documents", type=int, default=100_000)
    arguments.add_argument("--days", type=int, default=40)
    arguments.add_argument("--sigma", type=float, default=SIGMA)
    arguments.add_argument("--looks-a-day", type=float, default=1.0, help="for each document, on average")
    arguments.add_argument("--seed", type=int, default=7)
    given = arguments.parse_args()
    random = np.random.default_rng(given.seed)
    rates = np.exp(-random.normal(DAILY * given.sigma, given.sigma, given.documents)) / DAY_S
    policies: dict[str, Choose] = {
        "uniform": lambda shape, span, since, most: np.argpartition(-since, most)[:most],
        "adaptive": best,
        "oracle": lambda shape, span, since, most: np.argpartition(-worth(rates, since), most)[:most],
    }
    alike = np.full_like(rates, DAY_S / given.looks_a_day)
    by_formula = round(float(mean_age(rates, alike).mean() / DAY_S), 4)
    report: dict[str, object] = {
        "documents": given.documents,
        "daily_or_more_often": round(float((rates * DAY_S > 1).mean()), 3),
        "uniform_by_formula_days": by_formula,
    }
    found = {}
    for name, choose in policies.items():
        began = time.perf_counter()
        ages = simulated(rates, given.days, given.looks_a_day, choose, given.seed + 1)
        found[name] = float(np.mean(ages[given.days // 2 :]))
        report[name] = {
            "mean_age_days": round(found[name], 4),
            "by_day": {day: round(ages[day - 1], 4) for day in (1, 2, 3, 5, 10, 20, 40) if day <= given.days},
            "took_s": round(time.perf_counter() - began, 1),
        }
    share = found["adaptive"] / found["uniform"]
    report |= {
        "adaptive_of_uniform": round(share, 3),
        "oracle_of_uniform": round(found["oracle"] / found["uniform"], 3),
        "at_most": AT_MOST,
    }
    print(json.dumps(report, indent=2))
    return 0 if share <= AT_MOST else 1


if __name__ == "__main__":
    sys.exit(main())
