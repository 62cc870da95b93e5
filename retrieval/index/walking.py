"""What any index can answer from its other methods: for adapters whose store has no quicker way.

``buckets`` needs no help: it is ``tallied(self.ids(edition))``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.index.port import Index


def vectors_by_walking(
    index: Index, edition: str, chunk_ids: Sequence[str]
) -> Mapping[str, NDArray[np.float32]]:
    """``Index.vectors``, at the price of two listings: each vector is asked for by its digest, without all
    others that are held under it."""
    wanted = set(chunk_ids)
    open_: dict[str, list[str]] = {}
    for chunk_id, digest in index.ids(edition):
        if chunk_id in wanted:
            open_.setdefault(digest, []).append(chunk_id)
    sharing: dict[str, list[str]] = {digest: [] for digest in open_}
    for chunk_id, digest in index.ids(edition):
        if digest in sharing:
            sharing[digest].append(chunk_id)
    found: dict[str, NDArray[np.float32]] = {}
    while open_:
        asked = {digest: ids.pop() for digest, ids in open_.items()}
        others = [one for digest, chosen in asked.items() for one in sharing[digest] if one != chosen]
        vectors = index.vectors_by_digest(edition, list(asked), without=others)
        found |= {asked[digest]: vector for digest, vector in vectors.items()}
        open_ = {digest: ids for digest, ids in open_.items() if ids}
    return found
