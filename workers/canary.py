"""A document of our own, written, edited and deleted through the real path: it fares as users' documents do.

A round writes a file, waits until a search finds it, edits it, waits, deletes it, waits: watcher, ledger,
queue, worker, embedder, index and fence all have to do their part, whether or not a user changes anything
meanwhile. The words are new in each round, so that no vector is there for them. Searches are by words alone:
a schedule loads no model. Whatever a round leaves behind, killed in the middle, the next one writes over.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ingestion.clock import Clock
from ingestion.errors import HeadwaterError, Interrupted
from ingestion.ledger.ledger import Ledger
from ingestion.own import canary_of
from retrieval.answers import Hit, SearchRequest
from retrieval.search import Searcher
from workers.perches import DOCUMENT, Perch

STEPS = ("write", "edit", "delete")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.5


@dataclass(frozen=True, slots=True)
class Round:
    """How one went: seconds by step until searches answered accordingly; the step that failed, and why."""

    took: dict[str, float]
    failed: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Step:
    """``act`` changes something; ``is_shown``: whether these hits of a search for ``words`` tell of it."""

    name: str
    words: str
    act: Callable[[], None]
    is_shown: Callable[[list[Hit]], bool]


class Canary:
    """Sings in rounds. ``pause`` waits for so long, and says whether it is to stop."""

    def __init__(
        self,
        perch: Perch,
        ledger: Ledger,
        searcher: Searcher,
        clock: Clock,
        *,
        pause: Callable[[float], bool],
    ) -> None:
        self.kind = perch.kind
        self.source = canary_of(perch.kind)
        self._perch = perch
        self._ledger = ledger
        self._searcher = searcher
        self._clock = clock
        self._pause = pause

    def sing(self, within_s: float, keep: Callable[[], None]) -> Round:
        """One round. ``keep`` is called before anything is changed: it raises Interrupted where the round has
        become another process's. Raises Interrupted, too, where it is to stop."""
        took: dict[str, float] = {}
        for step in self._steps():
            keep()
            try:
                took[step.name] = self._try(step, within_s)
            except (HeadwaterError, OSError) as fault:
                if isinstance(fault, Interrupted):
                    raise
                keep()
                self._clean_up()
                return Round(took, step.name, str(fault))
        return Round(took)

    def _steps(self) -> Iterator[_Step]:
        written, edited = secrets.token_hex(8), secrets.token_hex(8)
        yield _Step("write", written, lambda: self._perch.write(_text(written)), _holding(written))
        yield _Step("edit", edited, lambda: self._perch.write(_text(edited)), _holding(edited))
        yield _Step("delete", edited, self._perch.delete, lambda hits: not hits)

    def _try(self, step: _Step, within_s: float) -> float:
        """Seconds from the change until a search told of it. Raises HeadwaterError, OSError."""
        self._until_listed(within_s)
        before = self._ledger.fence.generation()
        step.act()
        acted_at = self._clock.monotonic()
        ends = acted_at + within_s
        pause_s, fault = FIRST_PAUSE_S, ""
        while True:
            try:
                if step.is_shown(self._hits(step.words)):
                    return self._clock.monotonic() - acted_at
                fault = ""
            except HeadwaterError as error:  # what is away may be back in time
                fault = str(error)
            if self._clock.monotonic() >= ends:
                raise HeadwaterError(
                    f"After {within_s:g} s {self._where(step.name, before)}. {fault}".strip()
                )
            self._rest(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 1.5)

    def _until_listed(self, within_s: float) -> None:
        """What a first listing finds has to wait for the first index of everything else."""
        self._perch.prepare()
        ends = self._clock.monotonic() + within_s
        while (state := self._ledger.sources.state(self.source)) is None or state.listed_at is None:
            if self._clock.monotonic() >= ends:
                raise HeadwaterError("No watcher has listed its folder yet.")
            self._rest(LONGEST_PAUSE_S)

    def _hits(self, words: str) -> list[Hit]:
        response = self._searcher.search(SearchRequest(words, sources=(self.source,)))
        return [hit for hit in response.hits if hit.uri == DOCUMENT]

    def _where(self, step: str, before: int) -> str:
        """How far the change came."""
        try:
            view = self._ledger.views.named(self.source, DOCUMENT)
        except HeadwaterError:
            return "the ledger does not say how far it came"
        if step == "delete":
            seen = view is None or view.state == "retired"
            return (
                "it is known to be gone, and searches fail" if seen else "no watcher has seen that it is gone"
            )
        if view is None or view.wanted <= before:
            return "no watcher has seen it"
        if view.generation is None or view.generation < view.wanted:
            why = f" ({view.error})" if view.error else ""
            return f"it was seen, and no worker has published it{why}"
        return "it was published, and no search finds it"

    def _clean_up(self) -> None:
        try:
            self._perch.delete()
        except OSError:
            return  # the next round writes over it

    def _rest(self, seconds: float) -> None:
        if self._pause(seconds):
            raise Interrupted("It is being stopped.")


def _text(word: str) -> str:
    return f"# Canary\n\nHeadwater writes, edits and deletes this file by itself. Its word now is {word}.\n"


def _holding(word: str) -> Callable[[list[Hit]], bool]:
    return lambda hits: bool(hits) and all(word in hit.text and not hit.stale for hit in hits)
