"""Items that Weaviate refuses one by one, which a real server does only when it is ill."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from weaviate.proto.v1 import batch_delete_pb2, batch_pb2, search_get_pb2

from ingestion.errors import IndexRefused, IndexUnavailable
from retrieval.index import weaviate_write
from retrieval.index.port import IndexedChunk
from retrieval.index.weaviate_held import Held
from retrieval.index.weaviate_wire import Address, Wire
from retrieval.index.words import QueryReader

CHUNKS = [
    IndexedChunk(str(uuid.UUID(int=at + 1)), "notes", "d", "", "secret text", np.ones(2, np.float32))
    for at in range(5)
]
NAMES = [chunk.chunk_id for chunk in CHUNKS]


class IllServer(Held):
    """A collection that refuses what ``refuses`` says, given a chunk's id and the number of the request."""

    def __init__(self, refuses: Callable[[str, int], bool], *, read_only: bool = False) -> None:
        super().__init__(Wire(Address.of("http://localhost", 1), None, 1.0), "e", "A_e")
        self._refuses = refuses
        self._read_only = read_only
        self.requests = 0
        self.taken: set[str] = set()

    def dimensions(self) -> int:
        return 2

    def is_read_only(self) -> bool:
        return self._read_only

    def write(self, method: str, request: Any) -> Any:
        if method == "BatchDelete":
            return batch_delete_pb2.BatchDeleteReply()
        self.requests += 1
        reply = batch_pb2.BatchObjectsReply()
        for place, one in enumerate(request.objects):
            if self._refuses(one.uuid, self.requests):
                reply.errors.add(index=place, error="not [1.0, 2.0] secret text")
            else:
                self.taken.add(one.uuid)
        return reply

    def ask(self, method: str, request: Any) -> Any:
        reply = search_get_pb2.SearchReply()
        for one in self.taken:
            reply.results.add().metadata.id = one
        return reply


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weaviate_write, "PAUSE_S", 0.0)


def upsert(server: IllServer) -> None:
    with contextlib.closing(QueryReader()) as reader:
        weaviate_write.upsert(server, CHUNKS, reader)


def test_what_was_refused_in_passing_is_sent_again_alone() -> None:
    server = IllServer(lambda one, request: one in NAMES[1:3] and request < 3)
    upsert(server)
    assert server.taken == set(NAMES)
    assert server.requests == 3


def test_what_is_refused_while_others_are_taken_is_named() -> None:
    server = IllServer(lambda one, request: one == NAMES[2])
    with pytest.raises(IndexRefused) as caught:
        upsert(server)
    assert caught.value.chunk_ids == (NAMES[2],)
    assert "secret" not in str(caught.value)
    assert "1.0" not in str(caught.value)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_server_that_takes_nothing_is_unavailable(read_only: bool) -> None:
    with pytest.raises(IndexUnavailable) as caught:
        upsert(IllServer(lambda one, request: True, read_only=read_only))
    assert ("read-only" in str(caught.value)) is read_only


def test_some_refused_by_a_read_only_shard_are_not_to_blame() -> None:
    with pytest.raises(IndexUnavailable, match="read-only"):
        upsert(IllServer(lambda one, request: one == NAMES[2], read_only=True))


def test_a_request_is_kept_small(monkeypatch: pytest.MonkeyPatch) -> None:
    server = IllServer(lambda one, request: False)
    monkeypatch.setattr(weaviate_write, "MOST_BYTES", 100)  # two of the chunks
    upsert(server)
    assert server.taken == set(NAMES)
    assert server.requests == 3
    monkeypatch.setattr(weaviate_write, "MOST_BYTES", 1)
    upsert(server)
    assert server.requests == 8


def test_the_index_does_not_load_weaviate_with_itself() -> None:
    """It takes a second, and most commands need none."""
    program = (
        "import sys, retrieval.index.weaviate; sys.exit('weaviate' in sys.modules or 'grpc' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
