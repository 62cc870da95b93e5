"""Names that every ledger can keep: what a database orders by may not be of any length.

An entry of PostgreSQL's index takes at most 2,704 bytes, for source and URI together. The same limit holds
for every ledger, so that all of them hold the same.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from ingestion.records import Gone, Observation, Skipped

MAX_URI_BYTES = 2000
_MARK_BYTES = 32  # of what stands in the place of the rest
_BYTES_A_CHARACTER = 4


def fitting(observation: Observation) -> Observation:
    """The observation as a ledger can keep it: what has too long a name is skipped, under a short one.

    That is the folder it lies in, as far as it goes, and a digest: nothing else is called so, and a look at
    it finds nothing.
    """
    size = _size_bytes(observation.uri)
    if size <= MAX_URI_BYTES:
        return observation
    uri = _cut(observation.uri)
    if isinstance(observation, Gone):
        return replace(observation, uri=uri)
    reason = f"its path of {size:,} bytes is over the limit of {MAX_URI_BYTES:,}, and is cut short here"
    return Skipped(uri, reason, observation.observed_at, observation.size_bytes)


def _size_bytes(uri: str) -> int:
    """At least; what is short in any case is not encoded."""
    return len(uri) if len(uri) * _BYTES_A_CHARACTER <= MAX_URI_BYTES else len(uri.encode())


def _cut(uri: str) -> str:
    encoded = uri.encode()
    head = encoded[: MAX_URI_BYTES - _MARK_BYTES].decode(errors="ignore")
    folder = head[: head.rfind("/") + 1]
    return f"{folder}…{hashlib.sha256(encoded).hexdigest()[:16]}"
