"""Which editions this process can work on: each with the embedder that made it, and what that needs.

``look`` brings it into line with the ledger: a building edition is equipped when it appears and put away
when it has ended. A retiring one is equipped only while edits wait for it: two models lie in memory during
a build, and otherwise only for that. What cannot be equipped (a model that is nowhere to be found) is tried
again, and said in the ledger by those that build: one that only searches says nothing of how builds go.

It decides nothing of what is done in an edition; that is ``workers.building``'s.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ingestion.clock import Clock
from ingestion.errors import HeadwaterError, WrongEdition
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Edition, EditionState, EditionView
from ingestion.records import Lane
from retrieval.embedding.port import Vectors
from retrieval.index.port import Index
from workers.drafting import Drafter
from workers.staging import SLICE_TEXTS, Embed

log = logging.getLogger("headwater.editions")

TRY_AGAIN_S = 30.0
IDLE_S = 60.0  # so long a retiring edition's model stays after its last edit
RETIRED_FOR_S = 60.0  # the model of one that has ended: longer than any search that asks for it may take


@dataclass(frozen=True)
class Equipped:
    """An edition with what embeds for it. ``fingerprint`` is the embedder's."""

    edition: Edition
    fingerprint: str
    drafter: Drafter
    embed: Embed
    embed_query: Callable[[str], Vectors]
    ready: Callable[[], bool]
    close: Callable[[], None]
    slice_texts: int = SLICE_TEXTS


Equip = Callable[[EditionView], Equipped]
"""Makes what an edition needs, or raises Misconfigured; loads no model, or in the background."""


class Equipment:
    """The editions of one process. Safe to use from several threads.

    ``loads``: whether it loads models at all; a schedule sends work and leaves that to others.
    """

    def __init__(
        self,
        ledger: Ledger,
        index: Index,
        live: Equipped,
        equip: Equip,
        clock: Clock,
        *,
        loads: bool = True,
    ) -> None:
        self._ledger = ledger
        self._index = index
        self._equip = equip
        self._clock = clock
        self.loads = loads
        self.builds = False  # set by who works on editions
        self._looking = threading.Lock()
        self._all: dict[int, Equipped] = {live.edition.edition_id: live}
        self._live = live.edition.edition_id
        self._seen: Mapping[int, EditionView] = {}
        self._needed_at: dict[int, float] = {}  # monotonic
        self._again_at: dict[int, float] = {}
        self._faults: dict[int, str] = {}  # why one is not equipped here

    @property
    def live(self) -> Equipped:
        """The edition that was live at the last look, or the last live one that could be equipped."""
        return self._all[self._live]

    @property
    def others(self) -> list[Equipped]:
        """What is equipped beside it."""
        return [one for key, one in sorted(self._all.items()) if key != self._live]

    def of(self, edition_id: int | None) -> Equipped | None:
        """None stands for the live one."""
        return self.live if edition_id is None else self._all.get(edition_id)

    def view(self, edition: Edition) -> EditionView | None:
        """An edition as of the last look; None if it has ended."""
        return self._seen.get(edition.edition_id)

    def missing(self) -> str | None:
        """Why questions are answered by words alone, where searches go to an edition that this process could
        not equip; None where they do not."""
        live = next((key for key, view in self._seen.items() if view.state is EditionState.LIVE), self._live)
        return None if live in self._all else self._faults.get(live, "It is being equipped.")

    def embed_query(self, text: str, edition: Edition) -> Vectors | None:
        """By that edition's model; None while it is not there."""
        one = self._all.get(edition.edition_id)
        if one is None:
            self.look()  # the switch was a moment ago
            one = self._all.get(edition.edition_id)
        return one.embed_query(text) if one is not None and one.ready() else None

    def look(self) -> None:
        """Equip what the ledger feeds now, and put away what it does not.

        One thread at a time: the others go on with what is there, as an endpoint may take its time to say
        how long its vectors are.
        """
        if not self._looking.acquire(blocking=False):
            return
        try:
            views = {view.edition.edition_id: view for view in self._ledger.editions.fed()}
            now = self._clock.monotonic()
            for key, view in views.items():
                if self._is_needed(view):
                    self._needed_at[key] = now
                    if key not in self._all and now >= self._again_at.get(key, now):
                        self._try(view, now)
            self._seen = views
            live = next((key for key, view in views.items() if view.state is EditionState.LIVE), None)
            if live is not None and live in self._all:
                self._live = live
            self._put_away(now)
        finally:
            self._looking.release()

    def close(self) -> None:
        """Let go of every embedder. Idempotent."""
        for one in list(self._all.values()):
            one.close()

    def _is_needed(self, view: EditionView) -> bool:
        return view.state is not EditionState.RETIRING or self._ledger.claims.has_due(view.edition, Lane.BULK)

    def _try(self, view: EditionView, now: float) -> None:
        key = view.edition.edition_id
        try:
            one = self._equip(view)
            if one.fingerprint != view.edition.fingerprint:
                one.close()
                raise WrongEdition(
                    f"The edition {view.edition.name} was begun with {view.edition.description}; its model "
                    "is another one now.",
                    hint="Bring that model back, or: headwater rebuild --cancel",
                )
            self._index.create(view.edition.name, view.edition.dimensions)
            self._ledger.claims.reindex(view.edition, one.drafter.pipelines)
        except HeadwaterError as error:
            self._again_at[key] = now + TRY_AGAIN_S
            log.warning("the edition %s waits: %s", view.edition.name, error)
            self._faults[key] = f"The edition {view.edition.name} waits: {error}"
            self._note_fault(view, str(error))
            return
        self._faults.pop(key, None)
        self._note_fault(view, None)
        self._all[key] = one

    def _note_fault(self, view: EditionView, fault: str | None) -> None:
        if self.builds:
            self._ledger.editions.note_fault(view.edition, fault)

    def _put_away(self, now: float) -> None:
        for key in [key for key in self._all if key != self._live]:
            left_s = IDLE_S if key in self._seen else RETIRED_FOR_S
            if now - self._needed_at.setdefault(key, now) > left_s:
                self._all.pop(key).close()
                del self._needed_at[key]
