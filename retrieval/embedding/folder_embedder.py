"""What every embedder of a model folder has in common: what the folder says of itself, the count of its own
tokenizer, and a model that is loaded once.

How texts become vectors is for each runtime.
"""

from __future__ import annotations

import functools
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from ingestion.errors import EmbedderUnavailable
from retrieval.embedding.digests import DigestCache
from retrieval.embedding.model_folder import ModelFolder
from retrieval.embedding.precision import PrecisionClass
from retrieval.embedding.texts import encodable

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Model = TypeVar("Model")


class FolderEmbedder(ABC, Generic[Model]):
    """The part of ``Embedder`` that is the same in every runtime; ``Model`` is what a runtime loads."""

    def __init__(self, folder: ModelFolder, precision: PrecisionClass, digests: DigestCache | None) -> None:
        self._folder = folder
        self._class: PrecisionClass = precision
        self._digests = digests or DigestCache.of_user()
        self._loading = threading.Lock()
        self._model: Model | None = None

    @functools.cached_property
    def fingerprint(self) -> str:
        return self._folder.fingerprint(self._digests, self._class)

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

    @property
    def loaded(self) -> bool:
        return self._model is not None

    def load(self) -> None:
        self._loaded_model()

    def _loaded_model(self) -> Model:
        """The model, loaded now where it was not."""
        with self._loading:
            if self._model is None:
                self._model = self._load_within_memory()
            return self._model

    def _load_within_memory(self) -> Model:
        try:
            return self._load()
        except MemoryError as error:
            raise EmbedderUnavailable(
                f"There was not enough memory to load {self._folder.path}.", hint="It is tried again."
            ) from error

    @abstractmethod
    def _load(self) -> Model:
        """Called once at a time. Raises ModelMissing, EmbedderUnavailable or MemoryError."""

    @functools.cached_property
    def _counting(self) -> Tokenizer:
        return self._folder.tokenizer()


def no_memory_to_embed() -> EmbedderUnavailable:
    return EmbedderUnavailable("There was not enough memory to embed.", hint="It is tried again.")
