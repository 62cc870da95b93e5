"""How often the documents of one source change, as far as looks have taught, and which to look at next.

Held in memory, and kept in the ledger with every round of looks. Not safe to share between threads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from ingestion.adaptive import PRIOR_SHAPE, PRIOR_SPAN_S, best, learnt
from ingestion.ledger.rhythms import Rhythm, Rhythms

_WHOLE = ""  # no document is called so: its row says when everything was last looked at


class Rhythmic:
    """The documents that are known, each with when it was last looked at. Nothing is opened before it is
    asked."""

    def __init__(self, source: str, rhythms: Rhythms) -> None:
        self._source = source
        self._rhythms = rhythms
        self.reload()

    def reload(self) -> None:
        """Others may have looked meanwhile."""
        self._loaded = False
        self.whole_at: float | None = None
        self._index: dict[str, int] = {}
        self._looked_at = self._tried_at = self._shape = self._span_s = np.empty(0)

    def __contains__(self, uri: str) -> bool:
        self._load()
        return uri in self._index

    def __len__(self) -> int:
        self._load()
        return len(self._index)

    def uris(self) -> Collection[str]:
        self._load()
        return self._index.keys()

    def oldest(self) -> float | None:
        """When the last look was at the document where that is longest ago."""
        self._load()
        return float(self._looked_at.min()) if len(self._index) else None

    def next(self, at_most: int, now: float) -> Sequence[str]:
        """Where looks are worth most now. A document that could not be looked at waits like one that was."""
        self._load()
        since_s = np.maximum(now - np.maximum(self._looked_at, self._tried_at), 0.0)
        chosen = best(self._shape, self._span_s, since_s, at_most)
        uris = list(self._index)
        return [uris[row] for row in chosen]

    def only(self, uris: Collection[str]) -> None:
        """Forget all documents but these."""
        self._load()
        rest = [(uri, row) for uri, row in self._index.items() if uri in uris]
        if len(rest) == len(self._index):
            return
        self._rhythms.forget(self._source, self._index.keys() - {uri for uri, _ in rest})
        rows = [row for _, row in rest]
        self._index = {uri: number for number, (uri, _) in enumerate(rest)}
        self._looked_at, self._tried_at = self._looked_at[rows], self._tried_at[rows]
        self._shape, self._span_s = self._shape[rows], self._span_s[rows]

    def tried(self, uris: Iterable[str], at: float) -> None:
        """They could not be looked at: nothing is learnt."""
        self._load()
        for uri in uris:
            if (row := self._index.get(uri)) is not None:
                self._tried_at[row] = at

    def looked(self, changed: Mapping[str, bool], at: float, *, whole: bool = False) -> None:
        """A look at each of these, and whether it had changed since the one before; ``whole``: at all there
        are. Of a document that is new, nothing is learnt yet."""
        self._load()
        known = [uri for uri in changed if uri in self._index]
        rows = np.array([self._index[uri] for uri in known], dtype=np.intp)
        self._shape[rows], self._span_s[rows] = learnt(
            self._shape[rows],
            self._span_s[rows],
            at - self._looked_at[rows],
            np.array([changed[uri] for uri in known], dtype=np.bool_),
        )
        self._looked_at[rows] = at
        self._add([Rhythm(uri, at, PRIOR_SHAPE, PRIOR_SPAN_S) for uri in changed if uri not in self._index])
        marks = [Rhythm(_WHOLE, at, PRIOR_SHAPE, PRIOR_SPAN_S)] if whole else []
        self._rhythms.keep(self._source, [*map(self._row, changed), *marks])
        self.whole_at = at if whole else self.whole_at

    def _load(self) -> None:
        if self._loaded:
            return
        known = self._rhythms.of(self._source)
        self.whole_at = next((one.looked_at for one in known if one.uri == _WHOLE), None)
        self._add([one for one in known if one.uri != _WHOLE])
        self._loaded = True

    def _add(self, new: Sequence[Rhythm]) -> None:
        for one in new:
            self._index[one.uri] = len(self._index)
        looked_at = [one.looked_at for one in new]
        self._looked_at = np.append(self._looked_at, looked_at)
        self._tried_at = np.append(self._tried_at, looked_at)
        self._shape = np.append(self._shape, [one.shape for one in new])
        self._span_s = np.append(self._span_s, [one.span_s for one in new])

    def _row(self, uri: str) -> Rhythm:
        row = self._index[uri]
        return Rhythm(uri, float(self._looked_at[row]), float(self._shape[row]), float(self._span_s[row]))
