"""An embedder without a model: words hashed into a vector.

Texts that share words are near each other, which is enough to test everything else and to measure it
without a model's part. It decides nothing by meaning, and is never better than a search for words.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Sequence

import numpy as np

from ingestion.errors import Misconfigured
from retrieval.embedding.port import Vectors

VERSION = 1  # raise it with every change that moves a vector

_WORDS = re.compile(r"\w+")
_WORD_LENGTH = 8  # characters that one token stands for at most, so that text without spaces counts too
_SPECIAL_TOKENS = 2  # as many as a BERT tokenizer adds
_ROWS_AT_ONCE = 512  # bounds the float64 sums to 1.6 MB at 384 dimensions
_WORDS_REMEMBERED = 200_000  # about 20 MB


class HashingEmbedder:
    """Sums, over the words of a text, one signed component per word; then scales to length one.

    A word of n characters weighs min(n, 8): short words are mostly those that every text has.
    """

    def __init__(self, dimensions: int = 384, max_tokens: int = 256) -> None:
        if dimensions < 1 or max_tokens <= _SPECIAL_TOKENS:
            raise Misconfigured(
                f"A hashing embedder of {dimensions} dimensions and {max_tokens} tokens is not possible.",
                hint=f"Ask for at least 1 dimension and {_SPECIAL_TOKENS + 1} tokens.",
            )
        self._dimensions = dimensions
        self._max_tokens = max_tokens
        self._components = _WordComponents(dimensions)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"hashing {VERSION} {self._dimensions}".encode()).hexdigest()

    @property
    def description(self) -> str:
        return f"hashing ({self._dimensions} dimensions, no model)"

    @property
    def dimensions(self) -> int:
        return self._dimensions

    @property
    def max_tokens(self) -> int:
        return self._max_tokens

    @property
    def call_limits(self) -> None:
        return None

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Words between white space, or one per eight characters begun where that is more, plus two.

        Never more for a part of a text than for the text, nor for a text than for its parts together.
        """
        return [max(len(text.split()), -(-len(text) // _WORD_LENGTH)) + _SPECIAL_TOKENS for text in texts]

    def load(self) -> None:
        """Nothing to load."""

    @property
    def loaded(self) -> bool:
        return True

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        vectors = np.empty((len(texts), self._dimensions), dtype=np.float32)
        for start in range(0, len(texts), _ROWS_AT_ONCE):
            part = texts[start : start + _ROWS_AT_ONCE]
            vectors[start : start + len(part)] = self._embed(part)
        return vectors

    def embed_query(self, text: str) -> Vectors:
        vector: Vectors = self._embed([text])[0]
        return vector

    def _embed(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimensions); the sums are whole numbers, so a length is zero or at least 1."""
        components: list[int] = []
        words_per_text = np.empty(len(texts), dtype=np.int64)
        for row, text in enumerate(texts):
            words = _WORDS.findall(text.lower())
            words_per_text[row] = len(words)
            components += map(self._components.__getitem__, words)
        packed = np.array(components, dtype=np.int64)
        where, weights = np.divmod(packed, _PACK)
        where += np.repeat(np.arange(len(texts)), words_per_text) * self._dimensions
        size = len(texts) * self._dimensions
        sums = np.bincount(where, weights - _WORD_LENGTH, minlength=size).reshape(len(texts), -1)
        sums[~sums.any(axis=1), 0] = 1.0  # no words, or words that cancel each other out
        lengths = np.sqrt(np.einsum("ij,ij->i", sums, sums))
        vectors: Vectors = (sums / lengths[:, None]).astype(np.float32)
        return vectors


_PACK = 32  # component and weight of a word in one integer: component * 32 + (weight + 8)


class _WordComponents(dict[str, int]):
    """Packed component and signed weight by word, remembered because most words come again.

    Shared by threads: every entry is a function of its key, so losing or repeating one costs only time.
    """

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self._dimensions = dimensions

    def __missing__(self, word: str) -> int:
        digest = zlib.crc32(word.encode("utf-8", "surrogatepass"))
        sign = 1 if digest & 1 else -1
        weight = sign * min(len(word), _WORD_LENGTH)
        packed = (digest >> 1) % self._dimensions * _PACK + weight + _WORD_LENGTH
        if len(self) >= _WORDS_REMEMBERED:
            self.clear()
        self[word] = packed
        return packed
