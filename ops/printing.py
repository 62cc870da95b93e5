"""What ``headwater up`` says while it runs: a line for each change, and how far a first index is.

A listener of the workers. Work of the bulk lane is counted and summed up instead of listed; what needs
somebody's attention (a failure, a dead letter, a held deletion, a fault) is always told, once.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from ingestion.clock import Clock
from ingestion.records import Lane
from ingestion.shown import without_secrets
from ops.damping import Begins, Damping
from ops.progress import Meter
from ops.showing import counted, duration, plain, reason_for
from workers.outcomes import Outcome, Result

# What a bulk lane leaves to its summary.
_SUMMED_UP = (Result.PUBLISHED, Result.SKIPPED, Result.UNCHANGED)
_ENDS = (*_SUMMED_UP, Result.DEAD)


@dataclass(slots=True)
class _Bulk:
    """What a run of bulk work has done so far."""

    started_at: float
    total: int = 0
    documents: int = 0
    chunks: int = 0
    embedded: int = 0
    skipped: int = 0
    dead: int = 0


class Printing:
    """Prints outcomes through a meter. Safe to call from several threads.

    ``begins``: whether a fault is the first of an outage, told once for all that meet it; None where that is
    for this one to find out. ``formatter`` is how records of the log are to be made into text for ``logged``.
    """

    def __init__(self, meter: Meter, clock: Clock, *, begins: Begins = lambda _: None) -> None:
        self._meter = meter
        self._clock = clock
        self._turn = threading.Lock()
        self._bulk: _Bulk | None = None
        self._deferred: set[int] = set()
        self._damping = Damping(begins)
        self.formatter = logging.Formatter("%(levelname)s %(name)s: %(message)s")

    def outcome(self, outcome: Outcome) -> None:
        with self._turn:
            self._count(outcome)
            if (line := self._line(outcome)) is not None:
                self._meter.line(line)

    def line(self, text: str) -> None:
        """Say something else. ``text`` must be safe to print."""
        with self._turn:
            self._meter.line(text)

    def logged(self, text: str) -> None:
        """Say what a record of the log says, which may hold anything: each of its lines is one here."""
        for line in without_secrets(text).splitlines():
            self.line(plain(line))

    def backlog(self, remaining: int) -> None:
        """So many documents are still to be indexed now; to be called every now and then."""
        with self._turn:
            if remaining and self._bulk is None:
                self._bulk = _Bulk(self._clock.monotonic())
            if self._bulk is None:
                return
            if remaining:
                self._bulk.total = max(self._bulk.total, self._bulk.documents + remaining)
                self._meter.show(self._bulk.total - remaining, self._bulk.total)
                return
            self._meter.clear()
            if summary := self._summary(self._bulk):
                self._meter.line(summary)
            self._bulk = None

    def close(self) -> None:
        """Leave the terminal as it was."""
        with self._turn:
            self._meter.clear()

    def _count(self, outcome: Outcome) -> None:
        if outcome.lane is not Lane.BULK or outcome.result not in _ENDS or self._is_own(outcome):
            return
        began_at = self._clock.monotonic() - _worked_s(outcome)
        if self._bulk is None:
            self._bulk = _Bulk(began_at)
        # Documents of one batch are told at its end, and the first batch may be the only one.
        self._bulk.started_at = min(self._bulk.started_at, began_at)
        self._bulk.documents += 1
        self._bulk.chunks += outcome.chunks
        self._bulk.embedded += outcome.embedded
        self._bulk.skipped += outcome.result is Result.SKIPPED
        self._bulk.dead += outcome.result is Result.DEAD

    def _is_own(self, outcome: Outcome) -> bool:
        """Whether it is an edit that moved to the bulk lane for its size: it has a line of its own."""
        return outcome.document_id in self._deferred

    def _line(self, outcome: Outcome) -> str | None:
        name = plain(f"{outcome.source}/{outcome.uri}") if outcome.uri else plain(outcome.source)
        if self._damping.repeats(outcome):
            return None
        if outcome.result is Result.FAULT:
            return f"{plain(outcome.source)}  waiting  {plain(outcome.detail)}"
        if outcome.result is Result.FAILED:
            return f"{name}  failed, will be tried again  {_reason(outcome)}"
        summed_up = outcome.lane is Lane.BULK and outcome.result in _SUMMED_UP and not self._is_own(outcome)
        if summed_up or outcome.result is Result.UNCHANGED:
            return None
        words = _words(outcome)
        if outcome.result is Result.DEFERRED:
            self._deferred.add(outcome.document_id)
        elif outcome.result in _ENDS:
            self._deferred.discard(outcome.document_id)
        return f"{name}  {words}"

    def _summary(self, bulk: _Bulk) -> str:
        if not bulk.documents:
            return ""
        took = duration(self._clock.monotonic() - bulk.started_at)
        words = [
            f"indexed {counted(bulk.documents, 'document')} in {took}: "
            f"{counted(bulk.chunks, 'chunk')}, {bulk.embedded:,} embedded"
        ]
        if bulk.skipped:
            words.append(f"{bulk.skipped:,} skipped")
        if bulk.dead:
            words.append(f"{counted(bulk.dead, 'dead letter')} (see: headwater dead)")
        return ", ".join(words)


def _worked_s(outcome: Outcome) -> float:
    return 0.0 if outcome.claimed_at is None else max(0.0, outcome.finished_at - outcome.claimed_at)


def _words(outcome: Outcome) -> str:
    detail = plain(outcome.detail)
    match outcome.result:
        case Result.PUBLISHED:
            return "  ".join(
                ["new" if outcome.new else "edited", _chunks(outcome), *_lag(outcome, "searchable")]
            )
        case Result.RENAMED:
            return "  ".join([f"renamed, {detail}", "nothing embedded", *_lag(outcome, "searchable")])
        case Result.RETIRED:
            return "  ".join(["deleted", *_lag(outcome, "no longer served")])
        case Result.DEAD:
            return f"dead letter  {_reason(outcome)}  Then: headwater dead replay"
        case _:
            return f"{outcome.result}  {detail}"


def _reason(outcome: Outcome) -> str:
    return reason_for(f"{outcome.source}/{outcome.uri}", outcome.detail)


def _chunks(outcome: Outcome) -> str:
    if not outcome.chunks:
        return "no text in it"
    return f"{outcome.embedded:,} of {counted(outcome.chunks, 'chunk')} embedded"


def _lag(outcome: Outcome, what: str) -> list[str]:
    if outcome.changed_at is None:
        return []
    return [f"{what} after {duration(outcome.finished_at - outcome.changed_at)}"]
