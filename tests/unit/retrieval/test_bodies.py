"""Bodies of requests: each bounded, and all of them together."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from retrieval.api.bodies import MAX_DRAINED_BYTES, SMALL_BYTES, Bodies, NoRoom, TooLarge

PIECE = b"x" * 500_000
MOST_BYTES = 4_000_000


def sending(*pieces: bytes, leaves: bool = False) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.disconnect"} if leaves else {"type": "http.request", "body": b""})

    async def receive() -> Message:
        return messages.pop(0)

    return receive


def size_bytes(messages: list[Message]) -> int:
    return sum(len(message.get("body", b"")) for message in messages)


def read(bodies: Bodies, receive: Receive) -> int:
    with bodies.room() as room:
        return size_bytes(asyncio.run(room.read(receive, MOST_BYTES)))


def test_a_body_is_read_whole() -> None:
    assert read(Bodies(), sending(PIECE, b"", PIECE)) == 2 * len(PIECE)


def test_one_that_is_too_large_is_read_on_for_a_while_only() -> None:
    asked = 0

    async def endless() -> Message:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": PIECE, "more_body": True}

    with pytest.raises(TooLarge):
        read(Bodies(), endless)
    assert asked * len(PIECE) <= MOST_BYTES + MAX_DRAINED_BYTES + len(PIECE)
    with pytest.raises(TooLarge):
        read(Bodies(), sending(*[PIECE] * 9))


def test_many_large_ones_at_once_wait_for_their_turn_and_small_ones_do_not() -> None:
    bodies = Bodies(3_000_000)
    large, small = [PIECE] * 6, [PIECE] * (SMALL_BYTES // len(PIECE))
    with bodies.room() as first:
        asyncio.run(first.read(sending(*large), MOST_BYTES))
        with pytest.raises(NoRoom):
            read(bodies, sending(*large))
        assert read(bodies, sending(*small)) == SMALL_BYTES
    assert read(bodies, sending(*large)) == 3_000_000, "what was held is free again"


def test_whoever_leaves_holds_nothing() -> None:
    bodies = Bodies(3_000_000)
    for _ in range(10):
        with pytest.raises(ClientDisconnect):
            read(bodies, sending(*[PIECE] * 6, leaves=True))
    assert read(bodies, sending(*[PIECE] * 6)) == 3_000_000
