"""What endpoints have in common, however they are spoken to: texts out, rows of numbers back. Pure.

A dialect knows a provider's words; whether its answer is right, the embedder judges.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ingestion.errors import EmbedderUnavailable
from retrieval.embedding.remote.faults import Passing

Row = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Answer:
    """One row a text, in the order of the texts, as it came: of any length, finite or not.

    ``tokens``: what the provider says they were; None where it says nothing.
    """

    rows: Sequence[Row]
    tokens: int | None


class Dialect(Protocol):
    """How one kind of endpoint is asked."""

    @property
    def name(self) -> str:
        """As in ``embedding.runtime``."""

    @property
    def path(self) -> str:
        """What follows the address in the settings."""

    @property
    def most_texts(self) -> int:
        """How many texts a request may hold at the provider that the dialect comes from."""

    @property
    def most_tokens(self) -> int:
        """How many tokens these may be together."""

    @property
    def inputs(self) -> Sequence[str]:
        """What besides model and text decides a vector: how passages and questions are marked."""

    def request(self, texts: Sequence[str], *, question: bool) -> bytes:
        """The body of a request."""

    def read(self, body: bytes) -> Answer:
        """The answer in a body. Raises Passing for one that is cut off, or none of this kind at all."""

    def plainer(self) -> Sequence[Dialect]:
        """The same with what only some endpoints take left out, the least of it first."""


def encoded(request: dict[str, Any]) -> bytes:
    return json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()


def decoded(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises Passing for anything else."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise unreadable("is cut off, or is no JSON" if body.strip() else "is empty") from error
    if not isinstance(answer, dict):
        raise unreadable("is no JSON object")
    return answer


def row_of(numbers: Any) -> Row:
    """The vector in a list of numbers; null counts as not a number. Raises Passing for no such list."""
    try:
        row = np.asarray(numbers, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise unreadable("holds something in place of a vector") from error
    if row.ndim != 1 or not isinstance(numbers, list):
        raise unreadable("holds something in place of a vector")
    return row


def is_vector(row: Row) -> bool:
    """Whether it has a direction: finite, and not zero."""
    length = float(np.linalg.norm(row.astype(np.float64)))
    return np.isfinite(length) and length > 0.0


def tokens_of(number: Any) -> int | None:
    return int(number) if isinstance(number, int | float) and 0 < number < 1e12 else None


def unreadable(what: str) -> Passing:
    return Passing(
        f"The embedding endpoint's answer {what}.", hint="Check embedding.url and embedding.runtime."
    )


def misnumbered(rows: int, texts: int) -> EmbedderUnavailable:
    """For an answer that cannot be told apart by text."""
    return EmbedderUnavailable(
        f"The embedding endpoint answered {texts} texts with {rows} vectors; none of them was used.",
        hint="Check embedding.url and embedding.runtime, or lower embedding.batch_texts.",
    )
