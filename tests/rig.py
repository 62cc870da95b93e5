"""The whole pipeline in one thread: messages wait in a queue, time moves when it is told to.

The same parts as in a daemon, wired by hand so that each can be wrapped, on one database file that
survives them: a process that died is a ``Rig`` thrown away and another one made on the same file.
"""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from ingestion.clock import Clock, SystemClock
from ingestion.database import Database
from ingestion.errors import HeadwaterError, SourceUnavailable
from ingestion.ledger.audits import Audit
from ingestion.ledger.editions import NewEdition
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.sources import SourceRow
from ingestion.ledger.values import Edition, EditionView
from ingestion.parsing.sandbox import Sandbox
from ingestion.records import Lane
from ingestion.sources.port import SourcePort
from ingestion.sources.settling import Batch
from retrieval.embedding.hashing import HashingEmbedder
from retrieval.embedding.port import Vectors
from retrieval.index.embedded import EmbeddedIndex
from retrieval.index.port import Index
from retrieval.search import Searcher, SearchRequest
from tests.servers.postgres import clock_of
from workers.building import Builder, telling
from workers.comparing import EmbedTexts
from workers.dispatch import Dispatcher
from workers.drafting import Drafter
from workers.equipment import Equipment, Equipped
from workers.findings import Findings
from workers.outcomes import Outcome, Result
from workers.reconcile import Listed, Reconciler
from workers.refresh import Refresher
from workers.sight import Sight, seen
from workers.staging import Embed
from workers.upkeep import Upkeep
from workers.work import PipelineWork

SOURCE = "notes"
DIMENSIONS = 32
OTHER_DIMENSIONS = 48  # of a second model

Passage = tuple[str, int, int, tuple[str, ...], str]
"""(URI, start, end, heading path, text) of one live chunk."""


class ShiftedClock:
    """The machine's clock, set forward at will: fast enough to wait for nothing, real enough for files.

    Where a ledger lives on a server, the server's clock goes with it.
    """

    def __init__(self) -> None:
        self._shift_s = 0.0
        self._set_server: Callable[[str, float], None] | None = None

    @property
    def shift_s(self) -> float:
        return self._shift_s

    @shift_s.setter
    def shift_s(self, seconds: float) -> None:
        self._shift_s = seconds
        if self._set_server is not None:
            self._set_server("shift", seconds)

    def lead(self, database: Database) -> None:
        """From now on the database goes by this clock too."""
        self._set_server = clock_of(database) if database.on_server else None
        self.shift_s = self._shift_s

    def now(self) -> float:
        return time.time() + self.shift_s

    def monotonic(self) -> float:
        return time.monotonic() + self.shift_s


class CountingEmbedder:
    """The hashing embedder, and a list of what it was asked to embed."""

    def __init__(self, dimensions: int = DIMENSIONS) -> None:
        self.inner = HashingEmbedder(dimensions=dimensions)
        self.texts: list[str] = []
        self.lanes: list[Lane] = []

    def embed(self, texts: Sequence[str], lane: Lane, tokens: Sequence[int]) -> Vectors:
        assert len(texts) == len(tokens)
        vectors = self.inner.embed_documents(texts)
        self.texts += texts
        self.lanes.append(lane)
        return vectors


