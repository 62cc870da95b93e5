"""Settings to working parts: the only place where the rooms are put together."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ingestion.clock import Clock, SystemClock
from ingestion.errors import EmbedderUnavailable, Misconfigured, WrongEdition
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.sources import SourceRow
from ingestion.ledger.values import Edition
from ingestion.objectives import Objective
from ingestion.parsing.ocr import Scans, make_scans
from ingestion.parsing.sandbox import Sandbox
from ingestion.records import Lane
from ingestion.sources.port import SourcePort
from ops.canary_sources import watched_sources
from ops.equipping import Fitted, Fitter, close_embedder, embedder_of, embedder_of_live, kept, slice_texts
from ops.kinds.base import Means
from ops.lock import writing_to
from ops.opening import make_ledger
from ops.schedules import Schedule
from ops.settings import EmbeddingSettings, Settings
from ops.stores import make_index, refuse_network_mount
from ops.turns import InTurn
from retrieval.embedding.batching import MicroBatcher
from retrieval.embedding.port import Embedder, Vectors
from retrieval.index.port import Index
from workers.building import Builder, telling
from workers.dispatch import Dispatcher, SendMessage, Waiting
from workers.drafting import Drafter
from workers.equipment import Equipment, Equipped
from workers.outcomes import Listener, of_users
from workers.reconcile import Missed, Reconciler
from workers.refresh import Absent, Refresher
from workers.sight import Unseen, seen
from workers.staging import Embed
from workers.tracing import UNTRACED, Tracing
from workers.upkeep import Upkeep
from workers.wholeness import make_room
from workers.work import Able, PipelineWork

log = logging.getLogger("headwater.sources")

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
    sources: dict[str, SourcePort]
    equipment: Equipment
    fitter: Fitter
    sandbox: Sandbox
    scans: Scans | None
    differs: str | None  # what the settings name instead of what the index was made with

    @property
    def live(self) -> Fitted:
        one = self.equipment.live
        assert isinstance(one, Fitted)
        return one

    @property
    def edition(self) -> Edition:
        """The live one."""
        return self.live.edition

    @property
    def embedder(self) -> Embedder:
        return self.live.embedder

    @property
    def batcher(self) -> MicroBatcher:
        return self.live.batcher

    @property
    def drafter(self) -> Drafter:
        return self.live.drafter

    def end_parsers(self) -> None:
        """Whoever waits for one is let go. Idempotent."""
        self.sandbox.close()
        if self.scans is not None:
            self.scans.sandbox.close()

    def close(self) -> None:
        self.end_parsers()
        self.equipment.close()
        self.index.close()
        self.ledger.database.close()


def open_parts(
    settings: Settings, *, clock: Clock | None = None, loads: bool = True, parses: bool = True
) -> Parts:
    """Open or make the knowledge base. Raises Misconfigured and its kind; loads no model.

    ``loads``: whether this process will load models to embed with; ``parses``: whether it will need what
    parsers need.
    """
    clock = clock or SystemClock()
    with contextlib.ExitStack() as undo:
        wanted = embedder_of(settings.embedding, clock=clock)
        undo.callback(close_embedder, wanted)
        ledger = open_or_make_ledger(settings, clock)
        undo.callback(ledger.database.close)
        embedder, own, edition = _live_edition(settings.embedding, wanted, ledger, clock)
        undo.callback(close_embedder, embedder)
        index = make_index(settings, ledger.database)
        undo.callback(index.close)
        make_room(ledger, index, edition)
        wanted_ocr = settings.parsing.ocr if parses else None
        scans = None if wanted_ocr is None else make_scans(wanted_ocr)
        undo.pop_all()
    sandbox = Sandbox()
    fitter = Fitter(settings.embedding, clock, sandbox, scans)
    return Parts(
        settings=settings,
        clock=clock,
        ledger=ledger,
        index=index,
        sources=make_sources(settings, Means(clock, ledger, settings.daemon.data)),
        equipment=Equipment(ledger, index, fitter.fit(edition, embedder), fitter.equip, clock, loads=loads),
        fitter=fitter,
        sandbox=sandbox,
        scans=scans,
        differs=None if own is settings.embedding else settings.embedding.model,
    )


def _live_edition(
    settings: EmbeddingSettings, wanted: Embedder, ledger: Ledger, clock: Clock
) -> tuple[Embedder, EmbeddingSettings, Edition]:
    """The live edition, made on first use, with its embedder and what made that. Raises WrongEdition."""
    embedder, own = embedder_of_live(settings, wanted, ledger, clock=clock)
    with contextlib.suppress(WrongEdition):
        return embedder, own, _made_with(embedder, own, ledger)
    close_embedder(embedder)  # searches went to another edition since it was looked at: once more
    embedder, own = embedder_of_live(settings, embedder_of(settings, clock=clock), ledger, clock=clock)
    with contextlib.ExitStack() as undo:
        undo.callback(close_embedder, embedder)
        edition = _made_with(embedder, own, ledger)
        undo.pop_all()
    return embedder, own, edition


def _made_with(embedder: Embedder, own: EmbeddingSettings, ledger: Ledger) -> Edition:
    return ledger.sources.edition(embedder.fingerprint, embedder.dimensions, embedder.description, kept(own))


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
        _made_with(embedder, settings.embedding, ledger)
        close_embedder(embedder)


def make_sources(settings: Settings, means: Means) -> dict[str, SourcePort]:
    """Those of the settings, and the canary's."""
    return {source.name: source.source(means) for source in watched_sources(settings)}


