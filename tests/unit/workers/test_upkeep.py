"""What nobody waits for: sweeping, reaping, trimming; each step may be cut off and done again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ingestion.errors import IndexUnavailable
from ingestion.ledger.publishing import HISTORY
from ingestion.sources.memory import MemorySource
from retrieval.index.port import Index
from tests.knowledge import eventually
from tests.rig import Rig, ShiftedClock
from workers import upkeep
from workers.upkeep import SWEEP_AFTER_S, TOMBSTONES_S, Upkeep
from workers.work import SWEEP_FOR_S


def edited(rig: Rig, source: MemorySource) -> None:
    """One live chunk, one dead one."""
    source.put("a.md", b"the old words")
    rig.sync()
    source.put("a.md", b"the new words")
    rig.sync()


def test_dead_chunks_are_swept_after_any_search_has_ended(
    rig: Rig, source: MemorySource, clock: ShiftedClock
) -> None:
    edited(rig, source)
    assert rig.index.count(rig.edition.name) == 2
    clock.shift_s += SWEEP_AFTER_S - 10.0
    assert rig.upkeep.sweep() == 0
    clock.shift_s += 20.0
    assert rig.upkeep.sweep() == 1
    assert rig.index.count(rig.edition.name) == 1
    assert [text for *_, text in rig.passages()] == ["the new words"]
    assert rig.upkeep.sweep() == 0


@pytest.mark.parametrize("takes_effect", [True, False])
def test_a_sweep_that_was_cut_off_is_done_again(
    rig: Rig, source: MemorySource, clock: ShiftedClock, takes_effect: bool
) -> None:
    edited(rig, source)
    inner = rig.index

    class CutOff:
        def __getattr__(self, name: str) -> Any:
            return getattr(inner, name)

        def delete(self, edition: str, chunk_ids: Sequence[str]) -> None:
            if takes_effect:
                inner.delete(edition, chunk_ids)
            raise IndexUnavailable("away")

    clock.shift_s += SWEEP_AFTER_S + 1.0
    with pytest.raises(IndexUnavailable):
        Upkeep(rig.ledger, CutOff()).sweep()
    rig.consistent()
    assert rig.upkeep.sweep() == 1
    assert rig.index.count(rig.edition.name) == 1
    rig.consistent()


class Gated:
    """An index of which each deletion waits to be let go."""

    def __init__(self, inner: Index) -> None:
        self._inner = inner
        self.gate = threading.Semaphore(0)
        self.begun = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def delete(self, edition: str, chunk_ids: Sequence[str]) -> None:
        self.begun += 1
        assert self.gate.acquire(timeout=30.0)
        self._inner.delete(edition, chunk_ids)


def test_sweeps_that_come_during_a_sweep_take_no_thread(
    rig: Rig, source: MemorySource, clock: ShiftedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited(rig, source)
    clock.shift_s += SWEEP_AFTER_S + 1.0
    gated = Gated(rig.index)
    monkeypatch.setattr(rig.upkeep, "_index", gated)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(rig.work.sweep)
        try:
            eventually(lambda: gated.begun == 1, deadline_s=30.0)
            pool.submit(rig.work.sweep).result(20)
        finally:
            gated.gate.release(10)
        first.result(30)
    assert gated.begun == 1
    edited(rig, source)
    clock.shift_s += SWEEP_AFTER_S + 1.0
    rig.work.sweep()
    assert rig.index.count(rig.edition.name) == 1


def test_a_sweep_ends_in_time_and_goes_on_the_next_time(
    rig: Rig, source: MemorySource, clock: ShiftedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        source.put("a.md", f"revision {number}".encode())
        rig.sync()
    clock.shift_s += SWEEP_AFTER_S + 1.0
    monkeypatch.setattr(upkeep, "SWEPT_AT_ONCE", 1)
    inner = rig.upkeep._index

    class TakingTime:
        def __getattr__(self, name: str) -> Any:
            return getattr(inner, name)

        def delete(self, edition: str, chunk_ids: Sequence[str]) -> None:
            inner.delete(edition, chunk_ids)
            clock.shift_s += SWEEP_FOR_S

    monkeypatch.setattr(rig.upkeep, "_index", TakingTime())
    for left in (4, 3):
        rig.work.sweep()
        assert rig.index.count(rig.edition.name) == left
    rig.consistent()


def test_a_dead_chunk_whose_text_returns_comes_under_a_new_id(
    rig: Rig, source: MemorySource, clock: ShiftedClock
) -> None:
    edited(rig, source)
    source.put("a.md", b"the old words")
    rig.sync()
    assert rig.embedder.texts == ["the old words", "the new words"]
    (live,) = rig.live_chunks()
    rig.sweep()
    assert [key for key, _ in rig.index.ids(rig.edition.name)] == [live]


def test_silent_workers_lose_their_claims(rig: Rig, source: MemorySource, clock: ShiftedClock) -> None:
    source.put("a.md", b"words")
    rig.scan()
    rig.ledger.claims.claim(rig.edition, list(rig.document_ids().values()))
    assert rig.upkeep.reap() == 0
    clock.shift_s += 61.0
    assert rig.upkeep.reap() == 1
    assert rig.upkeep.reap() == 0


def test_one_silence_is_one_alert(
    rig: Rig, source: MemorySource, clock: ShiftedClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Its leases run out one after the other, as they were taken."""

    def falls_silent(*names: str) -> list[int]:
        for name in names:
            source.put(name, b"words of " + name.encode())
        rig.scan()
        for name in names:
            rig.ledger.claims.claim(rig.edition, [rig.document_ids()[name]])
            clock.shift_s += 20.0
        levels = []
        for until_the_next in (1.0, 20.0, 20.0):
            clock.shift_s += until_the_next
            caplog.clear()
            with caplog.at_level(logging.INFO, "headwater.upkeep"):
                assert rig.upkeep.reap() == 1
            levels += [record.levelno for record in caplog.records]
        return levels

    assert falls_silent("a.md", "b.md", "c.md") == [logging.WARNING, logging.INFO, logging.INFO]
    clock.shift_s += 61.0
    assert falls_silent("d.md", "e.md", "f.md") == [logging.WARNING, logging.INFO, logging.INFO]


def test_the_history_of_a_document_is_bounded(rig: Rig, source: MemorySource) -> None:
    for number in range(HISTORY + 5):
        source.put("a.md", f"words {number}".encode())
        rig.sync()
    document_id = rig.document_ids()["a.md"]
    assert len(rig.ledger.views.history(document_id)) == HISTORY + 5
    rig.upkeep.trim()
    kept = rig.ledger.views.history(document_id)
    assert len(kept) == HISTORY
    assert kept[-1].generation == max(attempt.generation for attempt in kept)


def test_a_tombstone_goes_after_a_month_and_its_sweep(
    rig: Rig, source: MemorySource, clock: ShiftedClock
) -> None:
    for name in ("a.md", "b.md"):
        source.put(name, b"words")
    rig.sync()
    retired = rig.document_ids()["a.md"]
    source.delete("a.md")
    rig.sync()
    clock.shift_s += TOMBSTONES_S + 1.0
    rig.upkeep.trim()
    assert rig.ledger.views.document(retired) is not None  # its chunk is not swept yet
    rig.upkeep.sweep()
    rig.upkeep.trim()
    assert rig.ledger.views.document(retired) is None
    assert rig.states() == {"b.md": "live"}
    source.put("a.md", b"words")
    rig.sync()
    assert rig.states() == {"a.md": "live", "b.md": "live"}