class Rig:
    """One process's parts. ``embed`` and ``wrap_index`` let a test stand between them."""

    def __init__(
        self,
        database: Database,
        sources: Iterable[SourcePort],
        *,
        clock: Clock | None = None,
        embedder: CountingEmbedder | None = None,
        other: CountingEmbedder | None = None,
        embed: Embed | None = None,
        wrap_index: Callable[[Index], Index] = lambda index: index,
        wrap_source: Callable[[SourcePort], SourcePort] = lambda source: source,
        drafter: Drafter | None = None,
        sandbox: Sandbox | None = None,
        index: Index | None = None,
        watches: bool = True,
    ) -> None:
        """``index``: where it is not the embedded one in the same file."""
        self.clock = clock or ShiftedClock()
        if isinstance(self.clock, ShiftedClock):
            self.clock.lead(database)
        self.embedder = embedder or CountingEmbedder()
        self.other = other or CountingEmbedder(OTHER_DIMENSIONS)
        self.ready = True  # whether the models are loaded
        self.sources = {source.name: wrap_source(source) for source in sources}
        self.outcomes: list[Outcome] = []
        self.missed: list[tuple[str, int]] = []
        self.queue: deque[tuple[Lane, tuple[int, ...]]] = deque()
        self.beside: deque[tuple[int, tuple[int, ...]]] = deque()  # messages for other editions
        self._embed = embed or self.embedder.embed
        self._given_drafter = drafter
        self.sandbox = sandbox or Sandbox()  # which starts no process before it has something to parse
        self.ledger = Ledger(database, self.clock)
        self.sight = None if watches else Sight(self.ledger)
        self._unseen = seen if self.sight is None else self.sight.unseen
        live = self._live()
        self.index = wrap_index(index or EmbeddedIndex(database))
        self.index.create(live.edition.name, live.edition.dimensions)
        self.equipment = Equipment(self.ledger, self.index, live, self._equip, self.clock)
        self.drafter = live.drafter
        self.dispatcher = Dispatcher(self.ledger, self._send)
        self.reconciler = Reconciler(
            self.ledger,
            self.clock,
            listener=self.outcomes.append,
            send=self.dispatcher.send,
            missed=lambda source, number: self.missed.append((source, number)),
            unseen=self._unseen,
        )
        self.builder = Builder(self.ledger, self.index, self.equipment, self.dispatcher, self.clock)
        self.upkeep = Upkeep(self.ledger, self.index)
        self.work = PipelineWork(
            self.ledger,
            self.equipment,
            self._refresher,
            self.dispatcher,
            self.builder,
            self.upkeep,
            self.reconciler,
            self.sources,
            self.clock,
            watches=watches,
        )
        self.searcher = Searcher(
            self.ledger,
            self.index,
            self.equipment.embed_query,
            self.clock,
            on_demand=self.dispatcher.send,
        )

    @property
    def edition(self) -> Edition:
        """The live one."""
        return self.equipment.live.edition

    @property
    def refresher(self) -> Refresher:
        """That of the live edition."""
        return self.work._refresher(self.equipment.live)

    def _live(self) -> Equipped:
        known = self.ledger.sources.live_edition()
        inner = self.embedder.inner
        if known is not None and known.fingerprint == self.other.inner.fingerprint:
            inner = self.other.inner
        edition = self.ledger.sources.edition(inner.fingerprint, inner.dimensions, inner.description)
        return self._equipped(edition)

    def _equip(self, view: EditionView) -> Equipped:
        return self._equipped(view.edition)

    def _equipped(self, edition: Edition) -> Equipped:
        others = edition.fingerprint == self.other.inner.fingerprint
        inner = (self.other if others else self.embedder).inner

        def embed(texts: Sequence[str], lane: Lane, tokens: Sequence[int]) -> Vectors:
            self.builder.may_go_on(edition)
            return (self.other.embed if others else self._embed)(texts, lane, tokens)

        return Equipped(
            edition,
            inner.fingerprint,
            self._given_drafter
            or Drafter(inner.max_tokens, inner.count_tokens, self.clock, sandbox=self.sandbox),
            embed,
            inner.embed_query,
            ready=lambda: self.ready,
            close=lambda: None,
        )

    def _refresher(self, one: Equipped) -> Refresher:
        return Refresher(
            self.ledger,
            self.index,
            one.embed,
            one.drafter,
            self.sources,
            self.clock,
            listener=telling(one, self.equipment, self.outcomes.append),
            absent=lambda source, uris: self.reconciler.absent(self.sources[source], uris),
            unseen=self._unseen,
        )

    def _send(self, lane: Lane, document_ids: Sequence[int], edition_id: int | None = None, /) -> None:
        if edition_id is None:
            self.queue.append((lane, tuple(document_ids)))
        else:
            self.beside.append((edition_id, tuple(document_ids)))

    def rebuild(self, **options: Any) -> EditionView:
        """The wish for a second edition, of the other model, or of the live one's."""
        live = self.edition.fingerprint
        inner = (self.embedder if live == self.other.inner.fingerprint else self.other).inner
        return self.ledger.editions.start(
            NewEdition(inner.fingerprint, inner.dimensions, inner.description, {}, **options)
        )

    def build(self, *, rounds: int = 40) -> None:
        """Work on what lies beside the live edition until nothing of it waits, as often as it takes."""
        for _ in range(rounds):
            attempt(self.work.dispatch)
            self.work_off()
            if not self.beside:
                return
            self.build_off()
            self.advance(3.0)
        raise AssertionError("the build did not end")

    def build_off(self) -> None:
        while self.beside:
            edition_id, document_ids = self.beside.popleft()
            attempt(
                lambda key=edition_id, ids=document_ids: self.work.refresh(ids, Lane.BULK, key)  # type: ignore[misc]
            )

    def recover(self) -> None:
        """What a daemon does first: whoever held a lease, or had messages under way, is dead."""
        self.ledger.claims.reap(all_leases=True)
        self.ledger.claims.forget_messages()
        self.ledger.sources.configure(
            [SourceRow(source.name, source.kind, source.location) for source in self.sources.values()]
        )
        self.ledger.claims.reindex(self.edition, self.drafter.pipelines)
        self.equipment.look()

    def scan(self, source: str = SOURCE) -> Listed:
        """A complete listing, as the schedule asks for it."""
        self.work.list_source(source)
        return self.work.listed[source]

    def look(self, *uris: str, subtrees: Sequence[str] = (), source: str = SOURCE) -> Listed | None:
        """A look at what hints named, as the watcher does it. None where it became a listing."""
        try:
            return self.reconciler.look(self.sources[source], Batch(uris, tuple(subtrees), {}))
        except SourceUnavailable:
            self.work.list_source(source)
            return None

    def work_off(self, *, most: int = 10_000) -> None:
        """Carry out every message that waits, and those that they bring. A task's error ends the task.

        ``most`` messages: what is handed back at once is sent again at once, to a process that goes on.
        """
        for _ in range(most):
            if not self.queue:
                return
            lane, document_ids = self.queue.popleft()
            attempt(lambda lane=lane, ids=document_ids: self.work.refresh(ids, lane))  # type: ignore[misc]

    def settle(self, *, rounds: int = 40) -> None:
        """Work until nothing is pending or all that is waits for a person; time passes as needed."""
        for _ in range(rounds):
            attempt(self.work.dispatch)
            self.work_off()
            if not self.open_documents() and not self.work._unlisted:
                return
            self.advance(61.0)  # past every fault's delay, lost message and first backoffs
        raise AssertionError(f"these never settled: {self.open_documents()}")

    def sync(self, source: str = SOURCE) -> Listed:
        listed = self.scan(source)
        self.settle()
        return listed

    def audit(self, *, repair: bool = True, embed: EmbedTexts | None = None) -> tuple[Audit, Findings]:
        """As the schedule has it done, or a command; with ``embed`` a deep one. Nobody watches meanwhile."""
        auditor = self.upkeep.auditor(self.reconciler, self.sources, self.work.list_source, settle_s=0.0)
        return auditor.audit(self.edition, repair=repair, deep=embed is not None, embed=embed)

    def advance(self, seconds: float) -> None:
        assert isinstance(self.clock, ShiftedClock)
        self.clock.shift_s += seconds

    def sweep(self) -> None:
        """Everything dead leaves the index."""
        self.advance(120.0)
        self.upkeep.sweep()

    def open_documents(self) -> list[str]:
        return [
            f"{view.uri}: {view.error}" for view in self.ledger.views.documents(state="pending", limit=1000)
        ]

    def states(self) -> dict[str, str]:
        """State by URI of everything that is not retired."""
        return {view.uri: view.state for view in self.ledger.views.documents(limit=10_000)}

    def document_ids(self) -> dict[str, int]:
        return {view.uri: view.document_id for view in self.ledger.views.documents(limit=10_000)}

    def passages(self) -> list[Passage]:
        """Every live chunk, by URI and place, with the text that the index holds for it."""
        rows = list(self.ledger.views.export())
        texts = self.index.texts(self.edition.name, [row.chunk_id for row in rows])
        return [(row.uri, row.start, row.end, row.heading_path, texts[row.chunk_id]) for row in rows]

    def answers(self, question: str, top_k: int = 100) -> list[tuple[float, str, int, str]]:
        """(score, URI, start, text) of what a search finds, in an order that ids do not decide."""
        hits = self.searcher.search(SearchRequest(question, top_k=top_k)).hits
        return sorted((-round(hit.score, 4), hit.uri, hit.start, hit.text) for hit in hits)

    def results(self, result: Result) -> list[str]:
        return [outcome.uri for outcome in self.outcomes if outcome.result is result]

    def forget_outcomes(self) -> None:
        self.outcomes.clear()
        self.embedder.texts.clear()

    def consistent(self) -> None:
        """The index holds every live chunk, and nothing that the ledger does not know."""
        for edition in [view.edition for view in self.ledger.editions.fed()]:
            held = {chunk_id for chunk_id, _ in self.index.ids(edition.name)}
            assert held >= set(self.live_chunks(edition))
            assert held == self.ledger.audits.known(edition, sorted(held)).keys()

    def live_chunks(self, edition: Edition | None = None) -> list[str]:
        """Ids of everything live in an edition, of the live one by default."""
        return [one.chunk_id for one in self.ledger.audits.live(edition or self.edition)]


def attempt(task: Callable[[], object]) -> None:
    """As Celery runs a task: the project's own errors end it and nothing else."""
    try:
        task()
    except HeadwaterError:
        return


def fresh_database(folder: Path) -> Database:
    """A migrated database file in a folder, copied: a migration takes a quarter of a second."""
    path = folder / "headwater.sqlite"
    shutil.copy(_migrated(), path)
    return Database.file(path)


def from_scratch(
    folder: Path, sources: Sequence[SourcePort], questions: Sequence[str]
) -> tuple[list[Passage], Mapping[str, list[tuple[float, str, int, str]]]]:
    """What an index made of these sources now, with nothing going wrong, holds and answers."""
    folder.mkdir()
    database = fresh_database(folder)
    rig = Rig(database, sources)
    rig.recover()
    for source in sources:
        rig.sync(source.name)
    found = rig.passages(), {question: rig.answers(question) for question in questions}
    database.close()
    shutil.rmtree(folder)
    return found


@cache
def _migrated() -> Path:
    path = Path(mkdtemp(prefix="headwater-tests-")) / "migrated.sqlite"
    database = Database.file(path)
    Ledger(database, SystemClock())
    database.close()
    return path
