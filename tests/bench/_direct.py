"""The floor of everything that embeds: one direct call of sentence-transformers on the same chunks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ingestion.chunking import chunk
from ingestion.parsing import parse
from ingestion.records import Chunk
from retrieval.embedding.model_folder import read_model_folder
from retrieval.embedding.models import find_model
from retrieval.embedding.sentence_transformers import SentenceTransformersEmbedder
from tests.bench._common import REAL

BATCHES = (8, 16, 32)


class Direct:
    """The embedder's own model, called without anything around it; it sorts by length by itself."""

    def __init__(self) -> None:
        self.embedder = SentenceTransformersEmbedder(read_model_folder(find_model(REAL), REAL))
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

    def encode_s(self, texts: Sequence[str], batch_texts: int = BATCHES[0]) -> float:
        """Seconds for all texts in one call."""
        model: Any = self.embedder._model
        began = time.perf_counter()
        model.encode(list(texts), batch_size=batch_texts, show_progress_bar=False)
        return time.perf_counter() - began

    def best_s(self, texts: Sequence[str]) -> float:
        """The same with the batch size that suits this machine best."""
        return min(self.encode_s(texts, size) for size in BATCHES)
