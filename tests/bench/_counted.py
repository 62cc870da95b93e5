"""The program with every text that it embeds noted in a file: what survives a kill -9.

    HEADWATER_BENCH_NOTES=FILE python -m tests.bench._counted up ...

The digest of a text is appended before the model gets it, so that one that a kill interrupts counts too.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from unittest.mock import patch

from ingestion.clock import Clock
from ops.cli import main as headwater
from ops.equipping import embedder_of
from ops.settings import EmbeddingSettings
from retrieval.embedding.port import CallLimits, Embedder, Vectors

NOTES = "HEADWATER_BENCH_NOTES"
LINE_BYTES = 33  # 32 hex digits and the end of the line


class Noting:
    """Another embedder, watched."""

    def __init__(self, embedder: Embedder, notes: int) -> None:
        self._embedder = embedder
        self._notes = notes

    @property
    def fingerprint(self) -> str:
        return self._embedder.fingerprint

    @property
    def description(self) -> str:
        return self._embedder.description

    @property
    def dimensions(self) -> int:
        return self._embedder.dimensions

    @property
    def max_tokens(self) -> int:
        return self._embedder.max_tokens

    @property
    def call_limits(self) -> CallLimits | None:
        return self._embedder.call_limits

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._embedder.count_tokens(texts)

    def load(self) -> None:
        self._embedder.load()

    @property
    def loaded(self) -> bool:
        return self._embedder.loaded

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        digests = (hashlib.md5(text.encode("utf-8", "surrogatepass")).hexdigest() for text in texts)
        os.write(self._notes, "".join(f"{digest}\n" for digest in digests).encode())
        return self._embedder.embed_documents(texts)

    def embed_query(self, text: str) -> Vectors:
        return self._embedder.embed_query(text)


def main() -> None:
    notes = os.open(os.environ[NOTES], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def noting(settings: EmbeddingSettings, *, clock: Clock | None = None) -> Embedder:
        return Noting(embedder_of(settings, clock=clock), notes)

    with patch("ops.wiring.embedder_of", noting):
        headwater()


if __name__ == "__main__":
    main()
