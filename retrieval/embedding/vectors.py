"""What every runtime does to a model's answer before anybody sees it. Pure."""

from __future__ import annotations

import numpy as np

from ingestion.errors import EmbedderRejected
from retrieval.embedding.port import Vectors


def checked(vectors: Vectors, shape: tuple[int, int]) -> Vectors:
    """The same, scaled to length one in float32: bf16 leaves lengths off by up to half a percent."""
    if vectors.shape != shape or not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
        raise EmbedderRejected(
            f"The model answered with something that is no vector: {_fault(vectors, shape)}.",
            hint="Check that the model's files are whole.",
        )
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _fault(vectors: Vectors, shape: tuple[int, int]) -> str:
    if vectors.shape != shape:
        return f"its shape is {vectors.shape}, expected {shape}"
    return "it is all zero" if np.isfinite(vectors).all() else "it holds NaN or infinity"
