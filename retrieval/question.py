"""A question and its vectors: one for each edition that is asked, by that edition's own model.

Between two looks at the ledger another edition may have become live; a vector of the one before means
nothing there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ingestion.ledger.values import Edition
from retrieval.embedding.port import Vectors
from retrieval.stopwatch import Stopwatch

log = logging.getLogger("retrieval.search")

EmbedQuestion = Callable[[str, Edition], Vectors | None]


class Question:
    """Embedded when an edition is first asked, and then remembered, failures too."""

    def __init__(self, text: str, embed: EmbedQuestion, watch: Stopwatch) -> None:
        self.text = text
        self._embed = embed
        self._watch = watch
        self._vectors: dict[int, Vectors | None] = {}

    def vector(self, edition: Edition) -> Vectors | None:
        """None where words alone must do: the model is being loaded, or failed."""
        if edition.edition_id not in self._vectors:
            with self._watch.during("embed"):
                self._vectors[edition.edition_id] = self._embedded(edition)
        return self._vectors[edition.edition_id]

    def _embedded(self, edition: Edition) -> Vectors | None:
        try:
            return self._embed(self.text, edition)
        except Exception as error:  # noqa: BLE001 - whatever the model does, words still find something
            log.warning("a question could not be embedded, words alone are searched: %s", error)
            return None
