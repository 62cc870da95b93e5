"""How long each stage of a change took. Pure arithmetic, one definition for metrics and people."""

from __future__ import annotations

STAGES = ("detect", "queue", "process", "publish", "total")


def stages(
    *,
    changed_at: float | None,
    observed_at: float | None,
    claimed_at: float | None,
    staged_at: float | None,
    finished_at: float,
) -> dict[str, float]:
    """Seconds by stage; a stage that was not reached is left out.

    *detect*: changed until observed; *queue*: observed until claimed; *process*: claimed until every
    chunk was staged (until the end where nothing had to be); *publish*: staged until finished; *total*:
    changed until finished. Never negative: two clocks may disagree.
    """
    marks = {
        "detect": (changed_at, observed_at),
        "queue": (observed_at, claimed_at),
        "process": (claimed_at, finished_at if staged_at is None else staged_at),
        "publish": (staged_at, finished_at),
        "total": (changed_at, finished_at),
    }
    return {
        stage: max(0.0, end - start)
        for stage, (start, end) in marks.items()
        if start is not None and end is not None
    }
