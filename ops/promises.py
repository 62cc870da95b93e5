"""What is said of one source and its objective: verdict and reason, quantiles of the last hour, budget, and
when it will have caught up. In values that JSON knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from ingestion.ledger.ledger import Ledger
from ingestion.objectives import Kind, quantile
from ops.backlog import SourceBacklog
from ops.verdicts import Judged, Verdict, caught_up_in_s, judge

Json = dict[str, Any]

Sizes = Mapping[tuple[str, Kind], Mapping[int, int]]
_SHARES = {"p50_s": 0.5, "p95_s": 0.95, "p99_s": 0.99}


def judged(source: SourceBacklog, ledger: Ledger, now: float, within_s: float | None = None) -> Judged:
    """The verdict on a source, with what the last try said where nothing comes of any.

    ``within_s``: what a change may take, in the place of the objective's.
    """
    found = judge(source.facts(within_s), now)
    if found.verdict is not Verdict.STUCK:
        return found
    trouble = ledger.views.trouble(source.state.name)
    return found if trouble is None else replace(found, reason=f"{found.reason} The last try: {trouble}")


def promise_json(source: SourceBacklog, sizes: Sizes, ledger: Ledger, now: float) -> Json:
    """``sizes``: of everything that was finished in the last hour."""
    verdict, name = judged(source, ledger, now), source.state.name
    left_s = caught_up_in_s(source.facts(), now)
    return {
        "verdict": verdict.verdict.value,
        "reason": verdict.reason,
        "objective": asdict(source.state.objective),
        "overdue": source.lag.overdue,
        "error_budget_left": round(source.budget_left, 4),
        "last_hour": {
            "changes": _quantiles(sizes.get((name, Kind.CHANGE), {})),
            "deletions": _quantiles(sizes.get((name, Kind.DELETION), {})),
        },
        "caught_up_in_s": None if left_s is None else round(left_s, 1),
    }


def _quantiles(sizes: Mapping[int, int]) -> Json:
    """``None`` where nothing was finished."""
    found: Json = {"number": sum(sizes.values())}
    for name, share in _SHARES.items():
        seconds = quantile(sizes, share)
        found[name] = None if seconds is None else float(f"{seconds:.3g}")
    return found
