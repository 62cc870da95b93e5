"""What became of a document in one go: told to whoever prints, counts or logs it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from ingestion.errors import Transient
from ingestion.own import is_own
from ingestion.records import Lane


class Result(enum.StrEnum):
    PUBLISHED = "published"
    UNCHANGED = "unchanged"  # read again, and the content was the same
    SKIPPED = "skipped"
    RENAMED = "renamed"
    RETIRED = "retired"
    HELD = "held"
    FAILED = "failed"  # will be tried again
    DEAD = "dead"  # dead letter
    FAULT = "fault"  # store, embedder, disk or network: will be tried again, costs no attempt
    DEFERRED = "deferred"  # much to embed: goes on in the bulk lane


@dataclass(frozen=True, slots=True)
class Outcome:
    """One transition of one document. Times are seconds since the epoch; None where not reached.

    ``changed_at`` is the oldest change that this transition made searchable: ``finished_at`` minus it
    is the freshness lag. ``new`` says that nothing of the document was live before.
    """

    result: Result
    source: str
    uri: str
    document_id: int
    generation: int
    lane: Lane
    finished_at: float
    new: bool = False
    chunks: int = 0
    embedded: int = 0
    reused: int = 0
    dropped: int = 0
    changed_at: float | None = None
    observed_at: float | None = None
    claimed_at: float | None = None
    staged_at: float | None = None
    detail: str = ""
    fault: Transient | None = None  # of FAULT: what stood in the way


Listener = Callable[[Outcome], None]


def of_users(listener: Listener) -> Listener:
    """Tells it of users' documents alone: nobody is to read, or to reckon with, what the canary's do."""

    def told(outcome: Outcome) -> None:
        if not is_own(outcome.source):
            listener(outcome)

    return told


def ignore(_outcome: Outcome) -> None:
    """The listener of those who do not care."""
