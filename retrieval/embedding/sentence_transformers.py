"""Embeds with sentence-transformers: any of its models, on a CPU or a GPU, never over the network.

Importing this module costs nothing: torch and sentence-transformers (10 to 20 seconds, about 1 GB with a
model) are imported when the model is loaded. While that happens other threads are held up for at most
about 0.2 s at a time (0.8 s with cold files), measured on 2 cores.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ingestion.errors import EmbedderRejected, EmbedderUnavailable, ModelMissing
from retrieval.embedding.batches import length_sorted_batches
from retrieval.embedding.choice import INSTALL
from retrieval.embedding.digests import DigestCache
from retrieval.embedding.folder_embedder import FolderEmbedder, no_memory_to_embed
from retrieval.embedding.model_folder import ModelFolder
from retrieval.embedding.port import Vectors
from retrieval.embedding.processor import cpu_has_bf16
from retrieval.embedding.texts import encodable
from retrieval.embedding.vectors import checked

_CHARACTERS_PER_TOKEN = 4  # English; good enough for sorting, and free
# A CPU's caches hold about that many: 770 tokens a call took 5 % less processor time than 1,800, 300 took
# 6 % more. A GPU wants more.
_CPU_BATCH_TOKENS = 1_024
_GPU_BATCH_TOKENS = 65_536
# How long torch's threads spin at a barrier, in libgomp's units; 100 times less than its default.
_SPIN_COUNT = "3000"
_CALL_TOKENS = 30  # what one call costs besides, measured: 3 ms where a token takes 0.1 ms


class SentenceTransformersEmbedder(FolderEmbedder[Any]):
    """A sentence-transformers model from a folder; bf16 where the processor has it, else float32."""

    def __init__(self, folder: ModelFolder, *, digests: DigestCache | None = None) -> None:
        super().__init__(folder, "float", digests)
        # The library's tokenizers keep their truncation as state, which two calls at once would change.
        self._encoding = threading.Lock()
        self._precision = ""
        self._batch_tokens = _CPU_BATCH_TOKENS

    @property
    def description(self) -> str:
        return ", ".join(filter(None, [self._folder.name, "sentence-transformers", self._precision]))

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        if not texts:
            return vectors
        model = self._loaded_model()
        texts = [encodable(text) for text in texts]
        lengths = [min(len(text) // _CHARACTERS_PER_TOKEN + 1, self.max_tokens) for text in texts]
        for batch in length_sorted_batches(lengths, max_tokens=self._batch_tokens, call_tokens=_CALL_TOKENS):
            vectors[batch] = self._encoded(model.encode_document, [texts[row] for row in batch])
        return vectors

    def embed_query(self, text: str) -> Vectors:
        vector: Vectors = self._encoded(self._loaded_model().encode_query, [encodable(text)])[0]
        return vector

    def _encoded(self, encode: Any, texts: list[str]) -> Vectors:
        """One call of the model: shape (len(texts), dimensions), float32, rows of length one."""
        with self._encoding, self._translated():
            raw = encode(texts, batch_size=len(texts), show_progress_bar=False, convert_to_numpy=True)
        return checked(np.asarray(raw, dtype=np.float32), (len(texts), self.dimensions))

    def _load(self) -> Any:
        try:
            with _short_spinning():
                import torch
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise EmbedderUnavailable(
                f"sentence-transformers cannot be imported ({error}).",
                hint=INSTALL,
            ) from error
        on_gpu = torch.cuda.is_available()
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False) if on_gpu else cpu_has_bf16()
        try:
            with _no_progress_bars():
                model = SentenceTransformer(
                    str(self._folder.path),
                    local_files_only=True,
                    model_kwargs={"dtype": torch.bfloat16 if has_bf16 else torch.float32},
                )
            model.max_seq_length = self.max_tokens
            self._precision = f"{'bf16' if has_bf16 else 'float32'} on {model.device.type}"
            self._batch_tokens = _GPU_BATCH_TOKENS if on_gpu else _CPU_BATCH_TOKENS
            # The first call prepares kernels, and shows that the folder's own description is true.
            self._encoded(model.encode_document, ["warm up"])
        except MemoryError:
            raise
        except Exception as error:  # a damaged file shows as one of a dozen types
            raise ModelMissing(
                f"The model in {self._folder.path} cannot be loaded ({type(error).__name__}: {error}).",
                hint="Put the whole model there again, or set embedding.model to another one.",
            ) from error
        return model

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """The port's errors for the library's, by type. What is none of these is passed on as it is."""
        import torch

        try:
            yield
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise no_memory_to_embed() from error
        except (TypeError, ValueError) as error:
            raise EmbedderRejected(
                f"The model {self._folder.name} refused a text ({type(error).__name__}).",
                hint="The document keeps its last revision; change it, or exclude it.",
            ) from error


@contextmanager
def _short_spinning() -> Iterator[None]:
    """Let libgomp, which reads its environment once when torch brings it, give up a core sooner.

    Beside any other busy thread its default makes a forward pass take ten times as long, since a thread
    that spins keeps the one it waits for off the core; alone on the machine both take the same.
    A user's own setting stands, and the environment is put back.
    """
    if os.environ.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}:
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = _SPIN_COUNT
    try:
        yield
    finally:
        os.environ.pop("GOMP_SPINCOUNT", None)


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """transformers draws one on standard error for each model it loads."""
    from transformers.utils import logging

    hide: Callable[[], None] = logging.disable_progress_bar
    show: Callable[[], None] = logging.enable_progress_bar
    shown = logging.is_progress_bar_enabled()
    hide()
    try:
        yield
    finally:
        if shown:
            show()
