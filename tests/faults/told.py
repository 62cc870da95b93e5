"""What a role told, held to the promise: one alert for each cause and injury, and a line when it is over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

# What an alert is about, by what it names.
_CAUSES = {
    "broker": re.compile(r"[Tt]he broker\b"),
    "index": re.compile("Weaviate"),
    "ledger": re.compile("PostgreSQL|ledger"),
    "embedder": re.compile("embedding endpoint|embedding model"),
}
_ALERT = re.compile(r"WARNING |folder  waiting  ")
_NEVER = re.compile(r"CRITICAL |ERROR |Traceback |.*DeprecationWarning")
_OVER = re.compile(
    r"INFO headwater\.(?:broker: the (broker) answers again|outages: the (\w+) can be used again)"
)
_WAITED = re.compile(r"INFO headwater\.roles: goes on, after ")


class Told:
    """The log of one role, through all its processes."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._processes: list[int] = []  # where each began, in bytes
        self._injuries: list[int] = []

    def process_begins(self) -> None:
        self._processes.append(self._size())

    def injury_begins(self) -> None:
        self._injuries.append(self._size())

    def wrong(self) -> Iterator[str]:
        """What breaks the promise, line by line."""
        open_now: set[str] = set()
        told_of: set[str] = set()
        starts, injuries = iter([*self._processes, -1]), iter([*self._injuries, -1])
        start, injury, at = next(starts), next(injuries), 0
        for line in self._log.read_bytes().splitlines(keepends=True):
            while 0 <= start <= at:  # what the one before left open ended with it
                start, open_now, told_of = next(starts), set(), set()
            while 0 <= injury <= at:
                injury, told_of = next(injuries), set()
            at += len(line)
            yield from self._judged(line.decode(errors="replace").rstrip(), open_now, told_of)

    def still_open(self) -> set[str]:
        """Causes whose end was not told in the process that runs."""
        open_now: set[str] = set()
        begin = self._processes[-1] if self._processes else 0
        for line in self._log.read_bytes()[begin:].decode(errors="replace").splitlines():
            list(self._judged(line, open_now, set()))
        return open_now

    def _judged(self, line: str, open_now: set[str], told_of: set[str]) -> Iterator[str]:
        if _NEVER.match(line):
            yield f"never to be told: {line}"
        elif over := _OVER.match(line):
            open_now.discard(over[1] or over[2])
        elif _WAITED.match(line):
            open_now.clear()
        elif _ALERT.match(line):
            cause = next((name for name, words in _CAUSES.items() if words.search(line)), None)
            what = cause or re.sub(r"\d+", "#", line)
            if what in told_of:
                yield f"told twice within one injury: {line}"
            elif what in open_now:
                yield f"told again before it was over: {line}"
            told_of.add(what)
            if cause is not None:
                open_now.add(cause)

    def _size(self) -> int:
        return self._log.stat().st_size if self._log.exists() else 0
