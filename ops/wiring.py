"""Settings to working parts: the only place where the rooms are put together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ingestion.clock import Clock, SystemClock
from ingestion.errors import EmbedderUnavailable, Misconfigured
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.sources import SourceRow
from ingestion.ledger.values import Edition
from ingestion.records import Lane
from ingestion.sources.files import FilesSource
from ops.lock import writing_to
from ops.opening import make_ledger
from ops.remote import remote_embedder
from ops.settings import EmbeddingSettings, Settings, SourceSettings
from ops.stores import make_index, refuse_network_mount
from retrieval.embedding.batching import MicroBatcher
from retrieval.embedding.models import make_embedder
from retrieval.embedding.port import Embedder, Vectors
from retrieval.embedding.remote.embedder import RemoteEmbedder
from retrieval.index.port import Index
from workers.dispatch import Dispatcher, SendMessage, Waiting
from workers.drafting import Drafter
from workers.outcomes import Listener
from workers.reconcile import Missed, Reconciler
from workers.refresh import Absent, Refresher
from workers.staging import SLICE_TEXTS
from workers.upkeep import Upkeep
from workers.work import Able, PipelineWork

BULK_THREADS = 2  # one embeds while the other reads, parses and writes
# A thread that comes back from the disk, the model or the network waits so long for one that computes in
# Python. With the interpreter's own 5 ms an edit during a first index, some thirty such returns, took 0.2 s.
SWITCH_S = 0.001


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that is shared by the daemon and by commands that embed."""

    settings: Settings
    clock: Clock
    ledger: Ledger
    index: Index
    embedder: Embedder
    batcher: MicroBatcher
    sources: dict[str, FilesSource]
    edition: Edition
    drafter: Drafter

    def close(self) -> None:
        self.batcher.close()
        _close_embedder(self.embedder)
        self.index.close()
        self.ledger.database.close()


def open_parts(settings: Settings, *, clock: Clock | None = None) -> Parts:
    """Open or make the knowledge base. Raises Misconfigured and its kind; loads no model."""
    clock = clock or SystemClock()
    embedder = embedder_of(settings.embedding, clock=clock)
    with contextlib.ExitStack() as undo:
        undo.callback(_close_embedder, embedder)
        ledger = open_or_make_ledger(settings, clock)
        undo.callback(ledger.database.close)
        edition = ledger.sources.edition(embedder.fingerprint, embedder.dimensions, embedder.description)
        index = make_index(settings, ledger.database)
        undo.callback(index.close)
        index.create(edition.name, edition.dimensions)
        undo.pop_all()
    return Parts(
        settings=settings,
        clock=clock,
        ledger=ledger,
        index=index,
        embedder=embedder,
        batcher=MicroBatcher(embedder),
        sources=make_sources(settings, clock),
        edition=edition,
        drafter=Drafter(embedder.max_tokens, embedder.count_tokens, clock),
    )


def open_or_make_ledger(settings: Settings, clock: Clock) -> Ledger:
    """The ledger, with the data folder made where it is missing. Raises Misconfigured and its kind."""
    data = settings.daemon.data
    if settings.ledger.url is None:
        refuse_network_mount(data)
    with writing_to(data):
        data.mkdir(parents=True, exist_ok=True)
    return make_ledger(settings, clock)


def ensure_edition(settings: Settings, ledger: Ledger, clock: Clock) -> None:
    """What is observed is pending in an edition: there must be one before the first look."""
    if ledger.sources.live_edition() is None:
        embedder = embedder_of(settings.embedding, clock=clock)
        ledger.sources.edition(embedder.fingerprint, embedder.dimensions, embedder.description)
        _close_embedder(embedder)


def _close_embedder(embedder: Embedder) -> None:
    if isinstance(embedder, RemoteEmbedder):
        embedder.close()


def embedder_of(settings: EmbeddingSettings, *, clock: Clock | None = None) -> Embedder:
    """The endpoint, or what computes here. Raises Misconfigured and its kind; loads no model."""
    remote = remote_embedder(settings, clock=clock)
    return remote or make_embedder(settings.model, settings.runtime, precision=settings.precision)


def make_source(settings: SourceSettings, clock: Clock) -> FilesSource:
    return FilesSource(
        settings.name,
        settings.root,
        include=settings.include,
        exclude=settings.exclude,
        max_file_bytes=settings.max_file_bytes,
        clock=clock,
    )


def make_sources(settings: Settings, clock: Clock) -> dict[str, FilesSource]:
    return {source.name: make_source(source, clock) for source in settings.sources}


def configure_sources(ledger: Ledger, sources: Mapping[str, FilesSource]) -> None:
    """Tell the ledger what the settings name: only these sources are served."""
    ledger.sources.configure([SourceRow(one.name, one.kind, one.location) for one in sources.values()])


def slice_texts(embedder: Embedder) -> int:
    """Texts embedded between two commits: with an endpoint, a call, so that a crash costs no more."""
    limits = embedder.call_limits
    return SLICE_TEXTS if limits is None else limits.texts


def bulk_threads(embedder: Embedder) -> int:
    """Threads of the bulk lane: each has one slice under way. An endpoint needs one for each of its calls,
    and as many to read, parse and write meanwhile, or its calls would wait for that."""
    limits = embedder.call_limits
    return BULK_THREADS if limits is None else max(BULK_THREADS, 2 * limits.at_once)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The working end of the parts: what listens, looks and refreshes."""

    work: PipelineWork
    reconciler: Reconciler
    dispatcher: Dispatcher


def make_pipeline(
    parts: Parts,
    *,
    send_message: SendMessage,
    listener: Listener,
    missed: Missed,
    stopping: Callable[[], None] = lambda: None,
    absent: Absent | None = None,
    threads: int | None = None,
    waiting: Waiting = lambda lane: 0,
    lost_messages: Callable[[], bool] = lambda: False,
    able: Able | None = None,
) -> Pipeline:
    """``stopping`` is called before each slice that is embedded, and raises to end an attempt early.

    ``absent`` is told what workers did not find; without one it is judged at once. ``threads``: those of the
    bulk lane, in all processes together. What is known of the broker comes from ``waiting`` and
    ``lost_messages``. ``able``: whether anything may be claimed; None: once the model is loaded.
    """
    dispatcher = Dispatcher(
        parts.ledger,
        send_message,
        bulk_threads=threads or bulk_threads(parts.embedder),
        waiting=waiting,
    )
    reconciler = Reconciler(parts.ledger, parts.clock, listener=listener, send=dispatcher.send, missed=missed)

    def embed(texts: Sequence[str], lane: Lane, tokens: Sequence[int]) -> Vectors:
        stopping()
        try:
            return parts.batcher.embed(texts, lane, tokens)
        except Misconfigured as error:  # the model went away: no document is to blame
            raise EmbedderUnavailable(error.message, hint=error.hint) from error

    refresher = Refresher(
        parts.ledger,
        parts.index,
        embed,
        parts.drafter,
        parts.sources,
        parts.clock,
        listener=listener,
        absent=absent or (lambda source, uris: reconciler.absent(parts.sources[source], uris)),
        slice_texts=slice_texts(parts.embedder),
    )
    upkeep = Upkeep(parts.ledger, parts.index)
    work = PipelineWork(
        parts.ledger,
        parts.edition,
        refresher,
        dispatcher,
        upkeep,
        reconciler,
        parts.sources,
        able=able or (lambda: parts.batcher.ready),
        lost_messages=lost_messages,
    )
    return Pipeline(work, reconciler, dispatcher)
