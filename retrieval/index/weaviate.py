"""The index for more than one machine: each edition a collection of a Weaviate server.

Chunks are held under the ledger's ids. A search asks Weaviate twice, for the nearest vectors and for the
words, and fuses both as the embedded index does, so that scores do not depend on how many hits were asked
for; Weaviate's own hybrid query scales each part by the hits it happens to fetch, and the order of the
first ten changes with the eleventh (decision 0009).

What is acknowledged has been handed to the server's operating system: it survives kill -9 of Weaviate
(``weaviate_write`` says at what price), and a power cut only as far as that system had written it: no
setting of Weaviate makes it write through. The audit mends what a power cut took.

Chunk ids are UUIDs here. Weaviate is imported with the first call, not with this module.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingestion.buckets import Tally, tallied
from ingestion.errors import EditionMissing, IndexUnavailable, Misconfigured, WrongEdition
from retrieval.index.checked import checked_question
from retrieval.index.port import IndexedChunk, IndexHit, IndexQuery
from retrieval.index.weaviate_collections import (
    OLDEST_SERVER,
    checked_prefix,
    collection_name,
    collection_schema,
    differences,
    recorded_dimensions,
    recorded_ledger,
)
from retrieval.index.weaviate_held import Held
from retrieval.index.weaviate_search import MOST_HITS, Searching, count
from retrieval.index.weaviate_wire import Address, Doubtful, KeyRefused, Wire
from retrieval.index.weaviate_write import SLICE, delete, is_id, searchable, upsert
from retrieval.index.words import QueryReader

LISTED_AT_ONCE = 2_000
TOO_MANY_HITS = "maximum results exceeded"  # in its words for it, since its first releases
MADE_S = 3.0  # from the record of a collection to its first answer: some 0.1 s
MADE_POLL_S = 0.05
SPARE = 100  # chunks beside one a digest that a question for vectors may bring


class WeaviateIndex:
    """The port's promises, kept by one Weaviate. ``prefix`` sets installations in one server apart.

    ``timeout_s`` bounds a question; a write may take three times as long. ``ledger_id`` tells whose the
    collections are: one of another ledger is neither used nor dropped, because the chunks that one ledger
    does not know are the other's. Raises Misconfigured for an address or a prefix that cannot be one;
    nothing is opened before it is needed.
    """

    def __init__(
        self,
        url: str,
        *,
        grpc_port: int = 50051,
        api_key: str | None = None,
        prefix: str = "Headwater",
        timeout_s: float = 10.0,
        ledger_id: str | None = None,
    ) -> None:
        self._ledger_id = ledger_id
        self._prefix = checked_prefix(prefix)
        self._wire = Wire(Address.of(url, grpc_port), api_key, timeout_s)
        self._dimensions: dict[str, int] = {}  # by edition, as last seen here
        self._reading = threading.Lock()
        self._reader: tuple[int, QueryReader] | None = None  # and the process it was made in

    def create(self, edition: str, dimensions: int) -> None:
        """As the port says. Raises Misconfigured, too: the key, the server's release or settings, or a
        collection of another shape or another ledger. One that says nothing of a ledger is this one's from
        now on."""
        held = self._collection(edition)
        if held is None:
            raise Misconfigured(f"{edition!r} cannot name an edition: lower-case letters, digits, _ and -.")
        try:
            self._check_server()
            schema = collection_schema(held.name, edition, dimensions, self._ledger_id)
            found = held.schema() or self._made(held, schema)
            _check_shape(edition, schema | _whose(found, edition, dimensions), found)
            self._make_own(held, schema, found)
            self._check_most_hits(held)
        except KeyRefused as refusal:
            raise Misconfigured(refusal.message, hint=refusal.hint) from refusal
        self._dimensions[edition] = dimensions

    def drop(self, edition: str) -> None:
        self._dimensions.pop(edition, None)
        held = self._collection(edition)
        if held is not None and not self._is_of_another(held.schema()):
            self._wire.change("DELETE", f"/schema/{held.name}")

    def upsert(self, edition: str, chunks: Sequence[IndexedChunk]) -> None:
        upsert(self._required(edition), chunks, self._words())

    def delete(self, edition: str, chunk_ids: Sequence[str]) -> None:
        held = self._collection(edition)
        if held is not None:
            delete(held, chunk_ids)

    def present(self, edition: str, chunk_ids: Sequence[str]) -> set[str]:
        """Those that a search by vector can find: one that a death of the server left without (see
        ``weaviate_write``) counts as absent, so that it is brought again."""
        held = self._required(edition)
        distinct = [one for one in dict.fromkeys(chunk_ids) if is_id(one)]
        anything = np.zeros(self._known_dimensions(held, edition), np.float32)
        anything[0] = 1.0
        return searchable(held, distinct, anything)

    def texts(self, edition: str, chunk_ids: Sequence[str]) -> Mapping[str, str]:
        from retrieval.index.weaviate_messages import read_text

        found = self._by_id(edition, chunk_ids, ("text",))
        return {result.metadata.id: read_text(result, "text") for result in found}

    def vectors_by_digest(
        self, edition: str, digests: Sequence[str], *, without: Sequence[str] = ()
    ) -> Mapping[str, NDArray[np.float32]]:
        held, refused = self._required(edition), frozenset(without)
        distinct = list(dict.fromkeys(digests))
        vectors: dict[str, NDArray[np.float32]] = {}
        for start in range(0, len(distinct), SLICE):
            vectors |= _lent(held, distinct[start : start + SLICE], refused)
        return vectors

    def search(self, edition: str, query: IndexQuery) -> list[IndexHit]:
        if query.limit <= 0 or query.sources == ():
            return []
        held = self._required(edition)
        if query.vector is not None:
            checked_question(query.vector, self._known_dimensions(held, edition))
        return Searching(held, query, self._words().question(query.text)).run()

    def ids(self, edition: str) -> Iterator[tuple[str, str]]:
        from retrieval.index import weaviate_messages as messages

        held, last = self._required(edition), messages.FIRST
        while True:
            request = messages.listing(held.name, LISTED_AT_ONCE, after=last, read=("digest",))
            page = held.ask("Search", request).results
            for result in page:
                yield result.metadata.id, messages.read_text(result, "digest")
            if len(page) < LISTED_AT_ONCE:
                return
            last = page[-1].metadata.id

    def buckets(self, edition: str) -> Mapping[int, Tally]:
        return tallied(self.ids(edition))

    def vectors(self, edition: str, chunk_ids: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        from retrieval.index.weaviate_messages import read_vector

        found = self._by_id(edition, chunk_ids, (), with_vectors=True)
        return {result.metadata.id: read_vector(result) for result in found}

    def count(self, edition: str) -> int:
        return count(self._required(edition))

    def check(self, edition: str | None = None) -> None:
        """Asks whether the server is ready, takes the key, and holds the edition."""
        if not self._wire.get("/.well-known/ready").is_success:
            raise IndexUnavailable(f"Weaviate at {self._wire.address.shown} is not ready.")
        self._wire.get("/meta")  # unlike the first, with the key
        if edition is not None:
            self.count(edition)

    def server_version(self) -> str:
        """As the server tells it."""
        return str(self._wire.get("/meta").json().get("version", ""))

    def close(self) -> None:
        self._wire.close()
        with self._reading:
            reader, self._reader = self._reader, None
        if reader is not None and reader[0] == os.getpid():
            reader[1].close()

    def _collection(self, edition: str) -> Held | None:
        name = collection_name(self._prefix, edition)
        return None if name is None else Held(self._wire, edition, name)

    def _required(self, edition: str) -> Held:
        held = self._collection(edition)
        if held is None:
            raise EditionMissing(f"There can be no edition {edition!r}.")
        return held

    def _words(self) -> QueryReader:
        with self._reading:
            if self._reader is None or self._reader[0] != os.getpid():
                self._reader = os.getpid(), QueryReader()
            return self._reader[1]

    def _known_dimensions(self, held: Held, edition: str) -> int:
        """As last seen: a collection that changed since is found out by Weaviate, which answers nothing."""
        if edition not in self._dimensions:
            self._dimensions[edition] = held.dimensions()
        return self._dimensions[edition]

    def _by_id(
        self, edition: str, chunk_ids: Sequence[str], read: Sequence[str], *, with_vectors: bool = False
    ) -> Iterator[Any]:
        from retrieval.index import weaviate_messages as messages

        held = self._required(edition)
        distinct = [one for one in dict.fromkeys(chunk_ids) if is_id(one)]
        for start in range(0, len(distinct), SLICE):
            some = distinct[start : start + SLICE]
            wanted = messages.any_of("_id", some)
            request = messages.matching(held.name, len(some), wanted, read=read, with_vectors=with_vectors)
            yield from held.ask("Search", request).results

    def _check_server(self) -> None:
        version = self.server_version()
        numbers = tuple(int(part) for part in version.split("-")[0].split(".") if part.isdigit())
        if numbers < OLDEST_SERVER:
            oldest = ".".join(map(str, OLDEST_SERVER))
            raise Misconfigured(
                f"Weaviate at {self._wire.address.shown} is of version {version or 'unknown'}, "
                "which is too old.",
                hint=f"It has to be {oldest} or newer: upgrade it, or name another one in index.url.",
            )

    def _made(self, held: Held, schema: dict[str, Any]) -> dict[str, Any]:
        """The collection as it is once it was asked for, by this process or by one beside it."""
        answer = self._wire.change("POST", "/schema", schema)
        found = held.schema()
        if found is None:
            raise Misconfigured(
                f"Weaviate would not make the collection {held.name} ({answer.status_code}):"
                f" {answer.text[:300]}",
                hint="Is another index.prefix free of what is in the way?",
            )
        return found

    def _is_of_another(self, found: dict[str, Any] | None) -> bool:
        ledger_id = None if found is None else recorded_ledger(found)
        return None not in (ledger_id, self._ledger_id) and ledger_id != self._ledger_id

    def _make_own(self, held: Held, schema: dict[str, Any], found: dict[str, Any]) -> None:
        """Have the collection say whose it is, where it does not. Raises Misconfigured for another's."""
        if self._ledger_id is not None and recorded_ledger(found) is None:
            self._wire.change("PUT", f"/schema/{held.name}", found | {"description": schema["description"]})
            found = held.schema() or found
        if self._is_of_another(found):
            raise Misconfigured(
                f"The collection {held.name} in Weaviate belongs to another ledger; nothing was changed.",
                hint="Set another index.prefix for this one. If that ledger is lost for good, delete the "
                "collection and start again: it is filled anew.",
            )

    def _check_most_hits(self, held: Held) -> None:
        """A deep search must not be the first to find out that the server was set to give less.

        Known by its words: a collection that another process is just making answers with an error, too,
        for a moment.
        """
        from retrieval.index import weaviate_messages as messages

        deep = messages.matching(held.name, MOST_HITS, messages.any_of("source", ["-"]))
        ends = time.monotonic() + MADE_S
        while True:
            try:
                self._wire.ask("Search", deep)
                return
            except Doubtful as doubt:
                if TOO_MANY_HITS in doubt.said:
                    raise Misconfigured(
                        f"Weaviate at {self._wire.address.shown} gives fewer than {MOST_HITS} results.",
                        hint=f"Start it with QUERY_MAXIMUM_RESULTS={MOST_HITS} or more, as it comes.",
                    ) from doubt
                if time.monotonic() > ends:
                    raise held.meaning(doubt) from doubt
            time.sleep(MADE_POLL_S)


