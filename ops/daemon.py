"""Everything in one process: watch, schedule, index, serve, measure.

``start`` opens what is there and returns as soon as the API answers; listing, loading the model and
indexing go on in the background. ``stop`` hands back what was claimed. Neither is needed for safety: the
process may be killed at any moment.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from ingestion.clock import Clock, SystemClock
from ingestion.errors import HeadwaterError, Interrupted
from ingestion.records import Lane
from ops.broker_gauges import BrokerPort
from ops.canary_sources import prepare_perches
from ops.equipping import Embedded
from ops.exporter import Metrics
from ops.hint_desk import make_hinting
from ops.keeping import Keeper, decide_alone
from ops.lock import DaemonNote, held, write_note
from ops.measured import AllMeasured
from ops.opening import data_file, file_identity
from ops.outdated import schema_watch
from ops.remote import cost
from ops.roles.missing import IndexHolds
from ops.settings import Settings
from ops.singing import singing
from ops.status import status_report
from ops.stores import make_broker
from ops.version import version
from ops.wiring import (
    SWITCH_S,
    Pipeline,
    add_sources,
    make_pipeline,
    objectives,
    open_parts,
    source_rows,
)
from ops.work_side import make_work_side
from retrieval.api.app import Readiness, Service, make_api
from retrieval.api.server import Server
from retrieval.embedding.port import Embedder
from retrieval.embedding.remote.embedder import RemoteEmbedder
from retrieval.hints import Hint
from retrieval.search import Searcher
from workers.outcomes import Listener, Outcome
from workers.pushing import PushDesk
from workers.tracing import UNTRACED, Tracing
from workers.watcher import Watcher

log = logging.getLogger("headwater.daemon")


class Daemon:
    """One data folder's daemon. ``start`` raises Misconfigured and its kind, having started nothing."""

    _hint: Hint  # the best way there is so far

    def __init__(
        self,
        settings: Settings,
        *,
        listener: Listener,
        clock: Clock | None = None,
        tracing: Tracing = UNTRACED,
    ) -> None:
        self._settings = settings
        self._tracing = tracing
        self._listener = listener
        self._clock = clock or SystemClock()
        self._stopping = threading.Event()
        self._open = contextlib.ExitStack()
        self._ready_once = False
        self.note: DaemonNote | None = None

    def start(self) -> None:
        """Take the data folder, serve, then set the watches and begin to work."""
        sys.setswitchinterval(SWITCH_S)
        with contextlib.ExitStack() as undo:
            undo.enter_context(held(self._settings.daemon.data))
            self.parts = open_parts(self._settings, clock=self._clock)
            self._data_file = file_identity(data_file(self._settings))
            undo.callback(self.parts.close)
            self._index_holds = IndexHolds(
                self.parts.ledger, self.parts.index, lambda: self.parts.edition, self._clock
            )
            self._recover()
            self.metrics = Metrics(
                self.parts.ledger,
                self._clock,
                version=version(),
                sources=objectives(self._settings),
                broker=self._shared_broker(undo),
            )
            self._measuring = AllMeasured(self._settings.daemon.data, self._clock)
            undo.callback(self._measuring.flush)
            self._pipeline = self._make_pipeline()
            self._server = self._make_server()
            self._server.start()
            undo.callback(self._server.stop)
            undo.callback(self._searcher.close)  # first: searches that wait would hold the server up
            self._write_note()
            self._begin(undo)
            self._open = undo.pop_all()

    def stop(self) -> None:
        """End within seconds; what is claimed is handed back, nothing is lost. Idempotent."""
        self._stopping.set()
        self._open.close()

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def ready(self) -> bool:
        return self._readiness().ready

    def bulk_remaining(self) -> int:
        """Documents that wait in the bulk lane: how far a first index is."""
        return sum(lane.pending for lane in self.parts.ledger.views.lanes() if lane.lane == "bulk")

    def _recover(self) -> None:
        """Where the data folder is ours alone, whoever held a lease or had messages under way is dead.

        Beside a shared broker others may be at work: their leases end by themselves.
        """
        ledger, edition = self.parts.ledger, self.parts.edition
        if self._settings.broker.url is None:
            ledger.claims.reap(all_leases=True)
            ledger.claims.forget_messages()
            ledger.canaries.forget_rounds()
            decide_alone(ledger, source_rows(self._settings, self.parts.sources))
        else:
            add_sources(ledger, self._settings, self.parts.sources)
        if self.parts.differs:
            log.warning(
                "the settings name the model %s, and the index was made with %s, which goes on serving; "
                "headwater rebuild makes one with the settings' model beside it",
                self.parts.differs,
                edition.description,
            )
        again = ledger.claims.reindex(edition, self.parts.drafter.pipelines)
        if again:
            log.info("%s documents are indexed again: the parser or the chunker has changed", again)

    def _shared_broker(self, undo: contextlib.ExitStack) -> BrokerPort | None:
        """The one that monitors are told of, where processes share one."""
        if self._settings.broker.url is None:
            return None
        broker = make_broker(self._settings)
        undo.callback(broker.close)
        return broker

    def _make_pipeline(self) -> Pipeline:
        def listener(outcome: Outcome) -> None:
            self.metrics.outcome(outcome)
            self._listener(outcome)

        return make_pipeline(
            self.parts,
            send_message=self._send,
            listener=listener,
            missed=self.metrics.scan_missed,
            stopping=self._raise_if_stopping,
            absent=lambda source, uris: self._watcher.doubt(source, uris),
            waiting=lambda lane: self._work_side.waiting(lane),
            lost_messages=lambda: self._work_side.lost_messages(),
            tracing=self._tracing,
        )

    def _send(self, lane: Lane, document_ids: Sequence[int], edition_id: int | None = None, /) -> None:
        self._work_side.send(lane, document_ids, edition_id)

    def _begin(self, undo: contextlib.ExitStack) -> None:
        parts = self.parts
        schema = schema_watch(parts.ledger)
        schema.start()
        undo.callback(schema.close)
        work = self._pipeline.work
        self._work_side = make_work_side(self._settings, parts, work, self._clock, tracing=self._tracing)
        parts.batcher.on_embedded = self._embedded_by(parts.embedder)
        parts.batcher.on_loaded = self._work_side.dispatch  # what came before the model waits for that
        if isinstance(parts.embedder, RemoteEmbedder):
            parts.embedder.on_billed = self._billed
        parts.batcher.start_loading()
        hearing = parts.fitter.hearing
        hearing.embedded, hearing.billed, hearing.load = self._embedded_by, self._billed, True
        prepare_perches(self._settings)
        self._watcher = Watcher(
            parts.ledger,
            self._pipeline.reconciler,
            list(parts.sources.values()),
            self._clock,
            list_source=self._work_side.list_source,
            overflowed=self.metrics.overflow,
        )
        if self._settings.broker.url is not None:
            keeper = Keeper(parts.ledger, list(parts.sources), self._clock, watches=True)
            keeper.start()
            undo.callback(keeper.close)
        self._work_side.start()
        undo.callback(self._work_side.stop)
        self._watcher.start()
        self._hint = self._watcher.hint  # the sooner way
        undo.callback(self._watcher.stop)
        undo.enter_context(singing(self._settings, parts.ledger, parts.index, self._clock, self.metrics))
        # Callers that wait for a vector or a parser must be let go before the workers are waited for.
        undo.callback(parts.equipment.close)
        undo.callback(parts.end_parsers)

    def _make_server(self) -> Server:
        parts = self.parts
        self._hint = parts.ledger.hints.add
        self._searcher = Searcher(
            parts.ledger,
            parts.index,
            parts.equipment.embed_query,
            self._clock,
            on_demand=self._on_demand,
            observe=self.metrics,
        )
        service = Service(
            searcher=self._searcher,
            ledger=parts.ledger,
            clock=self._clock,
            host=self._settings.daemon.host,
            key_hashes=self._settings.api.keys,
            status=self._status,
            ready=self._readiness,
            metrics=self._metrics,
            pushing=PushDesk(parts.ledger, self._pipeline.reconciler, parts.sources, self._clock),
            hinting=make_hinting(self._settings, lambda name, places: self._hint(name, places)),
        )
        return Server(make_api(service), self._settings.daemon.host, self._settings.daemon.port)

    def _embedded_by(self, embedder: Embedder) -> Embedded:
        measuring = self._measuring.of(embedder)

        def embedded(lane: Lane, texts: int, tokens: int, seconds: float) -> None:
            self.metrics.embedded(lane, texts, tokens, seconds)
            measuring.embedded(texts, seconds)

        return embedded

    def _on_demand(self, document_ids: Sequence[int]) -> None:
        self._pipeline.dispatcher.send(document_ids)

    def _metrics(self, accept: str) -> tuple[bytes, str]:
        content_type, body = self.metrics.render(accept)
        return body, content_type

    def _status(self) -> dict[str, Any]:
        return status_report(self._settings, self.parts.ledger, self._clock)

    def _readiness(self) -> Readiness:
        """Ready once every source's first listing since the start is published, or dead-lettered."""
        reasons = list(self._lost_data())
        try:
            self._index_holds()
            if not self._ready_once:
                reasons += self._unlisted()
        except HeadwaterError as error:
            reasons.append(str(error))
        if not self.parts.batcher.ready:
            failure = self.parts.batcher.load_failure
            reasons.append(str(failure) if failure else "the embedding model is being loaded")
        self._ready_once = self._ready_once or not reasons
        missing = self.parts.equipment.missing()
        return Readiness(not reasons, reasons, [] if missing is None else [f"embedder: {missing}"])

    def _lost_data(self) -> Iterator[str]:
        """A deleted file can be read and written until it is closed: nothing else would tell."""
        path = data_file(self._settings)
        if self._settings.ledger.url is None and file_identity(path) != self._data_file:
            yield (
                f"{path} was removed or replaced while this daemon has it open: what it publishes is lost "
                "when it ends. Stop it and start it again; everything that is missing is indexed again"
            )

    def _unlisted(self) -> list[str]:
        reasons = []
        for name in (source.name for source in self._settings.sources):
            listed = self._pipeline.work.listed.get(name)
            if listed is None:
                reasons.append(f"{name} is being listed for the first time since the start")
            elif remaining := self.parts.ledger.views.unfinished(name, listed.generation):
                reasons.append(f"{name}: {remaining} documents of its first listing are still to be indexed")
            elif listed.fault and not self._was_listed_before(name):
                reasons.append(listed.fault)
        return reasons

    def _was_listed_before(self, name: str) -> bool:
        state = self.parts.ledger.sources.state(name)
        return state is not None and state.listed_at is not None

    def _billed(self, tokens: int) -> None:
        self.metrics.billed(tokens, cost(self._settings.embedding, tokens) or 0.0)

    def _raise_if_stopping(self) -> None:
        if self._stopping.is_set():
            raise Interrupted("The daemon is being stopped.")

    def _write_note(self) -> None:
        self.note = DaemonNote(
            pid=os.getpid(),
            host=self._settings.daemon.host,
            port=self._server.port,
            started_at=self._clock.now(),
            version=version(),
        )
        write_note(self._settings.daemon.data, self.note)
