"""Embeds at a provider, behind the same port as a model on this machine.

Decides what goes into a request, which of its texts is to blame for a refusal, and whether rows of numbers
are vectors. What was answered is kept for a while (``retrieval.embedding.remote.recent``), so a text is
sent again only when nobody knows its answer. Waiting and trying again is for the layers below.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ingestion.clock import Clock, SystemClock
from ingestion.errors import EmbedderRejected, EmbedderUnavailable
from retrieval.embedding.port import CallLimits, Vectors
from retrieval.embedding.remote.batch_size import BatchSize
from retrieval.embedding.remote.dialect import Answer, Dialect, Row
from retrieval.embedding.remote.endpoint import Endpoint
from retrieval.embedding.remote.faults import Doubtful
from retrieval.embedding.remote.recent import RecentAnswers, Said
from retrieval.embedding.remote.sizes import cut, estimated_tokens, sendable

log = logging.getLogger(__name__)

DOCUMENTS_TRY_S = 60.0
FRESH_TRY_S = 5.0  # then it is handed back, and an edit that needs no vector gets its turn
QUESTION_TRY_S = 3.0  # whoever asks gets an answer by words instead
LOAD_TRY_S = 5.0  # the batcher tries again
_BYTES_PER_NUMBER = 4
_HALF_TRY_S = 5.0  # of a request that was given up: the whole was tried for long


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may hold, how many may be under way, and how long a text is seen whole."""

    at_once: int
    batch_texts: int
    batch_tokens: int
    max_characters: int


@dataclass(frozen=True, slots=True)
class Prompts:
    """What stands before each text, where a model tells questions from passages by it."""

    question: str = ""
    passage: str = ""


@dataclass(frozen=True, slots=True)
class _Trying:
    """How long texts are tried for, and whether they wait before a gate that stays closed for longer.

    ``suspect``: one of them is to blame for a failure, as others have been answered since.
    """

    tries_s: float
    waits: bool = True
    suspect: bool = False


@dataclass(frozen=True, slots=True)
class _Moment:
    """When a request was sent: after how many answers, and in which dialect."""

    answers: int
    dialect: Dialect