def schedules(settings: Settings) -> dict[str, Schedule]:
    """When each of them is listed."""
    return {source.name: source.schedule for source in watched_sources(settings)}


def in_turn(settings: Settings, ledger: Ledger) -> InTurn:
    """For processes that may be several: who of them lists what is looked at on schedule alone."""
    return InTurn(ledger, [source.name for source in settings.sources if source.scheduled])


def source_rows(settings: Settings, sources: Mapping[str, SourcePort]) -> list[SourceRow]:
    promised = objectives(settings)
    return [
        SourceRow(one.name, one.kind, one.location, promised.get(one.name, Objective()))
        for one in sources.values()
    ]


def objectives(settings: Settings) -> dict[str, Objective]:
    """What is promised of each source of users."""
    return {source.name: Objective(**source.objective.model_dump()) for source in settings.sources}


def add_sources(ledger: Ledger, settings: Settings, sources: Mapping[str, SourcePort]) -> None:
    """Have these served, too. What others serve is not for this process to end: see ``ops.keeping``."""
    for state in ledger.sources.all():
        own = sources.get(state.name)
        if own is not None and state.active and state.location != own.location:
            log.warning(
                "%s lies in %s from now on, and no longer in %s", own.name, own.location, state.location
            )
    ledger.sources.add(source_rows(settings, sources))


def bulk_threads(embedder: Embedder) -> int:
    """Threads of the bulk lane: each has one slice under way. An endpoint needs enough of them to fill its
    calls, and as many to read, parse and write meanwhile, or its calls would wait for that."""
    limits = embedder.call_limits
    if limits is None:
        return BULK_THREADS
    return max(BULK_THREADS, 2 * limits.at_once * limits.texts // slice_texts(embedder))


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
    able: Able = lambda: True,
    watches: bool = True,
    unseen: Unseen = seen,
    tracing: Tracing = UNTRACED,
) -> Pipeline:
    """``stopping`` is called before each slice that is embedded, and raises to end an attempt early.

    ``absent`` is told what workers did not find; without one it is judged at once. ``threads``: those of the
    bulk lane, in all processes together. ``listener`` is told of users' documents alone. What is known of the
    broker comes from ``waiting`` and ``lost_messages``. ``able``: whether anything may be claimed, once the
    model is loaded. ``watches``: whether this process sees the sources; ``unseen``: for one that does not
    watch, where it sees none.
    """
    listener = of_users(listener)
    dispatcher = Dispatcher(
        parts.ledger,
        send_message,
        bulk_threads=threads or bulk_threads(parts.embedder),
        waiting=waiting,
    )
    reconciler = Reconciler(
        parts.ledger,
        parts.clock,
        listener=listener,
        send=dispatcher.send,
        missed=missed,
        unseen=unseen,
        tracing=tracing,
    )
    builder = Builder(parts.ledger, parts.index, parts.equipment, dispatcher, parts.clock)

    def judged_at_once(source: str, uris: Sequence[str], /) -> None:
        reconciler.absent(parts.sources[source], uris)

    work = PipelineWork(
        parts.ledger,
        parts.equipment,
        partial(_refresher, parts, builder, stopping, listener, absent or judged_at_once, unseen, tracing),
        dispatcher,
        builder,
        Upkeep(parts.ledger, parts.index),
        reconciler,
        parts.sources,
        parts.clock,
        able=able,
        lost_messages=lost_messages,
        watches=watches,
        tracing=tracing,
    )
    return Pipeline(work, reconciler, dispatcher)


def _refresher(
    parts: Parts,
    builder: Builder,
    stopping: Callable[[], None],
    listener: Listener,
    absent: Absent,
    unseen: Unseen,
    tracing: Tracing,
    one: Equipped,
) -> Refresher:
    """The flow of one edition."""
    return Refresher(
        parts.ledger,
        parts.index,
        _embedding(one, (stopping, partial(builder.may_go_on, one.edition)), tracing),
        one.drafter,
        parts.sources,
        parts.clock,
        listener=telling(one, parts.equipment, listener),
        absent=absent,
        unseen=unseen,
        slice_texts=one.slice_texts,
        tracing=tracing,
    )


def _embedding(one: Equipped, checks: Sequence[Callable[[], None]], tracing: Tracing) -> Embed:
    """``checks`` are called before each slice, and raise to end an attempt early."""

    def embed(texts: Sequence[str], lane: Lane, tokens: Sequence[int]) -> Vectors:
        for check in checks:
            check()
        try:
            with tracing.span("embed", texts=len(texts), tokens=sum(tokens)):
                return one.embed(texts, lane, tokens)
        except Misconfigured as error:  # the model went away: no document is to blame
            raise EmbedderUnavailable(error.message, hint=error.hint) from error

    return embed
