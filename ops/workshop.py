"""The pipeline of one process beside a broker that it shares: what the roles and ``ops.celery_app`` run.

Opened as a whole or not at all. It consumes nothing: that is for the worker around it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Sequence

from celery import Celery

from ingestion.clock import Clock
from ingestion.errors import BrokerUnavailable, EmbedderUnavailable, HeadwaterError, Interrupted
from ingestion.ledger.ledger import Ledger
from ingestion.records import Lane
from ops.absences import Absences
from ops.equipping import Embedded
from ops.exporter import Metrics
from ops.keeping import Keeper
from ops.measured import AllMeasured
from ops.outdated import schema_watch
from ops.remote import cost
from ops.roles.missing import Missing
from ops.settings import Settings
from ops.settings_stores import masked
from ops.stores import broker_url, make_broker
from ops.version import version
from ops.wiring import Parts, Pipeline, bulk_threads, make_pipeline, objectives, open_parts
from retrieval.embedding.port import Embedder
from retrieval.embedding.remote.embedder import RemoteEmbedder
from workers.app import Work, make_app, send_refresh
from workers.outcomes import Listener, Outcome
from workers.redis_broker import RedisBroker
from workers.sending import Sender
from workers.sight import Sight
from workers.tracing import UNTRACED, Tracing

log = logging.getLogger("headwater.workshop")

TEND_S = 2.0
# Threads that may wait for bulk work, in all processes together: each process knows only its own.
SHARED_THREADS = 32


def make_shared_app(settings: Settings, work: Work, *, tracing: Tracing = UNTRACED) -> Celery:
    """The Celery application on the broker of the settings. Raises Misconfigured where there is none."""
    make_broker(settings).close()  # says what is missing
    url = broker_url(settings)
    assert url is not None
    prefix = settings.broker.prefix
    return make_app(work, broker=_Address(url), prefix=prefix, tracing=tracing)


class _Address(str):
    """An address that shows no password where it is only looked at, as in ``repr(app.conf)``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(masked(self))


class Messenger:
    """The way to the broker: sends in the background, and knows whether it answers."""

    def __init__(
        self,
        settings: Settings,
        app: Celery,
        ledger: Ledger,
        clock: Clock,
        *,
        tracing: Tracing = UNTRACED,
    ) -> None:
        self.broker = make_broker(settings)
        self._app = app
        self._sender = Sender(
            self.broker,
            lambda lane, ids, edition_id: send_refresh(app, lane, ids, edition_id, tracing=tracing),
            clock,
            forget_messages=ledger.claims.forget_messages,
            tracing=tracing,
        )
        self.send = self._sender.send

    @property
    def alive(self) -> bool:
        return self._sender.alive

    @property
    def away(self) -> str | None:
        return self._sender.away

    def check(self) -> None:
        """Raises BrokerUnavailable where the last look found it away; asks nobody."""
        if self.away is not None:
            raise BrokerUnavailable(self.away)

    def waiting(self, lane: Lane) -> int:
        """Messages nobody has taken yet; 0 where the broker does not say."""
        if self.away is None:
            with contextlib.suppress(HeadwaterError):
                return self.broker.waiting(lane)
        return 0

    def lost_messages(self) -> bool:
        """Whether the broker has lost what it held; not known while it is away."""
        if self.away is None:
            with contextlib.suppress(HeadwaterError):
                return self.broker.lost_messages()
        return False

    def start(self) -> None:
        self._sender.start()

    def close(self) -> None:
        self._sender.close()
        self.broker.close()
        self._app.close()