class RemoteEmbedder:
    """A model at an endpoint. Safe to call from several threads.

    ``on_billed`` is told the tokens of each answered request, as the provider counted them, or as
    estimated where it said nothing. ``on_other_length`` is called when its vectors have turned out to be of
    another length than the index's.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        limits: Limits,
        *,
        model: str,
        dimensions: int,
        prompts: Prompts | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._limits = limits
        self._model = model
        self._dimensions = dimensions
        self._prompts = prompts or Prompts()
        self._clock = clock or SystemClock()
        # All that is under way and as much again: none is pushed out before whoever asks again has it.
        under_way = limits.at_once * limits.batch_texts
        self._recent = RecentAnswers(self._clock, 2 * under_way * dimensions * _BYTES_PER_NUMBER)
        self._size = BatchSize(limits.batch_texts)
        self._answers = 0  # ever grows: whether the endpoint has answered since a moment
        self._loading = threading.Lock()
        self._loaded = False
        self.on_billed: Callable[[int], None] | None = None
        self.on_other_length: Callable[[], None] | None = None

    @property
    def fingerprint(self) -> str:
        """Of the kind of endpoint, the model's name there, the dimensions and how texts are marked.

        Not of the address: a model that moves to another machine, or behind a gateway, keeps its index.
        That two addresses mean the same model by one name is for whoever sets them.
        """
        dialect = self._endpoint.dialect
        parts = ["remote", dialect.name, self._model, self._dimensions, list(dialect.inputs)]
        if self._prompts != Prompts():
            parts += [self._prompts.question, self._prompts.passage]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def description(self) -> str:
        return f"{self._model.rsplit('/', 1)[-1]}, {self._endpoint.dialect.name} endpoint"

    @property
    def dimensions(self) -> int:
        return self._dimensions

    @property
    def max_tokens(self) -> int:
        """In characters, as ``count_tokens``, and without the prompt."""
        return self._limits.max_characters - len(self._prompts.passage)

    @property
    def call_limits(self) -> CallLimits:
        at_once = self._limits.at_once
        return CallLimits(at_once, self._limits.batch_texts, ahead=1 + at_once // 4)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Characters: only the provider has the tokenizer."""
        return [len(text) for text in texts]

    def load(self) -> None:
        """Ask once for a plain word: key, model and dimensions are then known to be right.

        Raises EmbedderUnavailable.
        """
        with self._loading:
            if self._loaded:
                return
            if not self._endpoint.probed:  # it was when its dimensions were asked for
                self._prove()
            self._loaded = True

    @property
    def loaded(self) -> bool:
        return self._loaded

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """As the port says; also raises EmbedderRejected when only some of the texts are refused.

        The answers to the others are then kept: asking again for them costs no request.
        """
        return self._embedded(texts, _Trying(DOCUMENTS_TRY_S))

    def embed_fresh(self, texts: Sequence[str]) -> Vectors:
        """As ``embed_documents``, given up within seconds while calls are held back or fail."""
        return self._embedded(texts, _Trying(FRESH_TRY_S, waits=False))

    def _embedded(self, texts: Sequence[str], trying: _Trying) -> Vectors:
        vectors = np.empty((len(texts), self._dimensions), dtype=np.float32)
        if not texts:
            return vectors
        self.load()
        sent = [sendable(text, self._limits.max_characters, self._prompts.passage) for text in texts]
        said = {text: answer for text in set(sent) if (answer := self._recent.get(text)) is not None}
        self._settle([text for text in dict.fromkeys(sent) if text not in said], said, trying)
        for row, text in enumerate(sent):
            answer = said[text]
            if isinstance(answer, EmbedderRejected):
                raise copy.copy(answer)  # kept for whoever asks again, perhaps in another thread
            vectors[row] = answer
        return vectors

    def embed_query(self, text: str) -> Vectors:
        """Asked at once, whatever else is under way; given up within seconds."""
        self.load()
        sent = sendable(text, self._limits.max_characters, self._prompts.question)
        before = self._answers
        try:
            answer = self._endpoint.ask(
                [sent], question=True, tries_s=QUESTION_TRY_S, waits=False, dimensions=self._dimensions
            )
        except Doubtful as fault:
            raise self._endpoint.resting(fault) if self._answers == before else fault from None
        self._bill([sent], answer)
        vectors, sound = _units(answer.rows)
        if not sound[0]:
            raise _no_vector()
        self._answers += 1
        vector: Vectors = vectors[0]
        return vector

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._endpoint.close()

    def _settle(self, texts: Sequence[str], said: dict[str, Said], trying: _Trying) -> bool:
        """Have the endpoint say something of each of these distinct texts; whether it took them all."""
        taken = True
        waiting = list(texts)
        while waiting:  # cut anew each time: the limit may have been learned meanwhile
            batch = next(cut(waiting, most_texts=self._size.texts, most_tokens=self._limits.batch_tokens))
            waiting = waiting[len(batch) :]
            taken &= self._settle_batch(batch, said, trying)
        return taken

    def _settle_batch(self, batch: Sequence[str], said: dict[str, Said], trying: _Trying) -> bool:
        """A refused request is halved until only the texts to blame are left; the others are taken.

        So is one that the endpoint fails at twice while it answers others; but a text is to blame for that
        only after every try that documents are worth.
        """
        sent = _Moment(self._answers, self._endpoint.dialect)
        try:
            answer = self._endpoint.ask(
                batch,
                question=False,
                tries_s=trying.tries_s,
                waits=trying.waits,
                suspect=trying.suspect,
                dimensions=self._dimensions,
                dialect=sent.dialect,
            )
        except EmbedderRejected as refusal:
            if len(batch) == 1:
                return self._refuse(batch[0], refusal, said, sent, trying)
            return self._halve(batch, said, sent, trying)
        except Doubtful as fault:
            self._prove_others(fault, sent)
            if len(batch) > 1:
                halved = replace(trying, tries_s=_HALF_TRY_S, suspect=True)
                return self._halve(batch, said, sent, halved, refused=False)
            if trying.tries_s < DOCUMENTS_TRY_S:
                return self._settle_batch(batch, said, replace(trying, tries_s=DOCUMENTS_TRY_S))
            return self._refuse(batch[0], _failed_at(fault), said, sent, trying)
        self._bill(batch, answer)
        if self._size.answered(len(batch)):
            log.info("the embedding endpoint is sent %s texts at a time again", self._size.texts)
        return self._keep(batch, answer.rows, said, sent, trying)

    def _halve(
        self,
        batch: Sequence[str],
        said: dict[str, Said],
        sent: _Moment,
        trying: _Trying,
        *,
        refused: bool = True,
    ) -> bool:
        """``refused``: the endpoint would not have it, rather than failed at it."""
        middle = (len(batch) + 1) // 2
        halves = [self._settle(half, said, trying) for half in (batch[:middle], batch[middle:])]
        if all(halves) and self._endpoint.dialect is sent.dialect:  # else it was that which was refused
            size = self._size
            self._learn(size.too_large(middle) if refused else size.failed(len(batch), middle))
        return all(halves)

    def _keep(
        self,
        batch: Sequence[str],
        rows: Sequence[Row],
        said: dict[str, Said],
        sent: _Moment,
        trying: _Trying,
    ) -> bool:
        """Rows that are vectors are answers; of others only their texts are refused."""
        vectors, sound = _units(rows)
        if not sound.any() and len(batch) > 1:
            return self._halve(batch, said, sent, trying)
        for text, vector, is_sound in zip(batch, vectors, sound, strict=True):
            if is_sound:
                self._recent.answered(text, vector)
                said[text] = vector
                self._answers += 1
        taken = True
        for text, is_sound in zip(batch, sound, strict=True):
            if not is_sound:
                taken &= self._refuse(text, _no_vector(), said, sent, trying)
        return taken

    def _refuse(
        self, text: str, refusal: EmbedderRejected, said: dict[str, Said], sent: _Moment, trying: _Trying
    ) -> bool:
        """Blame a text, unless the endpoint refuses everything. Raises EmbedderUnavailable then.

        What was answered before the request was sent proves nothing: a model may be unloaded, or an account
        closed, from one request to the next. Where the endpoint is asked in another dialect by now, it may
        have refused the one before: the text is asked again; whether it was taken then.
        """
        if self._answers == sent.answers:
            self._prove()
        if self._endpoint.dialect is not sent.dialect:
            return self._settle_batch([text], said, trying)
        self._recent.refused(text, refusal)
        said[text] = refusal
        return False

    def _prove_others(self, fault: Doubtful, sent: _Moment) -> None:
        """Raises EmbedderUnavailable unless the endpoint answers anything but this request."""
        if self._answers != sent.answers:
            return
        try:
            self._endpoint.probe(tries_s=0.0)
        except EmbedderUnavailable as other:
            raise EmbedderUnavailable(fault.message, hint=fault.hint, after_s=other.after_s) from fault
        self._answers += 1

    def _prove(self) -> None:
        """Raises EmbedderUnavailable unless the endpoint takes a plain word and answers as expected."""
        length = self._endpoint.probe(tries_s=LOAD_TRY_S)
        if length != self._dimensions and self.on_other_length:
            self.on_other_length()
        self._endpoint.check_length(length, self._dimensions)
        self._answers += 1

    def _learn(self, news: bool) -> None:
        """Both halves of a request were taken: it was too large, and no text is to blame."""
        if news:
            log.warning(
                "the embedding endpoint takes fewer texts at once than embedding.batch_texts says; they are "
                "sent %s at a time for now",
                self._size.texts,
            )

    def _bill(self, texts: Sequence[str], answer: Answer) -> None:
        if self.on_billed:
            self.on_billed(answer.tokens or sum(map(estimated_tokens, texts)))


def _units(rows: Sequence[Row]) -> tuple[Vectors, NDArray[np.bool_]]:
    """Rows of one length scaled to length one, and which of them are vectors: finite, and not zero."""
    wide = np.stack(rows).astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    sound = np.isfinite(lengths) & (lengths > 0)
    units: Vectors = (wide / np.where(sound, lengths, 1.0)[:, None]).astype(np.float32)
    return units, sound


def _failed_at(fault: Doubtful) -> EmbedderRejected:
    return EmbedderRejected(
        f"The embedding endpoint answers other texts, and not this one: {fault.message}",
        hint="The document keeps its last revision; change it, exclude it, or lower "
        "embedding.max_characters if the text is too long for the model.",
    )


def _no_vector() -> EmbedderRejected:
    return EmbedderRejected(
        "The embedding endpoint answered this text with numbers that are no vector (not finite, or zero).",
        hint="The document keeps its last revision; change it, or exclude it.",
    )
