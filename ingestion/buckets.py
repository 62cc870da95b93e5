"""Counts and digests by bucket: what tells two large sets of chunks apart without comparing them one by one.

Pure. A chunk's bucket depends on its id alone, so that both sides put it into the same one; a bucket's digest
does not depend on the order in which its chunks come.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

BUCKETS = 4096  # at a million chunks, one that differs is one of 244
_DIGESTS = 2**64


@dataclass(frozen=True, slots=True)
class Tally:
    """How many chunks a bucket holds, and the sum of their digests modulo 2**64."""

    count: int
    digest: int


def bucket_of(chunk_id: str) -> int:
    """From 0 to BUCKETS - 1, and the same in every process and version."""
    return zlib.crc32(chunk_id.encode()) % BUCKETS


def tallied(chunks: Iterable[tuple[str, str]]) -> dict[int, Tally]:
    """(chunk id, text digest) by bucket; empty buckets are left out. Some 3 µs a chunk."""
    counts = [0] * BUCKETS
    sums = [0] * BUCKETS
    for chunk_id, digest in chunks:
        bucket = bucket_of(chunk_id)
        counts[bucket] += 1
        sums[bucket] += int.from_bytes(blake2b(f"{chunk_id}\0{digest}".encode(), digest_size=8).digest())
    return {bucket: Tally(count, sums[bucket] % _DIGESTS) for bucket, count in enumerate(counts) if count}


def differing(ours: Mapping[int, Tally], theirs: Mapping[int, Tally]) -> set[int]:
    """The buckets that do not hold the same."""
    return {bucket for bucket in ours.keys() | theirs.keys() if ours.get(bucket) != theirs.get(bucket)}
