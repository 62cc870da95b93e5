"""Digests are remembered while the file stays the same, and a broken memory costs only time."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from retrieval.embedding.digests import DigestCache


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    return path


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def test_a_digest_is_remembered(weights: Path, tmp_path: Path) -> None:
    memory = tmp_path / "cache" / "digests.json"
    assert DigestCache(memory).digest(weights) == sha256(b"weights")
    entries = json.loads(memory.read_text())
    entries[str(weights)][1] = "remembered"
    memory.write_text(json.dumps(entries))
    assert DigestCache(memory).digest(weights) == "remembered"


def test_another_file_under_the_same_name_is_read(weights: Path, tmp_path: Path) -> None:
    cache = DigestCache(tmp_path / "digests.json")
    cache.digest(weights)
    before = weights.stat()
    weights.write_bytes(b"WEIGHTS")
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))  # same size, same time
    assert cache.digest(weights) == sha256(b"WEIGHTS")


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"x": 1}', b"\xff"])
def test_a_damaged_memory_is_replaced(weights: Path, tmp_path: Path, damage: bytes) -> None:
    memory = tmp_path / "digests.json"
    memory.write_bytes(damage)
    assert DigestCache(memory).digest(weights) == sha256(b"weights")
    assert str(weights) in json.loads(memory.read_text())


def test_an_entry_that_is_not_one_is_read_again(weights: Path, tmp_path: Path) -> None:
    memory = tmp_path / "digests.json"
    memory.write_text(json.dumps({str(weights): "not a pair"}))
    assert DigestCache(memory).digest(weights) == sha256(b"weights")


def test_a_memory_that_cannot_be_written_is_done_without(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert DigestCache(tmp_path / "file" / "digests.json").digest(weights) == sha256(b"weights")


def test_two_files_are_remembered_side_by_side(weights: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"other")
    cache = DigestCache(tmp_path / "digests.json")
    cache.digest(weights)
    cache.digest(other)
    assert set(json.loads((tmp_path / "digests.json").read_text())) == {str(weights), str(other)}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["digests.json", "model.safetensors", "other"]
