"""The life of a document as lines: of every change when it was made, seen, claimed, staged and searchable,
how long each step took, and what searches found until then. Pure: reads what it is given."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence

from ingestion.ledger.views import AttemptView
from ops.showing import counted, milliseconds, moment, plain

_WIDTH = 12  # of the longest word for a step

_BEGINS = {"published", "unchanged"}  # what they tell of is searchable from then on
_ENDS = {"retired", "skipped"}  # and after these nothing is


def timeline(history: Sequence[AttemptView], *, whole: bool) -> Iterator[str]:
    """Oldest first. ``whole``: nothing was dropped of it, so what it does not tell of never was."""
    several = len({attempt.edition for attempt in history if attempt.edition}) > 1
    live: dict[str | None, int | None] = {}
    for attempt in history:
        yield from _attempt(attempt, several=several)
        known = attempt.edition in live or whole
        served = live.get(attempt.edition)
        yield from _until_then(attempt, served, known=known)
        if attempt.outcome in _BEGINS:
            live[attempt.edition] = attempt.generation
        elif attempt.outcome in _ENDS:  # in every edition
            live = dict.fromkeys([*live, attempt.edition])


def _attempt(attempt: AttemptView, *, several: bool) -> Iterator[str]:
    """``several``: there are attempts in more than one edition, so each says in which."""
    chunks = (
        f", {counted(attempt.chunks, 'chunk')} ({attempt.embedded:,} embedded, {attempt.reused:,} reused)"
        if attempt.chunks
        else ""
    )
    edition = f", edition {attempt.edition}" if several and attempt.edition else ""
    yield (
        f"    {moment(attempt.finished_at)}  generation {attempt.generation}  {attempt.outcome}"
        f", {attempt.lane} lane{chunks}{edition}"
    )
    yield from _steps(attempt)
    if attempt.detail:
        yield f"        {plain(attempt.detail)}"


def _steps(attempt: AttemptView) -> Iterator[str]:
    """One line for each step that was reached, with the time since the one before and what that is called."""
    last: float | None = None
    end = "publish" if attempt.staged_at is not None else "process" if attempt.claimed_at is not None else ""
    for word, stage, at in (
        ("changed", "", attempt.changed_at),
        ("seen", "detect", attempt.observed_at),
        ("claimed", "queue", attempt.claimed_at),
        ("staged", "process", attempt.staged_at),
        (attempt.outcome, end, attempt.finished_at),
    ):
        if at is None:
            continue
        yield f"        {_time_of_day(at, attempt.finished_at)}  {_after(word, stage, last, at)}"
        last = at
    if attempt.changed_at is not None:
        total = milliseconds(max(0.0, attempt.finished_at - attempt.changed_at))
        yield f"        total {total} after the change"


def _after(word: str, stage: str, last: float | None, at: float) -> str:
    if last is None:
        return word
    return f"{word:<{_WIDTH}}{milliseconds(max(0.0, at - last))} later" + (f" ({stage})" if stage else "")


def _until_then(attempt: AttemptView, served: int | None, *, known: bool) -> Iterator[str]:
    if attempt.outcome == "retired":
        yield "        no longer served from then on"
    elif attempt.outcome == "published" and served is not None:
        yield f"        generation {served} was served until then{_stale(attempt)}"
    elif attempt.outcome == "published" and known:
        yield "        nothing of it was searchable before"
    elif attempt.outcome in ("failed", "dead") and served is not None:
        yield f"        generation {served} is served on"


def _stale(attempt: AttemptView) -> str:
    if attempt.changed_at is None:
        return ""
    return f", stale for {milliseconds(max(0.0, attempt.finished_at - attempt.changed_at))}"


def _time_of_day(at: float, on_day_of: float) -> str:
    """``14:03:11.402``, and the day where it is another one."""
    try:
        local = datetime.datetime.fromtimestamp(at, datetime.UTC).astimezone()
        day = datetime.datetime.fromtimestamp(on_day_of, datetime.UTC).astimezone().date()
    except (OverflowError, ValueError, OSError):  # a file may carry any time at all
        return moment(at)
    shown = local.time().isoformat(timespec="milliseconds")
    return shown if local.date() == day else f"{local.date().isoformat()} {shown}"