def _whose(found: dict[str, Any], edition: str, dimensions: int) -> dict[str, Any]:
    """The record as it should be, but for the ledger, which is as it is."""
    schema = collection_schema("", edition, dimensions, recorded_ledger(found))
    return {"description": schema["description"]}


def _check_shape(edition: str, wanted: dict[str, Any], found: dict[str, Any]) -> None:
    """Raises WrongEdition, Misconfigured."""
    name, dimensions = wanted["class"], recorded_dimensions(wanted)
    held = recorded_dimensions(found)
    if held is not None and held != dimensions:
        raise WrongEdition(
            f"The edition {edition} holds vectors of length {held}, not {dimensions}.",
            hint="Another model needs another edition.",
        )
    differ = differences(wanted, found)
    if differ:
        raise Misconfigured(
            f"The collection {name} in Weaviate is not as it has to be: {'; '.join(differ)}.",
            hint="Remove the collection and start again, or set another index.prefix.",
        )


def _lent(held: Held, digests: Sequence[str], refused: frozenset[str]) -> dict[str, NDArray[np.float32]]:
    """A vector for each of the digests that has one. A text that many chunks share must not crowd out the
    others: what was not found is asked for again, as long as answers are full."""
    from retrieval.index import weaviate_messages as messages

    vectors: dict[str, NDArray[np.float32]] = {}
    limit = min(len(digests) + len(refused) + SPARE, MOST_HITS)
    wanted = list(digests)
    while wanted:
        request = messages.matching(
            held.name, limit, messages.any_of("digest", wanted), read=("digest",), with_vectors=True
        )
        results = held.ask("Search", request).results
        for result in results:
            if result.metadata.id not in refused:
                vectors[messages.read_text(result, "digest")] = messages.read_vector(result)
        if len(results) < limit or not vectors.keys() & set(wanted):
            break
        wanted = [digest for digest in wanted if digest not in vectors]
    return vectors
