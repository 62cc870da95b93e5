"""Slices, reuse and adoption; one document's refusal is its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ingestion.errors import EmbedderRejected, IndexRejected, IndexUnavailable
from ingestion.records import Lane
from ingestion.sources.memory import MemorySource
from retrieval.embedding.port import Vectors
from retrieval.index.port import Index, IndexedChunk
from tests.rig import Rig
from workers.diffing import diff
from workers.staging import SLICE_TEXTS, Revision, Stager


def paragraphs(number: int, words: str = "word") -> bytes:
    """A document of that many chunks: each section is one."""
    return "\n\n".join(f"# Section {n}\n\n{words} {n} of this text" for n in range(number)).encode()


class Between:
    """Stands before an index; ``before`` is called with the method's name and its arguments."""

    def __init__(self, inner: Index, before: Callable[[str, Sequence[Any]], None]) -> None:
        self._inner = inner
        self._before = before

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def called(*args: Any, **kwargs: Any) -> Any:
            self._before(name, args)
            return method(*args, **kwargs)

        return called


class Bench:
    """Claims, drafts and stages by hand, so that a test sees each revision on its way."""

    def __init__(self, rig: Rig, source: MemorySource) -> None:
        self.rig = rig
        self.source = source
        self.slices: list[list[str]] = []
        self.poison: str | None = None

    def embed(self, texts: Sequence[str], lane: Lane, tokens: Sequence[int]) -> Vectors:
        self.slices.append(list(texts))
        if self.poison is not None and any(self.poison in text for text in texts):
            raise EmbedderRejected("a text is refused")
        return self.rig.embedder.embed(texts, lane, tokens)

    def revisions(self) -> dict[str, Revision]:
        """Everything that is pending, claimed and drafted, by URI."""
        self.rig.scan()
        claims = self.rig.ledger.claims.claim(self.rig.edition, list(self.rig.document_ids().values()))
        manifests = self.rig.ledger.publications.manifests(claims)
        made = {}
        for claim in claims:
            draft = self.rig.drafter.draft(claim, self.source.read)
            assert draft.chunks is not None
            made[claim.uri] = Revision(draft, diff(manifests.get(claim.document_id, []), draft.chunks))
        return made

    def stage(self, revisions: dict[str, Revision], *, index: Any = None) -> None:
        stager = Stager(self.rig.ledger, index or self.rig.index, self.embed)
        stager.stage(self.rig.edition, list(revisions.values()), Lane.FRESH, keep=lambda: None)

    def publish(self, revisions: dict[str, Revision]) -> None:
        now = self.rig.clock.now()
        self.rig.ledger.publications.publish([one.publishing(now) for one in revisions.values()])


@pytest.fixture
def bench(rig: Rig, source: MemorySource) -> Bench:
    return Bench(rig, source)


def test_additions_are_embedded_in_slices_longest_texts_together(bench: Bench) -> None:
    bench.source.put("a.md", paragraphs(SLICE_TEXTS + 8))
    bench.source.put("b.md", paragraphs(SLICE_TEXTS, words="several longer words"))
    revisions = bench.revisions()
    bench.stage(revisions)
    assert [len(some) for some in bench.slices] == [32, 32, 8]
    lengths = [len(text.split()) for some in bench.slices for text in some]
    assert lengths == sorted(lengths, reverse=True)
    assert all(one.complete and one.embedded == len(one.added) for one in revisions.values())


def test_nothing_staged_is_visible_before_it_is_published(bench: Bench) -> None:
    bench.source.put("a.md", paragraphs(3))
    revisions = bench.revisions()
    bench.stage(revisions)
    assert bench.rig.passages() == []
    assert bench.rig.answers("section of this text") == []
    bench.publish(revisions)
    assert len(bench.rig.passages()) == 3


def test_a_text_that_comes_several_times_is_embedded_once(bench: Bench) -> None:
    bench.source.put("a.md", b"the same words")
    bench.source.put("b.md", b"the same words")
    bench.source.put("c.md", b"# T\n\nx\n\n# T\n\nx\n")
    revisions = bench.revisions()
    bench.stage(revisions)
    assert sorted(text for some in bench.slices for text in some) == sorted(
        {one.chunk.embedded_text for revision in revisions.values() for one in revision.diff.added}
    )
    assert sum(one.embedded for one in revisions.values()) == sum(map(len, bench.slices))
    assert len(revisions["c.md"].added) == 2
    ids = [placed.chunk_id for one in revisions.values() for placed in one.added]
    assert len(set(ids)) == len(ids) == 4


def test_a_vector_that_the_index_holds_is_used_again(bench: Bench) -> None:
    bench.source.put("a.md", paragraphs(4))
    bench.rig.sync()
    bench.source.put("copy.md", paragraphs(4))
    revisions = bench.revisions()
    bench.stage(revisions)
    assert bench.slices == []
    assert revisions["copy.md"].complete
    assert (revisions["copy.md"].reused, revisions["copy.md"].embedded) == (4, 0)


def test_a_distrusted_vector_is_not_used_again(bench: Bench) -> None:
    bench.source.put("a.md", b"some words")
    bench.rig.sync()
    (chunk_id,) = bench.rig.live_chunks()
    affected = bench.rig.ledger.publications.mark_missing([chunk_id])
    bench.rig.ledger.claims.mark_repair(bench.rig.edition, list(affected))
    revisions = bench.revisions()
    bench.stage(revisions)
    bench.publish(revisions)
    assert bench.slices == [["some words"]]
    assert bench.rig.live_chunks() != [chunk_id]


