"""Chunks into a collection and out of it, slice by slice, each item's result looked at."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence

from ingestion.errors import EditionMissing, IndexRefused, IndexRejected, IndexUnavailable
from retrieval.embedding.port import Vectors
from retrieval.index.checked import checked_vectors, some_of
from retrieval.index.port import IndexedChunk
from retrieval.index.weaviate_held import Held, RequestRefused
from retrieval.index.words import QueryReader

SLICE = 200  # chunks a request
MOST_BYTES = (
    4_000_000  # of chunks a request; gRPC's own limit is a little more, and Weaviate's 100 MB by itself
)
TRIES = 3  # for chunks that Weaviate refused while it answered
PAUSE_S = 0.2  # before the second; it doubles

_Piece = tuple[IndexedChunk, str]  # and its words


def upsert(held: Held, chunks: Sequence[IndexedChunk], reader: QueryReader) -> None:
    """All of them, or an error. Nothing is sent unless everything fits: Weaviate itself takes the good ones
    of a slice and tells of the bad ones only in its reply."""
    distinct = list({chunk.chunk_id: chunk for chunk in chunks}.values())
    if not distinct:
        return
    checked_vectors(distinct, held.dimensions())
    _check_ids(distinct)
    _insert_all(held, distinct, reader)
    found = searchable(held, [chunk.chunk_id for chunk in distinct], distinct[0].vector)
    lost = [chunk for chunk in distinct if chunk.chunk_id not in found]
    if lost:  # see _seal; what is written once more with the vector that it has, changes nothing there
        delete(held, [chunk.chunk_id for chunk in lost])
        _insert_all(held, lost, reader)


def searchable(held: Held, chunk_ids: Sequence[str], vector: Vectors) -> set[str]:
    """Those of the ids whose vectors can be found; ``vector`` is any of the edition's length."""
    from retrieval.index import weaviate_messages as messages

    found: set[str] = set()
    for start in range(0, len(chunk_ids), SLICE):
        some = chunk_ids[start : start + SLICE]
        request = messages.nearest(held.name, len(some), vector, messages.any_of("_id", some))
        found.update(result.metadata.id for result in held.ask("Search", request).results)
    return found


def delete(held: Held, chunk_ids: Sequence[str]) -> None:
    """A slice stays far below the 10,000 that Weaviate deletes at once, so one call takes all of it."""
    distinct = [one for one in dict.fromkeys(chunk_ids) if is_id(one)]
    try:
        for start in range(0, len(distinct), SLICE):
            _remove(held, distinct[start : start + SLICE])
    except EditionMissing:
        return


def is_id(chunk_id: str) -> bool:
    """Weaviate takes UUIDs only, and gives them back in lower case: no other can be held."""
    try:
        return str(uuid.UUID(chunk_id)) == chunk_id
    except ValueError:
        return False


def _check_ids(chunks: Sequence[IndexedChunk]) -> None:
    bad = tuple(chunk.chunk_id for chunk in chunks if not is_id(chunk.chunk_id))
    if bad:
        raise IndexRejected(f"{len(bad)} chunk ids are not UUIDs: {some_of(bad)}.", chunk_ids=bad)


def _seal(held: Held) -> None:
    """Weaviate hands the quantised vectors of a batch to its operating system with the next write only
    (seen in 1.39.0): killed before it, it comes back with chunks that no vector finds. A deletion that
    deletes nothing is a next write."""
    from retrieval.index import weaviate_messages as messages

    held.write("BatchDelete", messages.removal(held.name, [messages.FIRST]))


def _insert_all(held: Held, chunks: Sequence[IndexedChunk], reader: QueryReader) -> None:
    for start in range(0, len(chunks), SLICE):
        some = chunks[start : start + SLICE]
        words = reader.stems((chunk.heading, chunk.text) for chunk in some)
        for pieces in _requests(zip(some, words, strict=True)):
            _insert(held, pieces)
    _seal(held)


def _requests(pieces: Iterable[_Piece]) -> Iterator[list[_Piece]]:
    """Runs of at most MOST_BYTES; a chunk that has more goes alone."""
    run: list[_Piece] = []
    size_bytes = 0
    for piece in pieces:
        added = _size_bytes(*piece)
        if run and size_bytes + added > MOST_BYTES:
            yield run
            run, size_bytes = [], 0
        run.append(piece)
        size_bytes += added
    yield run


def _size_bytes(chunk: IndexedChunk, words: str) -> int:
    texts = (chunk.source, chunk.digest, chunk.heading, chunk.text, words)
    return chunk.vector.nbytes + sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)


def _insert(held: Held, pieces: list[_Piece]) -> None:
    """Where the request itself is refused, half by half, down to the chunk that it is refused for."""
    try:
        _send(held, pieces)
    except RequestRefused as refusal:
        if len(pieces) > 1:
            middle = len(pieces) // 2
            _insert(held, pieces[:middle])
            _insert(held, pieces[middle:])
            return
        _seal(held)  # a server that refuses this, too, has had too much of everything
        only = pieces[0][0].chunk_id
        raise IndexRefused(
            f"Weaviate would not take a request with one chunk, {only}.",
            chunk_ids=(only,),
            hint="Is it larger than the server's GRPC_MAX_MESSAGE_SIZE? Its log says why.",
        ) from refusal


def _send(held: Held, pieces: list[_Piece]) -> None:
    from retrieval.index import weaviate_messages as messages

    taken = 0
    for turn in range(TRIES):
        if turn:
            time.sleep(PAUSE_S * 2 ** (turn - 1))
        request = messages.batch(held.name, [chunk for chunk, _ in pieces], [words for _, words in pieces])
        refused = sorted({error.index for error in held.write("BatchObjects", request).errors})
        if not refused:
            return
        taken += len(pieces) - len(refused)
        pieces = [pieces[place] for place in refused]
    raise _refusal(held, tuple(chunk.chunk_id for chunk, _ in pieces), taken)


def _refusal(held: Held, chunk_ids: tuple[str, ...], taken: int) -> IndexRefused | IndexUnavailable:
    """What a refusal that lasts means. The server's words are not repeated: they can hold whole vectors.

    Where it took other chunks of the same slice all the while, it may be these that it will not have: their
    documents get a few attempts, and nobody else has to wait.
    """
    if held.is_read_only():
        return held.read_only()
    told = f"Weaviate refused {len(chunk_ids)} chunks, {TRIES} times: {some_of(chunk_ids)}."
    if taken:
        return IndexRefused(told, chunk_ids=chunk_ids, hint="Its log says why.")
    return IndexUnavailable(told, hint="Its log says why.")


def _remove(held: Held, chunk_ids: Sequence[str]) -> None:
    from retrieval.index import weaviate_messages as messages

    for turn in range(TRIES):
        if turn:
            time.sleep(PAUSE_S * 2 ** (turn - 1))
        if not held.write("BatchDelete", messages.removal(held.name, chunk_ids)).failed:
            return
    if held.is_read_only():
        raise held.read_only()
    raise IndexUnavailable(
        f"Weaviate failed {TRIES} times to delete from {held.name}.", hint="Its log says why."
    )
