"""From a claim to a draft, on a real claim of a real ledger."""

from __future__ import annotations

import hashlib

import pytest

from ingestion.errors import DocumentGone, DocumentUnreadable, SourceUnavailable
from ingestion.ledger.values import Claim
from ingestion.records import Lane
from ingestion.sources.memory import MemorySource
from tests.rig import Rig, ShiftedClock
from workers.drafting import Drafter

BINARY = bytes(range(256)) * 8


def claimed(rig: Rig, source: MemorySource, uri: str) -> Claim:
    """The claim on a document that was just put, edited or touched."""
    rig.scan()
    (claim,) = rig.ledger.claims.claim(rig.edition, [rig.document_ids()[uri]])
    return claim


def test_a_new_document_is_read_and_cut(rig: Rig, source: MemorySource) -> None:
    source.put("a.md", b"# Title\n\nOne paragraph.\n")
    draft = rig.drafter.draft(claimed(rig, source, "a.md"), source.read)
    assert draft.digest == hashlib.sha256(b"# Title\n\nOne paragraph.\n").hexdigest()
    assert draft.chunks is not None
    assert [chunk.text for chunk in draft.chunks] == ["# Title\n\nOne paragraph."]
    assert draft.skipped is None
    assert draft.look.fingerprint == rig.ledger.documents.find("notes", ["a.md"])["a.md"].fingerprint


def test_content_that_is_live_already_is_not_cut_again(rig: Rig, source: MemorySource) -> None:
    source.put("a.md", b"the same text")
    rig.sync()
    source.put("a.md", b"the same text")
    draft = rig.drafter.draft(claimed(rig, source, "a.md"), source.read)
    assert draft.chunks is None
    assert draft.look.identity is not None


def test_a_repair_mark_has_it_cut_again(rig: Rig, source: MemorySource) -> None:
    source.put("a.md", b"the same text")
    rig.sync()
    rig.ledger.claims.mark_repair(rig.edition, [rig.document_ids()["a.md"]])
    source.put("a.md", b"the same text")
    assert rig.drafter.draft(claimed(rig, source, "a.md"), source.read).chunks is not None


def test_another_pipeline_has_it_cut_again(rig: Rig, source: MemorySource, clock: ShiftedClock) -> None:
    source.put("a.md", b"the same text")
    rig.sync()
    source.put("a.md", b"the same text")
    claim = claimed(rig, source, "a.md")
    shorter = Drafter(64, rig.embedder.inner.count_tokens, clock, sandbox=rig.sandbox)
    assert not shorter.pipelines.current & rig.drafter.pipelines.current
    assert shorter.draft(claim, source.read).chunks is not None


def test_an_empty_document_has_no_chunks_and_is_no_skip(rig: Rig, source: MemorySource) -> None:
    source.put("empty.md", b"")
    draft = rig.drafter.draft(claimed(rig, source, "empty.md"), source.read)
    assert (draft.chunks, draft.skipped) == ([], None)


def test_what_is_no_text_is_skipped_with_its_reason(rig: Rig, source: MemorySource) -> None:
    source.put("picture.md", BINARY)
    draft = rig.drafter.draft(claimed(rig, source, "picture.md"), source.read)
    assert draft.chunks == ()
    assert draft.skipped is not None
    assert "binary" in draft.skipped


def test_a_touched_binary_file_stays_skipped(rig: Rig, source: MemorySource) -> None:
    source.put("picture.md", BINARY)
    rig.sync()
    assert rig.states() == {"picture.md": "skipped"}
    source.put("picture.md", BINARY)
    rig.sync()
    assert rig.states() == {"picture.md": "skipped"}


def test_what_grew_too_large_after_the_look_is_skipped_without_a_look(rig: Rig, source: MemorySource) -> None:
    source.put("a.md", b"small")
    claim = claimed(rig, source, "a.md")
    source.max_bytes = 3
    draft = rig.drafter.draft(claim, source.read)
    assert draft.skipped is not None
    assert "over the limit" in draft.skipped
    assert draft.look.fingerprint == ""  # so that the next look differs from it


def test_the_time_of_a_copied_in_file_is_the_time_of_its_arrival(
    rig: Rig, source: MemorySource, clock: ShiftedClock
) -> None:
    source.put("a.md", b"one")
    rig.sync()
    clock.shift_s += 100
    source.put("a.md", b"two", changed_at=12.0)
    claim = claimed(rig, source, "a.md")
    assert clock.now() - rig.drafter.draft(claim, source.read).look.changed_at < 50


def test_faults_of_the_source_are_passed_on(rig: Rig, source: MemorySource) -> None:
    source.put("a.md", b"one")
    claim = claimed(rig, source, "a.md")
    source.make_unreadable("a.md")
    with pytest.raises(DocumentUnreadable):
        rig.drafter.draft(claim, source.read)
    source.make_unavailable()
    with pytest.raises(SourceUnavailable):
        rig.drafter.draft(claim, source.read)
    source.make_available()
    source.delete("a.md")
    with pytest.raises(DocumentGone):
        rig.drafter.draft(claim, source.read)
    assert claim.lane is Lane.BULK
