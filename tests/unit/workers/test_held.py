"""A batch that takes longer than a lease keeps all of its claims."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.records import Lane
from ingestion.sources.memory import MemorySource
from retrieval.embedding.port import Vectors
from tests.rig import SOURCE, Rig


def test_documents_that_wait_for_others_of_their_batch_keep_their_leases(tmp_path: Path) -> None:
    source = MemorySource(SOURCE, clock=SystemClock())
    for number in range(40):
        paragraphs = "\n\n".join(f"## Part {part}\n\nWord{number}x{part} here." for part in range(10))
        source.put(f"{number}.md", f"# Title {number}\n\n{paragraphs}\n".encode())
    reaped: list[int] = []

    def slowly(texts: Sequence[str], lane: Lane, tokens: Sequence[int]) -> Vectors:
        rig.advance(25.0)
        reaped.append(rig.ledger.claims.reap())
        return rig.embedder.embed(texts, lane, tokens)

    rig = Rig(Database.file(tmp_path / "data.sqlite"), [source], embed=slowly)
    rig.recover()
    rig.scan()
    rig.work_off()
    assert len(reaped) * 25.0 > 2 * rig.ledger.claims.lease_s
    assert set(reaped) == {0}
    assert set(rig.states().values()) == {"live"}
    assert len(rig.embedder.texts) == len(set(rig.embedder.texts))