class Workshop:
    """The parts, the pipeline and the messenger of one process. Raises as ``open_parts`` does.

    ``loads``: whether it will load models.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        listener: Listener,
        loads: bool = True,
        tracing: Tracing = UNTRACED,
    ) -> None:
        self._settings = settings
        self._tracing = tracing
        self._listener = listener
        self._stopping = threading.Event()
        self._closed = threading.Event()
        self._absences = Absences(self._judge)
        make_broker(settings).close()
        self.parts: Parts = open_parts(settings, clock=clock, loads=loads)
        self.metrics = Metrics(
            self.parts.ledger, clock, version=version(), sources=objectives(settings), states=False
        )
        self._sight = Sight(self.parts.ledger)
        self._measuring = AllMeasured(settings.daemon.data, clock)
        self.pipeline: Pipeline = self._make_pipeline()
        self.app = make_shared_app(settings, self.pipeline.work, tracing=tracing)
        self.messenger = Messenger(settings, self.app, self.parts.ledger, clock, tracing=tracing)
        self._schema = schema_watch(self.parts.ledger)
        self._keeper = Keeper(self.parts.ledger, list(self.parts.sources), clock)
        self._tending = threading.Thread(target=self._tend, name="tending", daemon=True)
        self._hear()

    @property
    def broker(self) -> RedisBroker:
        return self.messenger.broker

    @property
    def alive(self) -> bool:
        """Whether what ``start`` began still runs."""
        threads = (self.messenger, self._schema, self._keeper)
        return all(one.alive for one in threads) and self._tending.is_alive()

    def missing(self) -> Missing:
        """What it cannot work without."""
        parts = self.parts
        checks = {
            "ledger": parts.ledger.fence.generation,
            "broker": self.messenger.check,
            "index": lambda: parts.index.check(parts.edition.name),
        }
        return Missing(checks, parts.clock)

    def start(self) -> None:
        self.messenger.start()
        self._schema.start()
        self._keeper.start()
        self._tending.start()

    def loaded(self) -> None:
        """Raises EmbedderUnavailable until there is a model to embed with, and what keeps it from loading."""
        self.parts.fitter.hearing.load = True
        self.parts.batcher.start_loading()
        if self.parts.batcher.ready:
            return
        if failure := self.parts.batcher.load_failure:
            raise failure
        raise EmbedderUnavailable("The embedding model is being loaded.")

    def end_attempts(self) -> None:
        """What is claimed is handed back at the next slice, and nothing more is claimed."""
        self._stopping.set()
        self.parts.end_parsers()
        self.parts.equipment.close()

    def close(self) -> None:
        """To be called once nothing is consumed any more. Idempotent."""
        self._stopping.set()
        self._closed.set()
        if self._tending.is_alive():
            self._tending.join(TEND_S)
        self._keeper.close()
        self._absences.close()
        self._schema.close()
        with contextlib.suppress(HeadwaterError):
            self.pipeline.work.pass_on()
        self.messenger.close()
        self._measuring.flush()
        self.parts.close()

    def _make_pipeline(self) -> Pipeline:
        return make_pipeline(
            self.parts,
            send_message=self._send,
            listener=self._outcome,
            missed=self.metrics.scan_missed,
            stopping=self._raise_if_stopping,
            absent=self._absences.doubt,
            threads=max(SHARED_THREADS, bulk_threads(self.parts.embedder)),
            waiting=lambda lane: self.messenger.waiting(lane),
            lost_messages=lambda: self.messenger.lost_messages(),
            able=lambda: not self._stopping.is_set(),
            watches=False,
            unseen=self._sight.unseen,
            tracing=self._tracing,
        )

    def _send(self, lane: Lane, document_ids: Sequence[int], edition_id: int | None = None, /) -> None:
        self.messenger.send(lane, document_ids, edition_id)

    def _hear(self) -> None:
        self.parts.batcher.on_embedded = self._embedded_by(self.parts.embedder)
        if isinstance(self.parts.embedder, RemoteEmbedder):
            self.parts.embedder.on_billed = self._billed
        hearing = self.parts.fitter.hearing
        hearing.embedded, hearing.billed = self._embedded_by, self._billed

    def _outcome(self, outcome: Outcome) -> None:
        self.metrics.outcome(outcome)
        self._listener(outcome)

    def _embedded_by(self, embedder: Embedder) -> Embedded:
        measuring = self._measuring.of(embedder)

        def embedded(lane: Lane, texts: int, tokens: int, seconds: float) -> None:
            self.metrics.embedded(lane, texts, tokens, seconds)
            measuring.embedded(texts, seconds)

        return embedded

    def _billed(self, tokens: int) -> None:
        self.metrics.billed(tokens, cost(self._settings.embedding, tokens) or 0.0)

    def _raise_if_stopping(self) -> None:
        if self._stopping.is_set():
            raise Interrupted("The worker is being stopped.")

    def _judge(self, source: str, uris: Sequence[str]) -> None:
        self.pipeline.reconciler.absent(self.parts.sources[source], uris)

    def _tend(self) -> None:
        told = ""
        while not self._closed.wait(TEND_S):
            try:
                self.pipeline.work.tend()
                self._sight.look_again()
                told = ""
            except HeadwaterError as error:  # the ledger is away: told once
                if str(error) != told:
                    log.warning("claims cannot be kept now: %s", error)
                told = str(error)
            except Exception:
                log.exception("unexpected error while claims were kept")
