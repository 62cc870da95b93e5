"""The floor of everything that embeds: one direct call of the same embedder on the same chunks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from ingestion.chunking import chunk
from ingestion.parsing import at_hand, parse
from ingestion.records import Chunk
from retrieval.embedding.models import make_embedder
from retrieval.embedding.port import Embedder
from tests.bench._common import REAL

TIMES = 2


class Direct:
    """The embedder of the default settings, with nothing around it; it sorts by length by itself."""

    def __init__(self) -> None:
        self.embedder = make_embedder(REAL)
        self.embedder.load()

    def chunks(self, path: str, text: str) -> Sequence[Chunk]:
        return chunks_of(path, text, self.embedder)

    def texts(self, files: Mapping[str, str]) -> dict[str, str]:
        return texts_of(files, self.embedder)

    def encode_s(self, texts: Sequence[str]) -> float:
        """Seconds for all texts in one call."""
        began = time.perf_counter()
        self.embedder.embed_documents(texts)
        return time.perf_counter() - began

    def best_s(self, texts: Sequence[str]) -> float:
        return min(self.encode_s(texts) for _ in range(TIMES))


def chunks_of(path: str, text: str, embedder: Embedder) -> Sequence[Chunk]:
    """As the program cuts a file of this text."""
    parsed = parse(text.encode(), path, apart=at_hand)
    return chunk(parsed, max_tokens=embedder.max_tokens, count_tokens=embedder.count_tokens)


def texts_of(files: Mapping[str, str], embedder: Embedder) -> dict[str, str]:
    """What is embedded of these files: distinct text by digest."""
    return {
        one.digest: one.embedded_text
        for path, text in files.items()
        for one in chunks_of(path, text, embedder)
    }
