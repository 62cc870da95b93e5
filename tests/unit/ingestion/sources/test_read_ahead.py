"""Kept documents of a batch, read with few questions to the database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.errors import DocumentGone
from ingestion.ledger.kept import Keep, Kept, KeptBody
from ingestion.ledger.ledger import Ledger
from ingestion.sources import read_ahead
from ingestion.sources.push import PushSource


class Counted(Kept):
    """Counts its questions."""

    asked: list[int]

    def bodies(self, source: str, uris: Sequence[str], most_bytes: int) -> dict[str, KeptBody | None]:
        found = super().bodies(source, uris, most_bytes)
        self.asked = [*getattr(self, "asked", []), len(found)]
        return found


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Counted]:
    ledger = Ledger(Database.file(tmp_path / "ledger.db"), SystemClock())
    yield Counted(ledger.database, SystemClock())
    ledger.database.close()


def source_of(kept: Kept) -> PushSource:
    return PushSource("notes", kept, location="here", max_document_bytes=1000, clock=SystemClock())


def test_a_batch_is_read_with_one_question(kept: Counted) -> None:
    uris = [f"{number}.md" for number in range(50)]
    kept.keep("notes", [Keep(uri, uri.encode()) for uri in uris])
    read = source_of(kept).reading(uris)
    assert [read(uri).body for uri in uris] == [uri.encode() for uri in uris]
    assert kept.asked == [50]


def test_no_more_is_held_than_is_said(kept: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "AT_ONCE_BYTES", 250)
    uris = ["a", "b", "large", "c"]
    for uri in uris:
        kept.keep("notes", [Keep(uri, uri.encode() * (100 if uri != "large" else 150))])
    read = source_of(kept).reading(uris)
    assert [len(read(uri).body) for uri in uris] == [100, 100, 750, 100]
    assert kept.asked == [2, 1, 1]


def test_what_is_not_there_is_gone_and_the_others_are_read(kept: Counted) -> None:
    kept.keep("notes", [Keep("a", b"one"), Keep("c", b"three")])
    read = source_of(kept).reading(["a", "b", "nul\0", "c"])
    assert read("a").body == b"one"
    for uri in ("b", "nul\0"):
        with pytest.raises(DocumentGone):
            read(uri)
    assert read("c").body == b"three"


def test_any_order_and_strangers_are_read_as_well(kept: Counted) -> None:
    uris = [f"{number}.md" for number in range(10)]
    kept.keep("notes", [Keep(uri, uri.encode()) for uri in [*uris, "stranger"]])
    read = source_of(kept).reading(uris)
    for uri in ["5.md", "stranger", "0.md", "9.md", "5.md"]:
        assert read(uri).body == uri.encode()
