"""Embeds with an encoder of BERT's family and without torch: OpenVINO, or numpy where OpenVINO may not.

Importing this module costs nothing, making an embedder reads configuration and the headers of the weights,
and the rest is loaded on first use, in about 0.6 s for a small model.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from ingestion.errors import EmbedderRejected, EmbedderUnavailable
from retrieval.embedding.batches import length_sorted_batches
from retrieval.embedding.describing import describe
from retrieval.embedding.digests import DigestCache
from retrieval.embedding.encoder import Encoder
from retrieval.embedding.folder_embedder import FolderEmbedder, no_memory_to_embed
from retrieval.embedding.model_folder import ModelFolder
from retrieval.embedding.port import Vectors
from retrieval.embedding.precision import PrecisionClass
from retrieval.embedding.tokens import Encoding
from retrieval.embedding.trial import Runtime
from retrieval.embedding.trusted import OPENVINO, Candidate, Trusted, first_line, trusted_runtime
from retrieval.embedding.vectors import checked
from retrieval.embedding.verdicts import Verdicts
from retrieval.embedding.weights import Array, WeightFiles

# Bounds the memory of a batch to about 100 MB; 512 tokens cost 5 % of the rate, 4,096 gain nothing.
_BATCH_TOKENS = 2_048
_CALL_TOKENS = 10  # what one call costs besides: 1 ms where a token takes 0.1 ms


class OpenVinoEmbedder(FolderEmbedder[Trusted]):
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
        super().__init__(folder, precision, digests)
        self._encoder = encoder or describe(folder)
        self._files = WeightFiles(folder, self._encoder)
        self._verdicts = verdicts or Verdicts.of_user()

    @property
    def description(self) -> str:
        if self._model is None:
            return f"{self._folder.name}, {OPENVINO}" + (", int8" if self._class == "int8" else "")
        return f"{self._folder.name}, {self._model.name}, {self._model.precision}"

    @property
    def refused(self) -> tuple[str, ...]:
        """Why no quicker runtime of the class is used; known once loaded."""
        return self._model.refused if self._model else ()

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        return self._embed([self._folder.document_prompt + text for text in texts])

    def embed_query(self, text: str) -> Vectors:
        vector: Vectors = self._embed([self._folder.query_prompt + text])[0]
        return vector

    @functools.cached_property
    def _encoding(self) -> Encoding:
        return Encoding(self._folder, self._encoder)

    def _load(self) -> Trusted:
        candidate = Candidate(self._encoder, self._files.read(), self._encoding, self.fingerprint)
        return trusted_runtime(candidate, self._class, self._verdicts)

    def _embed(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimensions), float32, rows of length one."""
        runtime = self._loaded_model().runtime
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        ids = self._encoding.ids(texts)
        cut = length_sorted_batches(list(map(len, ids)), max_tokens=_BATCH_TOKENS, call_tokens=_CALL_TOKENS)
        for batch in cut:
            vectors[batch] = self._vectors(runtime, [ids[row] for row in batch])
        return vectors

    def _vectors(self, runtime: Runtime, ids: Sequence[Sequence[int]]) -> Vectors:
        try:
            found = self._computed(runtime, ids)
        except RuntimeError as error:
            if len(ids) > 1:  # whose fault it is shows when each goes alone
                return np.concatenate([self._vectors(runtime, [one]) for one in ids])
            found = self._once_more(runtime, ids, error)
        return checked(found[:, : self.dimensions], (len(ids), self.dimensions))

    def _computed(self, runtime: Runtime, ids: Sequence[Sequence[int]]) -> Array:
        """Raises RuntimeError where OpenVINO does, EmbedderUnavailable where there is no memory."""
        try:
            return runtime.vectors(self._encoding.batch(ids))
        except MemoryError as error:
            raise no_memory_to_embed() from error

    def _once_more(self, runtime: Runtime, ids: Sequence[Sequence[int]], error: RuntimeError) -> Array:
        """One text that failed. It is to blame if it fails again and another one does not: were it only tried
        again and again, its document would never be given up."""
        message = f"The model {self._folder.name} could not be computed: {first_line(error)}"
        try:
            return self._computed(runtime, ids)
        except RuntimeError:
            pass
        try:
            self._computed(runtime, self._encoding.ids([""]))
        except RuntimeError:
            raise EmbedderUnavailable(message, hint="It is tried again.") from error
        hint = "The document keeps its last revision; change it, or exclude it."
        raise EmbedderRejected(message, hint=hint) from error
