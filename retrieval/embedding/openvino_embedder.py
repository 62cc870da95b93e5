"""Embeds with an encoder of BERT's family and without torch: OpenVINO, or numpy where OpenVINO may not.

Importing this module costs nothing, making an embedder reads configuration and the headers of the weights,
and the rest is loaded on first use, in about 0.6 s for a small model.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ingestion.errors import EmbedderRejected, EmbedderUnavailable
from retrieval.embedding.batches import length_sorted_batches
from retrieval.embedding.describing import describe
from retrieval.embedding.digests import DigestCache
from retrieval.embedding.encoder import Encoder
from retrieval.embedding.model_folder import ModelFolder
from retrieval.embedding.port import Vectors
from retrieval.embedding.precision import PrecisionClass
from retrieval.embedding.texts import encodable
from retrieval.embedding.tokens import Encoding
from retrieval.embedding.trusted import OPENVINO, Candidate, Trusted, first_line, trusted_runtime
from retrieval.embedding.vectors import checked
from retrieval.embedding.verdicts import Verdicts
from retrieval.embedding.weights import Array, WeightFiles

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Bounds the memory of a batch to about 100 MB; 512 tokens cost 5 % of the rate, 4,096 gain nothing.
_BATCH_TOKENS = 2_048
_CALL_TOKENS = 10  # what one call costs besides: 1 ms where a token takes 0.1 ms


class OpenVinoEmbedder:
    """The torch-free runtime: the same vectors as sentence-transformers', up to rounding."""

    def __init__(
        self,
        folder: ModelFolder,
        precision: PrecisionClass = "float",
        *,
        encoder: Encoder | None = None,
        digests: DigestCache | None = None,
        verdicts: Verdicts | None = None,
    ) -> None:
        """``encoder`` is the folder's description, where it was made already. Raises ModelNotServed for what
        this runtime cannot compute, ModelMissing for damaged files."""
        self._folder = folder
        self._encoder = encoder or describe(folder)
        self._files = WeightFiles(folder, self._encoder)
        self._class: PrecisionClass = precision
        self._digests = digests or DigestCache.of_user()
        self._verdicts = verdicts or Verdicts.of_user()
        self._loading = threading.Lock()
        self._trusted: Trusted | None = None

    @functools.cached_property
    def fingerprint(self) -> str:
        return self._folder.fingerprint(self._digests, self._class)

    @property
    def description(self) -> str:
        if self._trusted is None:
            return f"{self._folder.name}, {OPENVINO}" + (", int8" if self._class == "int8" else "")
        return f"{self._folder.name}, {self._trusted.name}, {self._trusted.precision}"

    @property
    def refused(self) -> tuple[str, ...]:
        """Why no quicker runtime of the class is used; known once loaded."""
        return self._trusted.refused if self._trusted else ()

    @property
    def model_folder(self) -> Path:
        """Where the model is, for people."""
        return self._folder.path

    @property
    def dimensions(self) -> int:
        return self._folder.dimensions

    @property
    def max_tokens(self) -> int:
        return self._folder.max_tokens

    @property
    def call_limits(self) -> None:
        return None

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text with the model's prompt for documents and its special tokens.

        One text at a time: counting a list spreads over all cores, which embedding needs at that moment.
        """
        prompt, encode = self._folder.document_prompt, self._counting.encode_batch_fast
        return [len(encode([prompt + encodable(text)])[0]) for text in texts]

    def load(self) -> None:
        with self._loading:
            if self._trusted is None:
                self._trusted = self._load()

    @property
    def loaded(self) -> bool:
        return self._trusted is not None

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        return self._embed([self._folder.document_prompt + text for text in texts])

    def embed_query(self, text: str) -> Vectors:
        vector: Vectors = self._embed([self._folder.query_prompt + text])[0]
        return vector

    @functools.cached_property
    def _counting(self) -> Tokenizer:
        return self._folder.tokenizer()

    @functools.cached_property
    def _encoding(self) -> Encoding:
        return Encoding(self._folder, self._encoder)

    def _load(self) -> Trusted:
        try:
            candidate = Candidate(self._encoder, self._files.read(), self._encoding, self.fingerprint)
            return trusted_runtime(candidate, self._class, self._verdicts)
        except MemoryError as error:
            raise EmbedderUnavailable(
                f"There was not enough memory to load {self._folder.path}.", hint="It is tried again."
            ) from error

    def _embed(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimensions), float32, rows of length one."""
        self.load()
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        ids = self._encoding.ids(texts)
        cut = length_sorted_batches(list(map(len, ids)), max_tokens=_BATCH_TOKENS, call_tokens=_CALL_TOKENS)
        for batch in cut:
            vectors[batch] = self._vectors([ids[row] for row in batch])
        return vectors

    def _vectors(self, ids: Sequence[Sequence[int]]) -> Vectors:
        try:
            found = self._computed(ids)
        except RuntimeError as error:
            if len(ids) > 1:  # whose fault it is shows when each goes alone
                return np.concatenate([self._vectors([one]) for one in ids])
            found = self._once_more(ids, error)
        return checked(found[:, : self.dimensions], (len(ids), self.dimensions))

    def _computed(self, ids: Sequence[Sequence[int]]) -> Array:
        """Raises RuntimeError where OpenVINO does, EmbedderUnavailable where there is no memory."""
        assert self._trusted is not None
        try:
            return self._trusted.runtime.vectors(self._encoding.batch(ids))
        except MemoryError as error:
            raise EmbedderUnavailable(
                "There was not enough memory to embed.", hint="It is tried again."
            ) from error

    def _once_more(self, ids: Sequence[Sequence[int]], error: RuntimeError) -> Array:
        """One text that failed. It is to blame if it fails again and another one does not: were it only tried
        again and again, its document would never be given up."""
        message = f"The model {self._folder.name} could not be computed: {first_line(error)}"
        try:
            return self._computed(ids)
        except RuntimeError:
            pass
        try:
            self._computed(self._encoding.ids([""]))
        except RuntimeError:
            raise EmbedderUnavailable(message, hint="It is tried again.") from error
        hint = "The document keeps its last revision; change it, or exclude it."
        raise EmbedderRejected(message, hint=hint) from error
