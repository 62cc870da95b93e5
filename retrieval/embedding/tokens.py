"""Texts as a model takes them: token ids, cut at the limit, padded to the longest of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingestion.errors import EmbedderRejected
from retrieval.embedding.encoder import Encoder
from retrieval.embedding.model_folder import ModelFolder
from retrieval.embedding.texts import encodable

_TEXTS_AT_ONCE = 256  # the library's own form of a text's tokens is large


@dataclass(frozen=True, slots=True)
class Tokens:
    """A batch: each array has the shape (texts, longest). ``mask`` is 1 for tokens and 0 for padding."""

    ids: NDArray[np.int32]
    positions: NDArray[np.int32]
    mask: NDArray[np.float32]


class Encoding:
    """Cuts texts into the tokens of one encoder. Safe to use from several threads.

    The tokenizer is its own: one that truncates cannot count, and truncation is state that threads share.
    """

    def __init__(self, folder: ModelFolder, encoder: Encoder) -> None:
        """Raises ModelMissing."""
        self._tokenizer = folder.tokenizer()
        self._tokenizer.enable_truncation(folder.max_tokens)
        self._skip = encoder.positions_skip
        self._vocabulary = encoder.vocabulary

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, at most the limit."""
        found: list[list[int]] = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            part = [encodable(text) for text in texts[start : start + _TEXTS_AT_ONCE]]
            found += (one.ids for one in self._tokenizer.encode_batch_fast(part))
        return found

    def batch(self, ids: Sequence[Sequence[int]]) -> Tokens:
        """These texts side by side. Raises EmbedderRejected for an id that the model has no word for."""
        if max(map(max, ids)) >= self._vocabulary:
            raise EmbedderRejected(
                f"tokenizer.json makes tokens that the model does not know (it has {self._vocabulary}).",
                hint="Check that the model's files belong together.",
            )
        longest = max(map(len, ids))
        padded = np.full((len(ids), longest), self._skip or 0, dtype=np.int32)
        mask = np.zeros((len(ids), longest), dtype=np.float32)
        for row, tokens in enumerate(ids):
            padded[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        return Tokens(padded, self._positions(padded), mask)

    def _positions(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        if self._skip is None:
            return np.broadcast_to(np.arange(ids.shape[1], dtype=np.int32), ids.shape)
        counted = ids != self._skip
        positions: NDArray[np.int32] = np.cumsum(counted, axis=1, dtype=np.int32) * counted + self._skip
        return positions.astype(np.int32, copy=False)
