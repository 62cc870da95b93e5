"""API keys: how they are hashed and compared. Only hashes are ever kept."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable


def hash_key(key: str | bytes) -> str:
    """``sha256:`` and 64 hex digits, as the settings hold it.

    Unsalted and fast: meant for keys that a generator made, not for passwords.
    """
    raw = key.encode("utf-8", "surrogateescape") if isinstance(key, str) else key
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def is_known(key: bytes, hashes: Iterable[str]) -> bool:
    """Whether a key is one of these. Compares with all of them, each in constant time."""
    hashed = hash_key(key).encode()
    matches = [hmac.compare_digest(hashed, known.encode()) for known in hashes]
    return any(matches)
