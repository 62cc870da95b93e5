"""Two bulk workers against one, where what they wait for is a provider and not the machine.

    python -m tests.bench.bulk_workers [--files 4000]

A first index of small files, one text each, on Redis, Weaviate and PostgreSQL. The stand-in
(``tests.bench._stand_in``) takes 50 ms a call of one text, and a worker makes 8 calls at once: so one worker
can embed 160 texts/s. Each run has a ledger and a collection of its own; the time is from the first text of a
document to the last answer. Target: issue 5, figure 3.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.acceptance.roles import BULK, SCHEDULE, WATCH
from tests.bench._common import begin, row, small_files, workplace, write_all
from tests.bench._stack import Servers, serving, stack
from tests.bench._stand_in import CALL_S, DIMENSIONS
from tests.bench.remote import provider, report

FILES = 4_000
AT_ONCE = 8  # calls of each worker
WORKERS = 2
LEAST = 1.7
DEADLINE_S = 600.0


def main(number: int) -> None:
    begin(f"{number} files, a provider of {CALL_S * 1000:.0f} ms a text, {AT_ONCE} calls at once a worker")
    with workplace() as place, serving(place) as servers:
        corpus = place / "files"
        write_all(corpus, small_files(number))
        one = rate(corpus, place / "one", servers, workers=1)
        two = rate(corpus, place / "two", servers, workers=WORKERS)
    row(f"{WORKERS} workers, of the rate of one", f"{two / one:.2f} x", f">= {LEAST} x")


def rate(corpus: Path, place: Path, servers: Servers, *, workers: int) -> float:
    """Texts a second of so many workers, which are there before the first file is seen."""
    number = sum(1 for _ in corpus.rglob("*.md"))
    with provider(AT_ONCE * WORKERS, 1) as url:
        with stack(
            [corpus], place, servers, roles=[SCHEDULE, *[BULK] * workers], model="stand-in", environ=at(url)
        ) as one:
            one.until_open()
            before = one.processor_s()
            one.start(WATCH)
            one.until_settled(DEADLINE_S, documents=number)
            spent = {name: used - before.get(name, 0.0) for name, used in one.processor_s().items()}
        told = report(url)
    seconds: float = told["last_at"] - told["first_at"]
    allowed = workers * AT_ONCE / CALL_S
    row(f"{workers} bulk worker{'s' * (workers > 1)}", f"{number / seconds:.0f} texts/s")
    row(f"  of the {allowed:.0f} texts/s that its calls allow", f"{number / seconds / allowed:.0%}")
    row("  calls at once, at most; texts answered twice", f"{told['most_at_once']}, {told['answered_twice']}")
    row("  processor time, all processes", f"{sum(spent.values()) / seconds:.0%} of a core")
    for name, used in sorted(spent.items(), key=lambda pair: -pair[1]):
        row(f"    {name}, a thousand texts", f"{1000 * used / number:.2f} s")
    return number / seconds


def at(url: str) -> dict[str, str]:
    return {
        "HEADWATER_EMBEDDING__RUNTIME": "openai",
        "HEADWATER_EMBEDDING__URL": url,
        "HEADWATER_EMBEDDING__DIMENSIONS": str(DIMENSIONS),
        "HEADWATER_EMBEDDING__CONCURRENCY": str(AT_ONCE),
        "HEADWATER_EMBEDDING__BATCH_TEXTS": "1",
    }


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--files", type=int, default=FILES)
    main(arguments.parse_args().files)
