"""Requests and replies of Weaviate's gRPC interface, in and out of our own words.

Loaded with the first connection, not before: Weaviate's messages take a second to import. Vectors travel as
the bytes of float32 numbers, so that what comes back is what was given, to the bit.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf.struct_pb2 import Struct, Value
from numpy.typing import NDArray
from weaviate.proto.v1 import (
    aggregate_pb2,
    base_pb2,
    base_search_pb2,
    batch_delete_pb2,
    batch_pb2,
    search_get_pb2,
)

from retrieval.index.port import IndexedChunk

FIRST = str(uuid.UUID(int=0))  # a listing begins after it; no chunk is called that
Vector = NDArray[np.float32]
Filter = Any  # base_pb2.Filters; Any, because the messages differ by the release of protobuf


def any_of(name: str, values: Sequence[str]) -> Filter:
    """Chunks whose property, or "_id", is one of the values."""
    return base_pb2.Filters(
        operator=base_pb2.Filters.OPERATOR_CONTAINS_ANY,
        target=base_pb2.FilterTarget(property=name),
        value_text_array=base_pb2.TextArray(values=values),
    )


def everything() -> Filter:
    """Every chunk, as a filter: it makes Weaviate compare one by one."""
    return base_pb2.Filters(
        operator=base_pb2.Filters.OPERATOR_NOT_EQUAL,
        target=base_pb2.FilterTarget(property="digest"),
        value_text="-",
    )


def listing(collection: str, limit: int, *, after: str = FIRST, read: Sequence[str] = ()) -> Any:
    """The next chunks in the order of their ids, with these properties."""
    request = _search(collection, limit, read)
    request.after = after
    return request


def matching(
    collection: str, limit: int, wanted: Filter, *, read: Sequence[str] = (), with_vectors: bool = False
) -> Any:
    """Chunks that pass a filter, in no order."""
    request = _search(collection, limit, read, wanted)
    request.metadata.vector = with_vectors
    return request


def nearest(collection: str, limit: int, vector: Vector, wanted: Filter | None) -> Any:
    """The chunks nearest to a vector, with their distances."""
    request = _search(collection, limit, (), wanted)
    request.near_vector.CopyFrom(base_search_pb2.NearVector(vector_bytes=_bytes(vector)))
    request.metadata.distance = True
    return request


def holding(
    collection: str, limit: int, stems: str, wanted: Filter | None, *, with_vectors: bool = False
) -> Any:
    """The chunks that hold any of the stems, with their BM25 scores."""
    request = _search(collection, limit, (), wanted)
    request.bm25_search.CopyFrom(base_search_pb2.BM25(query=stems, properties=["words"]))
    request.metadata.score = True
    request.metadata.vector = with_vectors
    return request


def counting(collection: str, wanted: Filter | None = None) -> Any:
    return aggregate_pb2.AggregateRequest(collection=collection, objects_count=True, filters=wanted)


def batch(collection: str, chunks: Sequence[IndexedChunk], words: Sequence[str]) -> Any:
    objects = [_object(collection, chunk, stems) for chunk, stems in zip(chunks, words, strict=True)]
    return batch_pb2.BatchObjectsRequest(objects=objects)


def removal(collection: str, chunk_ids: Sequence[str]) -> Any:
    return batch_delete_pb2.BatchDeleteRequest(collection=collection, filters=any_of("_id", chunk_ids))


def read_text(result: Any, name: str) -> str:
    """A property of one result."""
    text: str = result.properties.non_ref_props.fields[name].text_value
    return text


def read_vector(result: Any) -> Vector:
    return np.frombuffer(result.metadata.vector_bytes, "<f4")


def _search(collection: str, limit: int, read: Sequence[str], wanted: Filter | None = None) -> Any:
    return search_get_pb2.SearchRequest(
        collection=collection,
        limit=limit,
        filters=wanted,
        metadata=search_get_pb2.MetadataRequest(uuid=True),
        properties=search_get_pb2.PropertiesRequest(non_ref_properties=read),
        uses_123_api=True,
        uses_125_api=True,
        uses_127_api=True,
    )


def _object(collection: str, chunk: IndexedChunk, words: str) -> Any:
    properties = Struct(
        fields={
            "words": Value(string_value=words),
            "source": Value(string_value=chunk.source),
            "digest": Value(string_value=chunk.digest),
            "heading": Value(string_value=chunk.heading),
            "text": Value(string_value=chunk.text),
        }
    )
    return batch_pb2.BatchObject(
        uuid=chunk.chunk_id,
        collection=collection,
        vector_bytes=_bytes(chunk.vector),
        properties=batch_pb2.BatchObject.Properties(non_ref_properties=properties),
    )


def _bytes(vector: Vector) -> bytes:
    return vector.astype("<f4", copy=False).tobytes()
