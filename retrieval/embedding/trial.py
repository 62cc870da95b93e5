"""The trial of a runtime: sixteen fixed texts, embedded by it and by the plain forward pass.

Says how far apart the two are at worst; what is near enough, and what follows, is not decided here.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from retrieval.embedding.tokens import Encoding, Tokens
from retrieval.embedding.weights import Array

# Attention grows with the square of the length: a text at a limit of 8,192 tokens would take minutes.
_LONGEST_TOKENS = 1_024

_CODE = """\
def longest_first(lengths: list[int]) -> list[int]:
    # stable: equal ones keep their order
    return sorted(range(len(lengths)), key=lambda at: -lengths[at])
"""
_PROSE = (
    "The ferry leaves the northern harbour at dawn and returns before the tide. Passengers with bicycles "
    "board first; those who travel on to the islands keep their tickets, since nothing is sold on the "
    "second boat. "
)
_TABLE = "| Region | Q1 | Q2 |\n|---|---:|---:|\n| North | 1,204 | 998 |\n| South | 87 | 3,310 |\n"
_SHORT = "How many days of leave do I have?"
_TEXTS = (
    "",
    " \t\n",
    "leave",
    "?!... --- ///",
    "3.14159 2026-11-27T18:11:43Z 0x7fffffff 1e-9",
    _SHORT,
    "Annual leave: every employee may take 30 days. The manager grants it within a week.",
    "PLEASE READ: THE OFFICE IS CLOSED ON FRIDAY.",
    "Ærø, Łódź, São Tomé, Île-de-France, naïve café, e\u0301 and é",
    "東京都の文書は毎週更新されます。 Документ обновляется ежедневно. يتم تحديث الوثيقة",
    "\U0001f9ed\U0001f469\u200d\U0001f680 done \u2714\ufe0f",
    _CODE,
    _TABLE,
    _PROSE * 2,
    _PROSE + _CODE * 4 + _TABLE,
)


class Runtime(Protocol):
    """Anything that computes an encoder."""

    def vectors(self, tokens: Tokens) -> Array:
        """Shape (texts, dimensions), float32, scaled or not."""


def worst_cosine(runtime: Runtime, plain: Runtime, encoding: Encoding, dimensions: int) -> float:
    """The least cosine between the two over all texts, of vectors cut to ``dimensions`` as an index has them;
    -1 where one is no vector at all.

    All in two batches, so that padding is tried too; the longest text has as many tokens as the model
    takes, up to 1,024.
    """
    ids = [one[:_LONGEST_TOKENS] for one in encoding.ids([*_TEXTS, _PROSE * 400])]
    worst = 1.0
    for batch in (ids[:-2], ids[-2:]):
        tokens = encoding.batch(batch)
        found, wanted = (one.vectors(tokens)[:, :dimensions] for one in (runtime, plain))
        worst = min(worst, float(_cosines(found, wanted).min()))
    return worst


def gives_vectors(runtime: Runtime, encoding: Encoding, dimensions: int) -> bool:
    """Whether a short text becomes a vector: numbers, and not all zero."""
    found = runtime.vectors(encoding.batch(encoding.ids([_SHORT])))[:, :dimensions]
    return bool(np.isfinite(found).all() and found.any())


def _cosines(left: Array, right: Array) -> Array:
    both = left.shape == right.shape and np.isfinite(left).all() and np.isfinite(right).all()
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1) if both else np.zeros(1)
    if not lengths.all():
        return np.full(1, -1, dtype=np.float32)
    cosines: Array = np.einsum("ij,ij->i", left, right, dtype=np.float64) / lengths
    return cosines
