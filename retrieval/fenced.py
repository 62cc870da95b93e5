"""One search behind the fence: the knowledge base as of the moment it began, and nothing else.

Horizon first, then the index, then the ledger's word on every chunk found. All rounds use one tick.
It never embeds, waits or judges freshness; the caller says which passages to keep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ingestion.errors import LedgerUnavailable
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Admitted, Edition, Horizon
from retrieval.embedding.port import Vectors
from retrieval.index.port import Index, IndexHit, IndexQuery
from retrieval.stopwatch import Stopwatch

OVERFETCH = 3  # candidates a hit in the first round
FEWEST_CANDIDATES = 30
GROWTH = 4
# What is dead is swept after a while, so more than this is fenced out only right after a mass deletion:
# then the answer is short rather than slow.
MOST_CANDIDATES = 10_000
# Each pass but the last met a document that was published while it ran, and reads it in advance next
# time; so it takes as many different documents, each in a window of milliseconds, to reach this.
MOST_PASSES = 20


@dataclass(frozen=True, slots=True)
class Asked:
    """What to look for. ``sources`` None: the index holds nothing outside those to be searched.

    ``vector``: that of the question for an edition, by its own model; None where words must do.
    """

    text: str
    vector: Callable[[Edition], Vectors | None]
    top_k: int
    sources: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that may be served, its document as of the horizon."""

    text: str
    score: float
    admitted: Admitted


@dataclass(frozen=True, slots=True)
class Found:
    passages: Sequence[Passage]
    candidates: int
    fenced_out: int
    by_words: bool  # alone


def find(
    ledger: Ledger,
    index: Index,
    asked: Asked,
    keep: Callable[[Admitted], bool],
    watch: Stopwatch,
    *,
    within: Edition | None = None,
    horizon: Horizon | None = None,
) -> Found:
    """The best passages that were live when this was called and that ``keep`` accepts.

    A document that is published again meanwhile overwrites its places and times, so the answer would
    mix two revisions: then the search begins again, and reads that document together with its new
    horizon. Each pass asks the edition of its horizon, with a vector of that edition's model: an answer
    comes from one edition. ``within`` another one than the live, to try it; ``horizon``: that of the first
    pass, taken just now. Raises IndexUnavailable, LedgerUnavailable.
    """
    torn: set[int] = set()
    known: set[str] = set()
    before: dict[str, Admitted] = {}
    for _ in range(MOST_PASSES):
        if horizon is None:
            with watch.during("fence"):
                horizon, before = ledger.fence.horizon_with(torn, known, within=within)
        one = _Pass(ledger, index, asked, keep, watch, horizon, before)
        passages = one.run()
        if passages is not None:
            return Found(passages, len(one.hits), len(one.hits) - one.live, one.vector is None)
        torn |= one.torn
        known |= one.now.keys()
        horizon = None
    raise LedgerUnavailable(
        "The documents that answer this are being published faster than they can be read.",
        hint="Ask again in a moment.",
    )


@dataclass(slots=True)
class _Pass:
    """A search with one horizon. ``now`` is what the fence said while it ran, ``before`` what it said
    together with the horizon."""

    ledger: Ledger
    index: Index
    asked: Asked
    keep: Callable[[Admitted], bool]
    watch: Stopwatch
    horizon: Horizon
    before: Mapping[str, Admitted]
    vector: Vectors | None = None
    hits: list[IndexHit] = field(default_factory=list)
    now: dict[str, Admitted] = field(default_factory=dict)
    torn: set[int] = field(default_factory=set)
    _judged: set[str] = field(default_factory=set)
    _dropped: set[str] = field(default_factory=set)
    _texts: dict[str, str] = field(default_factory=dict)

    @property
    def live(self) -> int:
        return sum(hit.chunk_id in self.now for hit in self.hits)

    def run(self) -> list[Passage] | None:
        """The passages, or None when a document was ``torn``."""
        self.vector = self.asked.vector(self.horizon.edition)
        limit = min(max(OVERFETCH * self.asked.top_k, FEWEST_CANDIDATES), MOST_CANDIDATES)
        while True:
            self._round(limit)
            last = len(self.hits) < limit or limit >= MOST_CANDIDATES
            best = self._settled(last=last)
            if self.torn:
                return None
            if last or len(best) == self.asked.top_k:
                return best
            limit = min(GROWTH * limit, MOST_CANDIDATES)

    def _round(self, limit: int) -> None:
        query = IndexQuery(self.asked.text, self.vector, limit, self.asked.sources)
        with self.watch.during("index"):
            self.hits = self.index.search(self.horizon.edition.name, query)
        new = [hit.chunk_id for hit in self.hits if hit.chunk_id not in self._judged]
        with self.watch.during("fence"):
            self.now |= self.ledger.fence.admit(new, self.horizon)
        self._judged.update(new)

    def _settled(self, *, last: bool) -> list[Passage]:
        """The best so far, with text, and none of them retired by now.

        A chunk without text is one that the index lost: the next best takes its place.
        """
        while True:
            best = self._best()
            if self.torn or (len(best) < self.asked.top_k and not last):
                return []
            ids = [hit.chunk_id for hit, _ in best]
            self._read_texts(ids)
            with self.watch.during("fence"):
                still = self.ledger.fence.admit(ids, self.horizon)
            bad = {one for one in ids if one not in still or one not in self._texts}
            if not bad:
                return [Passage(self._texts[hit.chunk_id], hit.score, admitted) for hit, admitted in best]
            self._dropped |= bad

    def _best(self) -> list[tuple[IndexHit, Admitted]]:
        """The first ``top_k`` hits that may be served; notes the documents that are torn among them."""
        best: list[tuple[IndexHit, Admitted]] = []
        for hit in self.hits:
            admitted = self._as_of_horizon(hit.chunk_id)
            if admitted is None or hit.chunk_id in self._dropped or not self.keep(admitted):
                continue
            if admitted.published_tick > self.horizon.tick:
                self.torn.add(admitted.document_id)
            best.append((hit, admitted))
            if len(best) == self.asked.top_k:
                break
        return best

    def _as_of_horizon(self, chunk_id: str) -> Admitted | None:
        now = self.now.get(chunk_id)
        if now is None or now.published_tick <= self.horizon.tick:
            return now
        return self.before.get(chunk_id, now)

    def _read_texts(self, chunk_ids: Sequence[str]) -> None:
        unread = [one for one in chunk_ids if one not in self._texts]
        if unread:
            with self.watch.during("index"):
                self._texts.update(self.index.texts(self.horizon.edition.name, unread))
