"""Compares the index with the ledger: which chunks it holds, and whether they are what they should be.

Both sides are counted by bucket first, the index before the ledger, and single chunks are looked at only
where buckets differ; nothing here holds all chunks at once. Unless it is to mend, it changes nothing. To
mend, what nobody knows is deleted, because an intent precedes its upsert; what is missing or wrong is marked
while it is still live, and its document goes through the ordinary flow, under new chunk ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ingestion.buckets import bucket_of, differing
from ingestion.chunking import embedded_text_of
from ingestion.errors import EditionMissing
from ingestion.ledger.audits import LiveChunk
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Edition
from ingestion.records import Drift
from retrieval.embedding.port import Vectors
from retrieval.index.port import Index
from workers.findings import EXAMPLES, Findings

SLICE = 1000
SAME_LENGTH = 0.01  # vectors have length one, but for what a store rounds
# Far above what two texts of one corpus have in common, and below what rounding, or a runtime of the same
# class of precision, makes of one text (retrieval.embedding.precision).
SAME_COSINE = 0.98

EmbedTexts = Callable[[Sequence[str]], Vectors]
Element = TypeVar("Element")


class Comparison:
    """One comparison of one edition; what it comes upon goes into ``findings``.

    ``embed`` embeds texts anew, to compare the vectors with. ``cautious``: nothing is deleted where it may
    be the ledger that lacks: while a source was never listed, or what is unknown outnumbers what is known.
    """

    def __init__(
        self,
        ledger: Ledger,
        index: Index,
        edition: Edition,
        findings: Findings,
        *,
        repair: bool,
        cautious: bool = False,
        embed: EmbedTexts | None = None,
    ) -> None:
        self._ledger = ledger
        self._index = index
        self._edition = edition
        self._findings = findings
        self._repair = repair
        self._cautious = cautious
        self._embed = embed
        self._noted: set[str] = set()  # wrong ones, so that each counts once

    def edition_is_there(self) -> bool:
        """Whether there is anything to compare. Without its edition, an index lacks every chunk; but one that
        has ended meanwhile is gone for good.

        Raises IndexUnavailable where the index as a whole is away: that says nothing about its editions. To
        mend, raises Misconfigured for an edition that is none of this ledger's.
        """
        gone = self._is_gone()
        if gone and not is_fed(self._ledger, self._edition):
            return False
        if gone:
            self._findings.note(Drift.EDITION_MISSING, 1, mended=self._repair)
        if self._repair:  # what is there, too: it is not to be another ledger's
            self._index.create(self._edition.name, self._edition.dimensions)
        if self._repair or not gone:
            return True
        self._findings.note(Drift.CHUNK_MISSING, self._ledger.audits.count_live(self._edition), mended=False)
        return False

    def ids(self) -> None:
        """Which chunks are held, and under which digest."""
        held = self._index.buckets(self._edition.name)
        ours = self._ledger.audits.buckets(self._edition)
        where = differing(held, ours)
        if where:
            unknown = self._judge_held(where)
            if unknown and self._repair:
                self._delete_unknown(where, unknown, known=sum(tally.count for tally in ours.values()))
            self._judge_live(where)

    def contents(self, after: str, at_most: int | None) -> str:
        """Texts and vectors of what is live, from behind a chunk id on; returns the last id that was checked,
        '' if there is nothing behind it."""
        live = islice(self._ledger.audits.live(self._edition, after=after), at_most)
        checked = 0
        for some in slices(live):
            self._judge_contents(some)
            after = some[-1].chunk_id
            checked += len(some)
        return after if at_most is not None and checked == at_most else ""

    def _is_gone(self) -> bool:
        for _ in range(2):  # it may have been away, and be back by now
            try:
                self._index.count(self._edition.name)
            except EditionMissing:
                self._index.check()  # a store that is just starting may not know yet what it holds
            else:
                return False
        return True

    def _judge_held(self, where: set[int]) -> int:
        """Returns how many are held that nobody knows."""
        number = 0
        for some in self._listed(where):
            known = self._ledger.audits.known(self._edition, [chunk_id for chunk_id, _ in some])
            unknown = self._unknown(some, known)
            number += len(unknown)
            self._findings.note(Drift.CHUNK_UNKNOWN, len(unknown), mended=False)
            self._findings.show(Drift.CHUNK_UNKNOWN, unknown)
            held = {chunk_id: digest for chunk_id, digest in some if chunk_id in known}
            wrong = [chunk_id for chunk_id, digest in held.items() if known[chunk_id].digest != digest]
            self._note_wrong(Drift.CHUNK_TEXT, wrong)
        return number

    def _delete_unknown(self, where: set[int], number: int, *, known: int) -> None:
        """In a second look at the index: only once all of them are counted, it is clear whether to."""
        if self._cautious and (why := self._why_not_delete(number, known)):
            self._findings.left = f"{number:,} chunks that the ledger does not know are left: {why}"
            return
        for some in self._listed(where):
            rows = self._ledger.audits.known(self._edition, [chunk_id for chunk_id, _ in some])
            if unknown := self._unknown(some, rows):
                self._index.delete(self._edition.name, unknown)
                self._findings.mended[Drift.CHUNK_UNKNOWN] += len(unknown)

    def _why_not_delete(self, unknown: int, known: int) -> str:
        unlisted = [one.name for one in self._ledger.sources.all() if one.active and one.listed_at is None]
        if unlisted:
            return f"{', '.join(unlisted)} was never listed"
        return f"it knows only {known:,}" if unknown > known else ""

    def _listed(self, where: set[int]) -> Iterator[list[tuple[str, str]]]:
        """(chunk id, digest) of what the index holds in these buckets."""
        return slices(one for one in self._index.ids(self._edition.name) if bucket_of(one[0]) in where)

    def _unknown(self, some: Sequence[tuple[str, str]], known: Mapping[str, object]) -> list[str]:
        unknown = [chunk_id for chunk_id, _ in some if chunk_id not in known]
        # What was swept since the listing is known no more either, and not held any longer.
        return sorted(self._index.present(self._edition.name, unknown)) if unknown else []

    def _judge_live(self, where: set[int]) -> None:
        live = (
            one.chunk_id
            for one in self._ledger.audits.live(self._edition)
            if bucket_of(one.chunk_id) in where
        )
        for some in slices(live):
            held = self._index.present(self._edition.name, some)
            self._note_wrong(Drift.CHUNK_MISSING, [chunk_id for chunk_id in some if chunk_id not in held])

    def _judge_contents(self, some: Sequence[LiveChunk]) -> None:
        name, ids = self._edition.name, [one.chunk_id for one in some]
        texts, vectors = self._index.texts(name, ids), self._index.vectors(name, ids)
        embedded = {
            one.chunk_id: embedded_text_of(texts[one.chunk_id], one.heading_path, one.digest)
            for one in some
            if one.chunk_id in texts
        }
        self._note_wrong(Drift.CHUNK_TEXT, [chunk_id for chunk_id, text in embedded.items() if text is None])
        right = {chunk_id: text for chunk_id, text in embedded.items() if text is not None}
        self._note_wrong(Drift.CHUNK_VECTOR, self._with_wrong_vectors(right, vectors))
        # Some that are held no search finds: a store that died may have lost the vector of an object it kept.
        self._note_wrong(Drift.CHUNK_VECTOR, sorted(right.keys() - self._index.present(name, list(right))))

    def _with_wrong_vectors(
        self, texts: Mapping[str, str], vectors: Mapping[str, NDArray[np.float32]]
    ) -> list[str]:
        """``texts``: as they were embedded, by chunk id."""
        dimensions = self._edition.dimensions
        right = {
            chunk_id: vector for chunk_id, vector in vectors.items() if _is_of_length_one(vector, dimensions)
        }
        wrong = [chunk_id for chunk_id in texts if chunk_id in vectors and chunk_id not in right]
        compared = [chunk_id for chunk_id in texts if chunk_id in right]
        if self._embed is not None and compared:
            anew = self._embed([texts[chunk_id] for chunk_id in compared])
            held = np.stack([right[chunk_id] for chunk_id in compared])
            cosines = np.einsum("ij,ij->i", held, anew)
            wrong += [compared[row] for row in np.flatnonzero(cosines < SAME_COSINE)]
        return wrong

    def _note_wrong(self, kind: Drift, chunk_ids: Sequence[str]) -> None:
        """Chunks that are missing or not what they should be, if they are still live."""
        candidates = [chunk_id for chunk_id in chunk_ids if chunk_id not in self._noted]
        if not candidates:
            return
        live = {
            chunk_id: known
            for chunk_id, known in self._ledger.audits.known(self._edition, candidates).items()
            if known.live
        }
        if kind is not Drift.CHUNK_MISSING:
            self._noted |= live.keys()
        self._findings.note(kind, len(live), mended=self._repair)
        if live and self._findings.wants_example(kind):
            ids = sorted({known.document_id for known in live.values()})[:EXAMPLES]
            self._findings.show(kind, self._ledger.audits.names(ids))
        if live and self._repair:
            documents = self._ledger.publications.mark_missing(live)
            self._findings.documents += self._ledger.claims.mark_repair(self._edition, sorted(documents))


def is_fed(ledger: Ledger, edition: Edition) -> bool:
    """Whether it has not ended, as of now."""
    return any(view.edition.edition_id == edition.edition_id for view in ledger.editions.fed())


def _is_of_length_one(vector: NDArray[np.float32], dimensions: int) -> bool:
    if vector.shape != (dimensions,):
        return False
    return bool(abs(float(np.linalg.norm(vector)) - 1.0) <= SAME_LENGTH)  # NaN is not


def slices(elements: Iterable[Element], size: int = SLICE) -> Iterator[list[Element]]:
    remaining = iter(elements)
    while some := list(islice(remaining, size)):
        yield some
