"""The rate of embedding is noted every few seconds, and a note that is no good counts as none."""

from __future__ import annotations

import gc
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ops import doctor_data
from ops.commands.status import _model
from ops.measured import NAME, AllMeasured, Measured, Measuring, last_measured
from ops.settings import load
from ops.status import status_report
from retrieval.embedding.hashing import HashingEmbedder
from retrieval.embedding.model_folder import read_model_folder
from retrieval.embedding.openvino_embedder import OpenVinoEmbedder
from tests.small_encoder import make_small_bert
from tests.unit.ops.books import Books, SetClock


def test_the_rate_is_that_of_the_whole_process(data: Path, clock: SetClock) -> None:
    measuring = Measuring(data, embedder := HashingEmbedder(), clock)
    assert last_measured(data) is None
    measuring.embedded(10, 1.0)
    assert last_measured(data) == Measured(embedder.description, 10, 10.0, clock.at)
    clock.at += 4
    measuring.embedded(50, 1.0)
    assert last_measured(data) == Measured(embedder.description, 10, 10.0, clock.at - 4)  # too soon
    clock.at += 1
    measuring.embedded(60, 1.0)
    assert last_measured(data) == Measured(embedder.description, 120, 40.0, clock.at)
    assert [one.name for one in data.iterdir()] == [NAME]


def test_calls_under_way_together_are_not_added_up(data: Path, clock: SetClock) -> None:
    measuring = Measuring(data, HashingEmbedder(), clock)
    for _ in range(8):  # two threads would take turns; here the clock stands still
        measuring.embedded(10, 2.0)
    clock.at += 3
    measuring.embedded(10, 1.0)
    clock.at += 3
    measuring.embedded(10, 8.0)  # began together with the first, and ends last
    last = last_measured(data)
    assert last is not None
    assert (last.texts, last.texts_per_s) == (100, 100 / 8)


def test_no_thread_is_forgotten(data: Path, clock: SetClock) -> None:
    measuring = Measuring(data, HashingEmbedder(), clock)
    with ThreadPoolExecutor(8) as threads:
        for _ in range(400):
            threads.submit(measuring.embedded, 1, 1.0)
    measuring.flush()
    last = last_measured(data)
    assert last is not None
    assert (last.texts, last.texts_per_s) == (400, 400.0)


def test_what_was_not_kept_yet_is_kept_at_the_end(data: Path, clock: SetClock) -> None:
    measuring = Measuring(data, HashingEmbedder(), clock)
    measuring.flush()
    assert last_measured(data) is None
    measuring.embedded(10, 1.0)
    clock.at += 1
    measuring.embedded(30, 1.0)
    measuring.flush()
    last = last_measured(data)
    assert last is not None
    assert (last.texts, last.texts_per_s) == (40, 20.0)


def test_what_failed_its_trial_is_kept_and_shown(
    tmp_path: Path, clock: SetClock, monkeypatch: pytest.MonkeyPatch, books: Books
) -> None:
    monkeypatch.setitem(sys.modules, "retrieval.embedding.openvino_runtime", None)
    model, data = make_small_bert(tmp_path / "small"), tmp_path / "data"
    data.mkdir()
    embedder = OpenVinoEmbedder(read_model_folder(model))
    measuring = Measuring(data, embedder, clock)
    embedder.embed_documents(["ferry"])
    measuring.embedded(1, 1.0)
    last = last_measured(data)
    assert last is not None
    assert "openvino cannot be imported" in last.refused[0]
    settings = load(arguments={"daemon.data": data, "embedding.model": str(model)}, environ={})
    (finding,) = [one for one in doctor_data.model(settings) if "not used" in one.what]
    assert "openvino cannot be imported" in finding.what
    status = status_report(settings, books.ledger, clock)
    assert status["model"]["measured"]["refused"] == list(last.refused)
    assert any("not used: openvino cannot be imported" in line for line in _model(status["model"]))


@pytest.mark.parametrize("note", ["", "{", "[]", "{}", '{"embedder": "x", "texts": "y"}'])
def test_a_damaged_note_counts_as_none(data: Path, note: str) -> None:
    (data / NAME).write_text(note)
    assert last_measured(data) is None


def test_a_note_that_cannot_be_written_is_done_without(data: Path, clock: SetClock) -> None:
    Measuring(data / "nowhere", HashingEmbedder(), clock).embedded(1, 1.0)
    assert last_measured(data / "nowhere") is None


def test_no_time_is_no_rate(data: Path, clock: SetClock) -> None:
    Measuring(data, HashingEmbedder(), clock).embedded(1, 0.0)
    assert json.dumps(last_measured(data)) == "null"


def test_another_model_is_measured_by_itself(data: Path, clock: SetClock) -> None:
    """As after a switch: a rate over both would be that of neither."""
    every = AllMeasured(data, clock)
    before, after = HashingEmbedder(), HashingEmbedder(dimensions=64)
    old, new = every.of(before), every.of(after)
    old.embedded(100, 1.0)
    clock.at += 1
    new.embedded(10, 1.0)
    assert last_measured(data) == Measured(after.description, 10, 10.0, clock.at)
    clock.at += 1
    old.embedded(100, 1.0)
    clock.at += 1
    new.embedded(20, 1.0)
    every.flush()
    assert last_measured(data) == Measured(after.description, 30, 15.0, clock.at)
    del old
    gc.collect()
    every.flush()
    assert last_measured(data) == Measured(after.description, 30, 15.0, clock.at)
