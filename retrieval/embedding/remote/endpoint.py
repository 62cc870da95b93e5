"""One model at one address: a dialect spoken through a caller.

Checks that an answer is one to these texts: a row for each, as long as the index needs them. What a single
row is worth, the embedder judges.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence

from ingestion.errors import EmbedderRejected, EmbedderUnavailable
from retrieval.embedding.remote.dialect import Answer, Dialect, is_vector, misnumbered
from retrieval.embedding.remote.faults import Doubtful
from retrieval.embedding.remote.retrying import Caller, Patience

PROBE = "headwater"
MOST_DIMENSIONS = 16_384
_QUESTION_S = 5.0
_BEYOND_FOR_A_QUESTION = 2  # calls beside those of bulk work, of which an edit may have one
_PLACE_S = 5.0  # at the least, where nobody may wait long
_CALLS_BEFORE = 8
_BYTES_PER_NUMBER = 32  # the longest decimal form of a float64, a comma, and some room
_BYTES_BESIDES = 1024 * 1024


class Endpoint:
    """Safe to call from several threads. ``timeout_s``: how long one request may take, if it is not a
    question: for that somebody waits."""

    def __init__(self, dialect: Dialect, caller: Caller, *, timeout_s: float) -> None:
        self._dialect = dialect
        self._caller = caller
        self._timeout_s = timeout_s
        self._probing = threading.Lock()
        self.probed = False  # whether it has answered a probe

    @property
    def dialect(self) -> Dialect:
        return self._dialect

    @property
    def url(self) -> str:
        return self._caller.url

    def ask(
        self,
        texts: Sequence[str],
        *,
        question: bool,
        tries_s: float,
        waits: bool,
        suspect: bool = False,
        dimensions: int | None = None,
        dialect: Dialect | None = None,
    ) -> Answer:
        """A row for each text; of ``dimensions`` numbers, where that is given.

        ``suspect``: one of them is known to be to blame for a failure. ``dialect``: another than its own.

        Raises EmbedderUnavailable, Doubtful and EmbedderRejected, as ``Caller.call`` does.
        """
        spoken = dialect or self._dialect

        def read(body: bytes) -> Answer:
            answer = spoken.read(body)
            if len(answer.rows) != len(texts):
                raise misnumbered(len(answer.rows), len(texts))
            for row in answer.rows:
                if dimensions is not None:
                    self.check_length(len(row), dimensions)
            return answer

        return self._caller.call(
            spoken.request(texts, question=question),
            read,
            patience=Patience(
                tries_s,
                min(self._timeout_s, _QUESTION_S) if question else self._timeout_s,
                waits,
                hasty=question,
                several=len(texts) > 1,
                suspect=suspect,
                beyond=_BEYOND_FOR_A_QUESTION if question else 0 if waits else 1,
                place_s=self._place_s(tries_s, question=question, waits=waits),
            ),
            most_bytes=_BYTES_BESIDES + len(texts) * (dimensions or MOST_DIMENSIONS) * _BYTES_PER_NUMBER,
        )

    def _place_s(self, tries_s: float, *, question: bool, waits: bool) -> float:
        """Bulk work waits for a few calls to end, each with several waits within its own limit."""
        if question:
            return tries_s
        return tries_s + _CALLS_BEFORE * self._timeout_s if waits else max(tries_s, _PLACE_S)

    def check_length(self, length: int, dimensions: int) -> None:
        """Raises EmbedderUnavailable for vectors that do not fit into the index."""
        if length != dimensions:
            raise EmbedderUnavailable(
                f"The embedding endpoint {self.url} answers with vectors of {length} numbers, and the index "
                f"is made for {dimensions}; none of them was used.",
                hint="Set embedding.model back. If another model is meant: embedding.dimensions = "
                f"{length}, and another data folder (--data).",
            )

    def probe(self, *, tries_s: float) -> int:
        """Ask for one plain word: the length of its vector.

        An endpoint that refuses it is asked more plainly from now on, where that helps. Raises
        EmbedderUnavailable, also for numbers that are no vector: what it says to a plain word it says to
        everything.
        """
        with self._probing:  # else one thread would take for its own what another is trying
            return self._probe(tries_s)

    def _probe(self, tries_s: float) -> int:
        ask = functools.partial(self.ask, [PROBE], question=False, tries_s=tries_s, waits=False)
        for dialect in (self._dialect, *self._dialect.plainer()):
            try:
                row = ask(dialect=dialect).rows[0]
            except EmbedderRejected as error:
                refusal = error
                continue
            except EmbedderUnavailable as fault:  # that it is away says nothing of what it takes
                raise (self.resting(fault) if isinstance(fault, Doubtful) else fault) from fault.__cause__
            self._dialect = dialect
            if not is_vector(row):
                raise self.resting(self._answers_nothing())
            self.probed = True
            return len(row)
        raise self.resting(self._refuses_all(refusal)) from refusal

    def resting(self, fault: EmbedderUnavailable) -> EmbedderUnavailable:
        """The endpoint answers nothing: it is left alone for a while. Returns what to raise."""
        return self._caller.resting(fault)

    def close(self) -> None:
        self._caller.close()

    def _answers_nothing(self) -> EmbedderUnavailable:
        return EmbedderUnavailable(
            f"The embedding endpoint {self.url} answers even a plain word with numbers that are no vector "
            "(not finite, or zero).",
            hint="Check the model there; half precision is too small for some.",
        )

    def _refuses_all(self, refusal: EmbedderRejected) -> EmbedderUnavailable:
        return EmbedderUnavailable(
            f"The embedding endpoint {self.url} refuses even a plain word: {refusal.message}",
            hint="Check embedding.model, embedding.dimensions and embedding.runtime.",
        )
