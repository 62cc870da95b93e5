"""The rate of embedding is noted every few seconds, and a note that is no good counts as none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ops.measured import NAME, Measured, Measuring, last_measured
from retrieval.embedding.hashing import HashingEmbedder
from tests.unit.ops.books import SetClock


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
