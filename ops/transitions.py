"""What a transition of a document is in a log: a line of words and the same as fields. Pure.

Names stand in the words with everything escaped that could move a cursor; the fields hold them as they are,
for whoever writes them down to escape.
"""

from __future__ import annotations

import logging
from typing import Any

from ops.showing import plain
from ops.stages import stages
from workers.outcomes import Outcome, Result

Fields = dict[str, Any]

LOGGER = "headwater.documents"

_LEVELS = {
    Result.DEAD: logging.ERROR,
    Result.FAILED: logging.WARNING,
    Result.FAULT: logging.WARNING,
    Result.HELD: logging.WARNING,
}


def log_outcome(outcome: Outcome) -> None:
    """A listener for a process whose log is somebody else's, as Celery's own program."""
    logging.getLogger(LOGGER).log(level_of(outcome), "%s", words_of(outcome))


def level_of(outcome: Outcome) -> int:
    """How loud it is: what waits for a person is an error, what waits for better times a warning."""
    return _LEVELS.get(outcome.result, logging.INFO)


def words_of(outcome: Outcome) -> str:
    """``handbook/leave.md published``, and why, where there is a reason."""
    name = f"{outcome.source}/{outcome.uri}" if outcome.uri else outcome.source
    reason = f": {outcome.detail}" if outcome.detail else ""
    return plain(f"{name} {outcome.result.value}{reason}")


def fields_of(outcome: Outcome) -> Fields:
    """Everything that is known of it; stages in seconds, those that were not reached left out."""
    fields: Fields = {
        "result": outcome.result.value,
        "source": outcome.source,
        "lane": outcome.lane.value,
        "new": outcome.new,
        "chunks": outcome.chunks,
        "embedded": outcome.embedded,
        "reused": outcome.reused,
        "dropped": outcome.dropped,
    }
    if outcome.uri:
        fields["uri"] = outcome.uri
    if outcome.document_id:
        fields |= {"document_id": outcome.document_id, "generation": outcome.generation}
    if outcome.detail:
        fields["detail"] = outcome.detail
    return fields | _seconds(outcome)


def _seconds(outcome: Outcome) -> Fields:
    found = stages(
        changed_at=outcome.changed_at,
        observed_at=outcome.observed_at,
        claimed_at=outcome.claimed_at,
        staged_at=outcome.staged_at,
        finished_at=outcome.finished_at,
    )
    return {f"{stage}_s": round(seconds, 6) for stage, seconds in found.items()}
