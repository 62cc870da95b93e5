"""Texts as a model takes them: token ids, cut at the limit, padded to the longest of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingestion.errors import EmbedderRejected, ModelMissing
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


def _contradictory(folder: ModelFolder, fault: str) -> ModelMissing:
    return ModelMissing(
        f"The files of the model in {folder.path} do not belong together: {fault}.",
        hint="Put the whole model there again, or set embedding.model to another one.",
    )


class Encoding:
    """Cuts texts into the tokens of one encoder. Safe to use from several threads.

    The tokenizer is its own: one that truncates cannot count, and truncation is state that threads share.
    """

    def __init__(self, folder: ModelFolder, encoder: Encoder) -> None:
        """Raises ModelMissing, also where tokenizer and configuration do not belong together."""
        self._tokenizer = folder.tokenizer()
        special = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        if folder.max_tokens <= special:
            raise _contradictory(
                folder,
                f"texts may have {folder.max_tokens} tokens (max_seq_length), {special} of which are special",
            )
        # Tokens that were added later may never occur; one that does is refused with its batch.
        words = self._tokenizer.get_vocab_size(with_added_tokens=False)
        if words > encoder.vocabulary:
            raise _contradictory(
                folder,
                f"tokenizer.json has {words} tokens, and the model knows {encoder.vocabulary} (vocab_size)",
            )
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
