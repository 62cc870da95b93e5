"""The floor of everything that embeds: one direct call of the runtime in force, on the same chunks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from ingestion.chunking import chunk
from ingestion.parsing import parse
from ingestion.records import Chunk
from retrieval.embedding.models import make_embedder
from tests.bench._common import REAL


class Direct:
    """The embedder that the program would choose, with nothing around it; it sorts by length by itself."""

    def __init__(self) -> None:
        self.embedder = make_embedder(REAL)
        self.embedder.load()

    def chunks(self, path: str, text: str) -> Sequence[Chunk]:
        """As the program cuts a file of this text."""
        parsed = parse(text.encode(), path, None)
        return chunk(parsed, max_tokens=self.embedder.max_tokens, count_tokens=self.embedder.count_tokens)

    def texts(self, files: Mapping[str, str]) -> dict[str, str]:
        """What is embedded of these files: distinct text by digest."""
        return {
            one.digest: one.embedded_text for path, text in files.items() for one in self.chunks(path, text)
        }

    def encode_s(self, texts: Sequence[str]) -> float:
        """Seconds for all texts in one call."""
        began = time.perf_counter()
        self.embedder.embed_documents(texts)
        return time.perf_counter() - began
