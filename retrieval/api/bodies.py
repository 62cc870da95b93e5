"""Bodies of requests, read whole before the application sees them: each bounded, and all of them together.

For one event loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

MAX_DRAINED_BYTES = 16_000_000  # beyond what may be
ALL_BYTES = 256 * 1024 * 1024  # held at once; the application makes a copy or two of each
SMALL_BYTES = (
    1_000_000  # of any body: not counted, so that questions are answered however much is handed over
)


class TooLarge(Exception):
    """A body is larger than it may be."""


class NoRoom(Exception):
    """Others hold what there is; later there is room again."""


class Bodies:
    """All that are held at a time."""

    def __init__(self, all_bytes: int = ALL_BYTES) -> None:
        self._free_bytes = all_bytes

    @contextlib.contextmanager
    def room(self) -> Iterator[Room]:
        """For one request, until it is answered."""
        room = Room(self)
        try:
            yield room
        finally:
            self._free_bytes += room.taken_bytes

    def take(self, size_bytes: int) -> None:
        """Raises NoRoom."""
        if size_bytes > self._free_bytes:
            raise NoRoom
        self._free_bytes -= size_bytes


class Room:
    """What one request holds of it."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self.taken_bytes = 0

    async def read(self, receive: Receive, most_bytes: int) -> list[Message]:
        """The messages of a body. Raises TooLarge, NoRoom, and ClientDisconnect for a client that leaves.

        One that is refused is read on for a while and thrown away: a client that is cut off while it sends
        may never see the answer.
        """
        messages: list[Message] = []
        size_bytes = 0
        refusal: Exception | None = None
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            size_bytes += len(message.get("body", b""))
            refusal = refusal or self._refusal(size_bytes, most_bytes)
            if refusal is None:
                messages.append(message)
            else:
                messages.clear()
            if not message.get("more_body", False) or (
                refusal and size_bytes > most_bytes + MAX_DRAINED_BYTES
            ):
                break
        if refusal is not None:
            raise refusal
        return messages

    def _refusal(self, size_bytes: int, most_bytes: int) -> TooLarge | NoRoom | None:
        if size_bytes > most_bytes:
            return TooLarge()
        wanted = size_bytes - SMALL_BYTES - self.taken_bytes
        if wanted > 0:
            try:
                self._bodies.take(wanted)
            except NoRoom as full:
                return full
            self.taken_bytes += wanted
        return None
