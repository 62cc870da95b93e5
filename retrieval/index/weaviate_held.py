"""One edition's collection: asked and written to, and what its errors mean.

Weaviate answers most of what goes wrong with one and the same gRPC code and words. What happened is settled
by asking it: is the collection there, is the key taken, may its shards be written to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from ingestion.errors import EditionMissing, IndexUnavailable
from retrieval.index.weaviate_collections import recorded_dimensions
from retrieval.index.weaviate_wire import Doubtful, Wire

_OF_THE_REQUEST = frozenset(("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT"))  # too large, malformed


class RequestRefused(IndexUnavailable):
    """The server answers, and would not take this request: it may be for what is in it."""


class Held:
    """The collection ``name`` of an edition, which may not exist."""

    def __init__(self, wire: Wire, edition: str, name: str) -> None:
        self._wire = wire
        self._edition = edition
        self.name = name

    def ask(self, method: str, request: Any) -> Any:
        """The reply to a question. Raises IndexUnavailable; EditionMissing among it."""
        try:
            return self._wire.ask(method, request)
        except Doubtful as doubt:
            raise self.meaning(doubt) from doubt

    def begin(self, method: str, request: Any) -> Callable[[], Any]:
        """As ``ask``, but what is returned waits for the reply: others can be asked meanwhile."""
        begun = self._wire.begin(method, request)

        def reply() -> Any:
            try:
                return begun()
            except Doubtful as doubt:
                raise self.meaning(doubt) from doubt

        return reply

    def write(self, method: str, request: Any) -> Any:
        """The reply to a write. Raises as ``ask``; RequestRefused among it."""
        try:
            return self._wire.write(method, request)
        except Doubtful as doubt:
            raise self.meaning(doubt) from doubt

    def schema(self) -> dict[str, Any] | None:
        """The collection as Weaviate has it; None where there is none."""
        answer = self._wire.get(f"/schema/{self.name}")
        found: dict[str, Any] | None = None if answer.status_code == httpx.codes.NOT_FOUND else answer.json()
        return found

    def dimensions(self) -> int:
        """The length of its vectors, read anew. Raises EditionMissing; IndexUnavailable for a foreign one.

        A server may be set to make collections by itself, as it meets objects for them: what is written
        to one that is gone would then be held in one of any shape. So every write asks first.
        """
        found = self.schema()
        if found is None:
            raise self.gone()
        dimensions = recorded_dimensions(found)
        if dimensions is None:
            raise IndexUnavailable(
                f"The collection {self.name} in Weaviate was not made by this version of the program.",
                hint="Remove it, or set another index.prefix, and start again.",
            )
        return dimensions

    def is_read_only(self) -> bool:
        """Whether a shard refuses writes: Weaviate does that when its disk is nearly full."""
        answer = self._wire.get(f"/schema/{self.name}/shards")
        shards = answer.json() if answer.is_success else []
        return any(shard.get("status") == "READONLY" for shard in shards)

    def read_only(self) -> IndexUnavailable:
        return IndexUnavailable(
            f"The collection {self.name} in Weaviate is read-only.",
            hint="Is the server's disk full? Once there is room, set its shards to READY again.",
        )

    def gone(self) -> EditionMissing:
        return EditionMissing(
            f"Weaviate holds no collection {self.name} for the edition {self._edition}.",
            hint="It is made anew and filled by the next audit, or at once by: headwater audit --repair",
        )

    def meaning(self, doubt: Doubtful) -> IndexUnavailable:
        if self.schema() is None:
            return self.gone()
        if self.is_read_only():
            return self.read_only()
        kind = RequestRefused if doubt.code in _OF_THE_REQUEST else IndexUnavailable
        return kind(
            f"Weaviate could not answer for the collection {self.name} ({doubt.code}).",
            hint="Its log says why.",
        )
