"""What every index asks of vectors before it takes them: the edition's length, and finite numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ingestion.errors import IndexRejected
from retrieval.index.port import IndexedChunk


def checked_vectors(chunks: Sequence[IndexedChunk], dimensions: int) -> NDArray[np.float32]:
    """Their vectors as (n, dimensions) float32. Raises IndexRejected for any that is not finite numbers
    of that length."""
    fits = [chunk.vector.shape == (dimensions,) for chunk in chunks]
    if all(fits):
        vectors = np.stack([chunk.vector for chunk in chunks]).astype("<f4", copy=False)
        fits = np.isfinite(vectors).all(axis=1).tolist()
        if all(fits):
            return vectors
    bad = tuple(chunk.chunk_id for chunk, fit in zip(chunks, fits, strict=True) if not fit)
    raise IndexRejected(
        f"The vectors of {len(bad)} chunks are not {dimensions} finite numbers: {some_of(bad)}.",
        chunk_ids=bad,
        hint="Nothing of the slice was written. Was it embedded with another model than this edition?",
    )


def checked_question(vector: NDArray[np.float32], dimensions: int) -> NDArray[np.float32]:
    """The question's vector as float32. Raises IndexRejected as above."""
    if vector.shape != (dimensions,) or not np.isfinite(vector).all():
        raise IndexRejected(
            f"The question's vector is not {dimensions} finite numbers.",
            hint="Was it embedded with another model than this edition?",
        )
    return vector.astype(np.float32, copy=False)


def some_of(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
