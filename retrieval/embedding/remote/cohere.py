"""The words of Cohere's ``/v2/embed``: passages and questions are marked as such. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from retrieval.embedding.remote.dialect import Answer, decoded, encoded, row_of, tokens_of, unreadable

_PASSAGE = "search_document"
_QUESTION = "search_query"


@dataclass(frozen=True, slots=True)
class Cohere:
    """``dimensions`` is passed on where it is set: models that can then answer with shorter vectors."""

    model: str
    dimensions: int | None = None

    name = "cohere"
    path = "/v2/embed"
    most_texts = 96
    most_tokens = 128_000
    inputs = (_PASSAGE, _QUESTION)

    def request(self, texts: Sequence[str], *, question: bool) -> bytes:
        request: dict[str, Any] = {
            "model": self.model,
            "texts": list(texts),
            "input_type": _QUESTION if question else _PASSAGE,
            "embedding_types": ["float"],
        }
        if self.dimensions is not None:
            request["output_dimension"] = self.dimensions
        return encoded(request)

    def read(self, body: bytes) -> Answer:
        answer = decoded(body)
        embeddings = answer.get("embeddings")
        rows = embeddings.get("float") if isinstance(embeddings, dict) else None
        if not isinstance(rows, list):
            raise unreadable("holds no list named embeddings.float")
        meta = answer.get("meta")
        billed = meta.get("billed_units") if isinstance(meta, dict) else None
        tokens = tokens_of(billed.get("input_tokens")) if isinstance(billed, dict) else None
        return Answer([row_of(row) for row in rows], tokens)

    def plainer(self) -> list[Cohere]:
        """Without dimensions, which only some models take; they are checked in the answer anyway."""
        return [] if self.dimensions is None else [dataclasses.replace(self, dimensions=None)]