def test_what_an_earlier_attempt_staged_is_adopted(bench: Bench) -> None:
    bench.source.put("a.md", paragraphs(SLICE_TEXTS + 8))
    first = bench.revisions()
    bench.stage(first)
    staged = {placed.chunk_id for placed in first["a.md"].added}
    bench.slices.clear()

    bench.rig.ledger.claims.release([first["a.md"].claim], "it died", delay_s=0.0)
    second = bench.revisions()
    bench.stage(second)
    assert bench.slices == []
    assert {placed.chunk_id for placed in second["a.md"].added} == staged
    bench.publish(second)
    assert set(bench.rig.live_chunks()) == staged


def test_an_intent_without_its_chunk_in_the_index_is_upserted_under_its_id(bench: Bench) -> None:
    bench.source.put("a.md", paragraphs(3))

    def dies(name: str, _args: Sequence[Any]) -> None:
        if name == "upsert":
            raise IndexUnavailable("made unavailable")

    first = bench.revisions()
    with pytest.raises(IndexUnavailable):
        bench.stage(first, index=Between(bench.rig.index, dies))
    held = bench.rig.ledger.publications.manifests([first["a.md"].claim])[first["a.md"].claim.document_id]
    assert len(held) == 3

    bench.rig.ledger.claims.release([first["a.md"].claim], "", delay_s=0.0)
    second = bench.revisions()
    bench.stage(second)
    assert {placed.chunk_id for placed in second["a.md"].added} == {one.chunk_id for one in held}
    bench.publish(second)
    bench.rig.consistent()


def test_a_refused_text_costs_its_own_document_only(bench: Bench) -> None:
    for name in "abcde":
        bench.source.put(f"{name}.md", f"ordinary words of {name}".encode())
    bench.source.put("bad.md", b"a text with poison in it")
    bench.poison = "poison"
    revisions = bench.revisions()
    bench.stage(revisions)
    assert isinstance(revisions.pop("bad.md").error, EmbedderRejected)
    assert all(one.complete for one in revisions.values())
    bench.publish(revisions)
    assert len(bench.rig.passages()) == 5


def test_a_refused_text_does_not_spoil_what_the_same_document_shares(bench: Bench) -> None:
    shared = b"# Shared\n\nwords of both"
    bench.source.put("bad.md", b"# Bad\n\npoison\n\n" + shared)
    bench.source.put("good.md", shared)
    bench.poison = "poison"
    revisions = bench.revisions()
    bench.stage(revisions)
    assert revisions["good.md"].complete
    assert revisions["good.md"].embedded == 1
    assert isinstance(revisions["bad.md"].error, EmbedderRejected)


@pytest.mark.parametrize("named", [True, False])
def test_a_chunk_that_the_index_refuses_costs_its_own_document_only(bench: Bench, named: bool) -> None:
    for name in "abc":
        bench.source.put(f"{name}.md", f"ordinary words of {name}".encode())
    bench.source.put("bad.md", b"a text with poison in it")

    def refuse(name: str, args: Sequence[Any]) -> None:
        if name != "upsert":
            return
        chunks: Sequence[IndexedChunk] = args[1]
        bad = tuple(chunk.chunk_id for chunk in chunks if "poison" in chunk.text)
        if bad:
            raise IndexRejected("refused", chunk_ids=bad if named else ())

    revisions = bench.revisions()
    bench.stage(revisions, index=Between(bench.rig.index, refuse))
    assert isinstance(revisions.pop("bad.md").error, IndexRejected)
    assert all(one.complete for one in revisions.values())
    bench.publish(revisions)
    assert len(bench.rig.passages()) == 3


def test_an_attempt_that_lost_its_claim_writes_nothing_more(bench: Bench) -> None:
    bench.source.put("a.md", paragraphs(3))
    bench.source.put("b.md", b"other words")
    revisions = bench.revisions()
    lost = revisions["a.md"].claim
    bench.rig.ledger.claims.release([lost], "", delay_s=0.0)
    newer = bench.revisions()
    bench.stage(revisions)
    assert not revisions["a.md"].complete
    assert revisions["b.md"].complete
    assert [digest for _, digest in bench.rig.index.ids(bench.rig.edition.name)] == [
        one.chunk.digest for one in revisions["b.md"].diff.added
    ]
    bench.stage(newer)
    bench.publish(newer)
    assert {uri for uri, *_ in bench.rig.passages()} == {"a.md"}


def test_an_attempt_that_lost_its_claim_brings_no_adopted_chunk_back(bench: Bench) -> None:
    """Its staged ids may be dead and swept by now, and a dead id must never come back."""
    bench.source.put("a.md", paragraphs(3))

    def dies(name: str, _args: Sequence[Any]) -> None:
        if name == "upsert":
            raise IndexUnavailable("made unavailable")

    first = bench.revisions()
    with pytest.raises(IndexUnavailable):
        bench.stage(first, index=Between(bench.rig.index, dies))
    bench.rig.ledger.claims.release([first["a.md"].claim], "", delay_s=0.0)
    second = bench.revisions()  # adopts the intents, and falls asleep
    assert all(one.chunk_id for one in second["a.md"].diff.added)
    bench.rig.ledger.documents.retire({second["a.md"].claim.document_id: "deleted"})
    bench.rig.sweep()
    bench.stage(second)
    assert list(bench.rig.index.ids(bench.rig.edition.name)) == []
