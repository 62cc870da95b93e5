"""What stays, what moves, what is new: by the digest of the embedded text, equal texts in order."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ingestion.ledger.values import ManifestChunk
from ingestion.records import Chunk
from workers.diffing import Diff, diff


def chunk(ordinal: int, digest: str) -> Chunk:
    return Chunk(ordinal, 10 * ordinal, 10 * ordinal + 9, ("Top",), digest, digest, digest, 3)


def chunks(digests: str) -> list[Chunk]:
    return [chunk(ordinal, digest) for ordinal, digest in enumerate(digests)]


def row(
    chunk_id: str, digest: str, ordinal: int = 0, *, live: bool = True, repair: bool = False
) -> ManifestChunk:
    born = 1 if live else None
    return ManifestChunk(chunk_id, digest, ordinal, 10 * ordinal, 10 * ordinal + 9, ("Top",), born, repair)


def manifest(digests: str) -> list[ManifestChunk]:
    """Live rows in order, with ids a0, b1, ..."""
    return [row(f"{digest}{ordinal}", digest, ordinal) for ordinal, digest in enumerate(digests)]


def added(found: Diff) -> list[tuple[str, str | None]]:
    return [(one.chunk.digest, one.chunk_id) for one in found.added]


def test_an_unchanged_document_keeps_everything_in_place() -> None:
    assert diff(manifest("abc"), chunks("abc")) == Diff(["a0", "b1", "c2"], [], [])


def test_text_inserted_above_moves_what_is_below() -> None:
    found = diff(manifest("ab"), chunks("xab"))
    assert found.kept == ["a0", "b1"]
    assert [(one.chunk_id, one.ordinal, one.start) for one in found.moved] == [("a0", 1, 10), ("b1", 2, 20)]
    assert added(found) == [("x", None)]


def test_another_heading_path_alone_moves_a_chunk() -> None:
    moved_under = Chunk(0, 0, 9, ("Other",), "a", "a", "a", 3)
    (placed,) = diff(manifest("a"), [moved_under]).moved
    assert (placed.chunk_id, placed.heading_path) == ("a0", ("Other",))


def test_equal_texts_are_paired_in_order() -> None:
    assert diff(manifest("aaa"), chunks("aa")).kept == ["a0", "a1"]
    grown = diff(manifest("aa"), chunks("aaa"))
    assert (grown.kept, added(grown)) == (["a0", "a1"], [("a", None)])


def test_a_staged_row_is_adopted_after_the_live_ones() -> None:
    found = diff([row("staged", "a", live=False), row("live", "a")], chunks("aaa"))
    assert found.kept == ["live"]
    assert added(found) == [("a", "staged"), ("a", None)]


def test_a_row_marked_for_repair_counts_as_absent() -> None:
    found = diff([row("bad", "a", repair=True), row("good", "b", 1)], chunks("ab"))
    assert found.kept == ["good"]
    assert added(found) == [("a", None)]


def test_a_first_revision_and_an_emptied_document() -> None:
    assert added(diff([], chunks("ab"))) == [("a", None), ("b", None)]
    assert diff(manifest("ab"), []) == Diff([], [], [])


_digests = st.text("abcd", max_size=12)
_rows = st.lists(st.tuples(st.sampled_from("abcd"), st.booleans(), st.booleans()), max_size=12)


@given(_rows, _digests)
def test_kept_and_added_are_the_chunks_and_no_row_is_used_twice(
    held: list[tuple[str, bool, bool]], wanted: str
) -> None:
    rows = [
        row(f"row {number}", digest, number, live=live, repair=repair)
        for number, (digest, live, repair) in enumerate(held)
    ]
    by_id = {one.chunk_id: one for one in rows}
    found = diff(rows, chunks(wanted))
    kept = [by_id[key] for key in found.kept]
    adopted = [by_id[one.chunk_id] for one in found.added if one.chunk_id is not None]

    assert Counter(one.digest for one in kept) + Counter(one.chunk.digest for one in found.added) == Counter(
        wanted
    )
    assert len({one.chunk_id for one in kept + adopted}) == len(kept) + len(adopted)
    assert all(one.born is not None and not one.repair for one in kept)
    assert all(one.born is None and not one.repair for one in adopted)
    assert {one.chunk_id for one in found.moved} <= set(found.kept)


@given(_rows, _digests)
def test_nothing_is_embedded_that_a_trusted_row_could_serve(
    held: list[tuple[str, bool, bool]], wanted: str
) -> None:
    rows = [
        row(f"row {number}", digest, number, live=live, repair=repair)
        for number, (digest, live, repair) in enumerate(held)
    ]
    trusted = Counter(one.digest for one in rows if not one.repair)
    new = Counter(one.chunk.digest for one in diff(rows, chunks(wanted)).added if one.chunk_id is None)
    assert new == Counter(wanted) - trusted


@given(_digests, _digests)
def test_places_after_publishing_are_those_of_the_chunks(old: str, new: str) -> None:
    found = diff(manifest(old), chunks(new))
    places = {one.chunk_id: one.ordinal for one in manifest(old)}
    places |= {one.chunk_id: one.ordinal for one in found.moved}
    ordinals = [places[key] for key in found.kept] + [one.chunk.ordinal for one in found.added]
    assert sorted(ordinals) == list(range(len(new)))
