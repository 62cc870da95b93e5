"""What differs between ledger and index is found and mended through the ordinary flow."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.sources.memory import MemorySource
from retrieval.index.port import IndexedChunk
from tests.rig import DIMENSIONS, SOURCE, Rig
from workers.audit import Audited, audit


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    source = MemorySource(SOURCE, clock=SystemClock())
    source.put("a.md", b"# Leave\n\nTwenty-seven days.\n")
    source.put("b.md", b"# Travel\n\nBy train.\n")
    rig = Rig(Database.file(tmp_path / "data.sqlite"), [source])
    rig.recover()
    rig.scan()
    rig.settle()
    return rig


def test_nothing_to_mend(rig: Rig) -> None:
    assert audit(rig.ledger, rig.index, rig.edition) == Audited()


def test_a_chunk_nobody_knows_is_deleted(rig: Rig) -> None:
    stray = IndexedChunk(str(uuid.uuid4()), SOURCE, "d", "", "stray", np.eye(DIMENSIONS, dtype=np.float32)[0])
    rig.index.upsert(rig.edition.name, [stray])
    assert audit(rig.ledger, rig.index, rig.edition) == Audited(unknown=1)
    assert rig.index.present(rig.edition.name, [stray.chunk_id]) == set()


def test_a_missing_chunk_is_made_again_under_a_new_id(rig: Rig) -> None:
    before = rig.passages()
    lost = next(iter(rig.ledger.publications.live_chunks(rig.edition)))
    rig.index.delete(rig.edition.name, [lost])
    assert audit(rig.ledger, rig.index, rig.edition) == Audited(missing=1, documents=1)
    rig.settle()
    assert rig.passages() == before
    assert lost not in rig.ledger.publications.live_chunks(rig.edition)
    assert audit(rig.ledger, rig.index, rig.edition) == Audited()
