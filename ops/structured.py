"""A log for machines: one JSON object a line, for every transition of a document and every record of the log.

Made by the standard library's logging and a formatter: the libraries underneath log through it as well, so a
second system beside it would have to be told everything twice. What hides in a name is escaped by JSON, of
which only ASCII is used; passwords in addresses are taken out of whatever is said.
"""

from __future__ import annotations

import datetime
import functools
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from ingestion.clock import Clock
from ingestion.shown import without_secrets
from ops.damping import Begins
from ops.printing import Printing
from ops.progress import LINE_EVERY_S, PlainMeter
from ops.transitions import LOGGER, fields_of, level_of, words_of
from workers.outcomes import Outcome

TraceId = Callable[[], str | None]


_LEVELS = {logging.INFO: "info", logging.WARNING: "warning", logging.ERROR: "error"}
_ENCODER = json.JSONEncoder(default=str)  # of ASCII alone


def json_line(at: float, level: int, logger: str, message: str, fields: Mapping[str, Any]) -> str:
    """One line of ASCII: what a name holds cannot move a cursor, and cannot begin a line of its own."""
    entry = {
        "at": _rfc3339(at),
        "level": _LEVELS[level] if level in _LEVELS else logging.getLevelName(level).lower(),
        "logger": logger,
        "message": message,
        **fields,
    }
    return _ENCODER.encode(
        {name: without_secrets(told) if isinstance(told, str) else told for name, told in entry.items()}
    )


class JsonFormatter(logging.Formatter):
    """A record of the log as such a line; where it tells of an exception, with its ``traceback``."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {"role": self._role}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json_line(record.created, record.levelno, record.name, record.getMessage(), fields)


class StructuredPrinting(Printing):
    """Prints every outcome as a JSON line, those of the bulk lane too, and whatever else is said."""

    def __init__(
        self,
        write: Callable[[str], None],
        clock: Clock,
        *,
        role: str,
        every_s: float = LINE_EVERY_S,
        begins: Begins = lambda _: None,
        trace_id: TraceId = lambda: None,
    ) -> None:
        super().__init__(PlainMeter(self._say, clock.monotonic, every_s=every_s), clock, begins=begins)
        self._write = write
        self._role = role
        self._trace_id = trace_id
        self.formatter: logging.Formatter = JsonFormatter(role)

    def outcome(self, outcome: Outcome) -> None:
        with self._turn:
            self._count(outcome)
            if self._damping.repeats(outcome):
                return
            fields = {"role": self._role, **fields_of(outcome)}
            if (trace_id := self._trace_id()) is not None:
                fields["trace_id"] = trace_id
            now = self._clock.now()
            self._write(json_line(now, level_of(outcome), LOGGER, words_of(outcome), fields))

    def logged(self, line: str) -> None:
        with self._turn:
            self._write(line)

    def _say(self, text: str) -> None:
        self._write(
            json_line(self._clock.now(), logging.INFO, "headwater", text.strip(), {"role": self._role})
        )


def _rfc3339(at: float) -> str:
    seconds, thousandths = divmod(round(at * 1000), 1000)
    return f"{_whole_second(seconds)}.{thousandths:03d}Z"


@functools.lru_cache(4)  # a first index tells of a thousand documents within one
def _whole_second(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
