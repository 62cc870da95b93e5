"""The port of an embedder: texts in, vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CallLimits:
    """How an embedder on another machine may be called: it takes none of this one's cores.

    ``at_once``: calls for bulk work under way together; fresh texts and questions have one more each.
    ``texts``: in each. ``ahead``: how many more may be handed over, to be written, or read, while those are
    on their way.
    """

    at_once: int
    texts: int
    ahead: int = 0


class Embedder(Protocol):
    """Maps texts to vectors. Safe to call from several threads.

    What describes it (``fingerprint``, ``dimensions``, ``max_tokens``, ``count_tokens``) is known as
    soon as it exists and costs no model; embedding loads the model on first use.
    """

    @property
    def fingerprint(self) -> str:
        """Digest of what its vectors depend on: model files and settings, never measurements.

        Two embedders with one fingerprint may write into one edition.
        """

    @property
    def description(self) -> str:
        """For people: model, runtime, precision."""

    @property
    def dimensions(self) -> int:
        """Length of every vector."""

    @property
    def max_tokens(self) -> int:
        """The longest text, in its own tokens with its special ones, that is seen whole."""

    @property
    def call_limits(self) -> CallLimits | None:
        """None for one that computes here: one call at a time, its size measured by the caller."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Its own count per text, special tokens included, without truncation."""

    def load(self) -> None:
        """Load the model now (idempotent, blocking). Raises ModelMissing or EmbedderUnavailable."""

    @property
    def loaded(self) -> bool:
        """Whether embedding would start at once."""

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors of passages: shape (len(texts), dimensions), float32, rows of length one.

        The same text gives the same vector up to rounding, whatever is embedded beside it. Raises
        EmbedderRejected for texts it can never embed, EmbedderUnavailable otherwise.
        """

    def embed_query(self, text: str) -> Vectors:
        """Vector of a question: shape (dimensions,), float32, of length one."""


@runtime_checkable
class EmbedsFresh(Protocol):
    """An embedder that may have to wait before it can begin, and need not."""

    def embed_fresh(self, texts: Sequence[str]) -> Vectors:
        """As ``Embedder.embed_documents``, and EmbedderUnavailable within seconds where it would wait long.

        Its ``after_s`` says for how long.
        """
