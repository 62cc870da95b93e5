"""The words of OpenAI's ``/embeddings``, which vLLM, Infinity, TEI, Ollama and most others speak too.

Vectors are asked for in base64 (float32, little-endian), a quarter of the bytes of decimal numbers and
read ten times faster; an endpoint that refuses this is asked without. They are put in order by ``index``.
"""

from __future__ import annotations

import binascii
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from retrieval.embedding.remote.dialect import (
    Answer,
    Row,
    decoded,
    encoded,
    misnumbered,
    row_of,
    tokens_of,
    unreadable,
)


@dataclass(frozen=True, slots=True)
class OpenAI:
    """``dimensions`` is passed on where it is set: models that can then answer with shorter vectors."""

    model: str
    dimensions: int | None = None
    base64: bool = True

    name = "openai"
    path = "/embeddings"
    most_texts = 2048
    most_tokens = 300_000
    inputs = ()

    def request(self, texts: Sequence[str], *, question: bool) -> bytes:
        request: dict[str, Any] = {"model": self.model, "input": list(texts)}
        if self.dimensions is not None:
            request["dimensions"] = self.dimensions
        if self.base64:
            request["encoding_format"] = "base64"
        return encoded(request)

    def read(self, body: bytes) -> Answer:
        answer = decoded(body)
        entries, usage = answer.get("data"), answer.get("usage")
        if not isinstance(entries, list):
            raise unreadable("holds no list named data")
        rows: dict[int, Row] = {}
        for position, entry in enumerate(entries):
            if not isinstance(entry, dict):
                raise unreadable("holds something in place of a vector")
            rows[_index(entry, position)] = _row(entry.get("embedding"))
        if rows.keys() != set(range(len(entries))):
            raise misnumbered(len(rows), len(entries))
        usage = usage if isinstance(usage, dict) else {}
        tokens = tokens_of(usage.get("prompt_tokens")) or tokens_of(usage.get("total_tokens"))
        return Answer([rows[position] for position in range(len(entries))], tokens)

    def plainer(self) -> list[OpenAI]:
        """Without base64, without dimensions, which are checked in the answer anyway, and without both."""
        found = [dataclasses.replace(self, base64=False)] if self.base64 else []
        if self.dimensions is not None:
            short = dataclasses.replace(self, dimensions=None)
            found += [short, *short.plainer()]
        return found


def _index(entry: dict[str, Any], position: int) -> int:
    index = entry.get("index", position)
    return index if isinstance(index, int) else position


def _row(embedding: Any) -> Row:
    if not isinstance(embedding, str):
        return row_of(embedding)
    try:
        return np.frombuffer(binascii.a2b_base64(embedding, strict_mode=True), dtype="<f4").astype(np.float32)
    except ValueError as error:  # no base64, or no multiple of four bytes
        raise unreadable("holds a vector that is cut off") from error
