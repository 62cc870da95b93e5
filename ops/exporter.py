"""What monitors see. States are computed from the ledger when they are asked for; only what no ledger
keeps (how long a change took, what was embedded, what a search cost) is counted as it happens.

Labels name sources, stages, lanes and states, never documents. Nothing here decides anything, and a
ledger that cannot be read costs the states of that scrape, never the scrape.
"""

from __future__ import annotations

import functools
import platform
import sqlite3
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from ingestion.objectives import Kind, Objective
from ingestion.own import is_own
from ingestion.records import Lane
from ops.broker_gauges import BrokerGauges, BrokerPort
from ops.clock_skew import ClockSkew
from ops.ledger_gauges import LedgerGauges
from ops.stages import stages
from workers.outcomes import Outcome, Result

if TYPE_CHECKING:
    from ingestion.clock import Clock
    from ingestion.ledger.ledger import Ledger
    from retrieval.answers import Mode
    from workers.canary import Round

# An edit takes tens of milliseconds; a first index, an outage or a document that fails for a weekend days.
FRESHNESS_BUCKETS_S = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0, 86400.0, 604800.0),
)
SEARCH_BUCKETS_S = (0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
EMBEDDING_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

CANARY_BUCKETS_S = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0, 60.0)

CHUNK_RESULTS = ("embedded", "reused", "retired")
TROUBLES = (Result.FAILED, Result.DEAD, Result.FAULT)
ANSWERS = ("hybrid", "text", "none")
HISTOGRAMS_BEGUN = 100  # sources; with 1,000, a scrape of each idle process would take most of a second
JUDGED = (Kind.CHANGE, Kind.DELETION)
_NONE: Mapping[str, Objective] = MappingProxyType({})


class Metrics:
    """The hooks of one process, and its registry. Safe to call from any thread.

    What is counted for each document keeps its series at hand: finding them took longer than counting.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        *,
        version: str,
        sources: Mapping[str, Objective] = _NONE,
        states: bool = True,
        broker: BrokerPort | None = None,
    ) -> None:
        """``sources``, with what is promised of them, get their counters at zero at once, and histograms of
        the whole time that edits and deletions take, so that the first increment is seen as one. ``states``:
        whether this process shows those of the ledger, and of the ``broker`` where there is one; of several
        processes, one does.
        """
        self.registry = CollectorRegistry()
        self._objectives = sources
        self._make_promised()
        self._make_counts()
        self._make_search()
        self._make_canary()
        info = Gauge(
            "headwater_build_info",
            "Always 1; the labels say what is running.",
            ["version", "python", "sqlite"],
            registry=self.registry,
        )
        info.labels(version, platform.python_version(), sqlite3.sqlite_version).set(1)
        self._begin_at_zero()
        if states:
            self.registry.register(LedgerGauges(ledger, clock))
        if states and broker is not None:
            self.registry.register(BrokerGauges(broker, clock))
        if ledger.database.on_server:
            self.registry.register(ClockSkew(ledger, clock))
        ProcessCollector(registry=self.registry)

    def _begin_at_zero(self) -> None:
        for source in self._objectives:
            self._scan_missed.labels(source)
            self._overflows.labels(source)
            for result in CHUNK_RESULTS:
                self._chunks(source, result)
            for trouble in TROUBLES:
                self._outcomes(source, trouble)
            if len(self._objectives) <= HISTOGRAMS_BEGUN:
                self._freshness(source, "total", Lane.FRESH)
                self._deletion(source, "total")
            for kind in JUDGED:
                for met in ("true", "false"):
                    self._objective(source, kind, met)
        for answer in ANSWERS:
            self._searches.labels(answer)
        for lane in Lane:
            self._texts.labels(lane)
            self._tokens.labels(lane)

    def _make_promised(self) -> None:
        """What the objectives speak of."""
        self._freshness = functools.cache(
            Histogram(
                "headwater_freshness_seconds",
                "From a change at its source to each stage's end: detect, queue, process, publish, total.",
                ["source", "stage", "lane"],
                buckets=FRESHNESS_BUCKETS_S,
                registry=self.registry,
            ).labels
        )
        self._deletion = functools.cache(
            Histogram(
                "headwater_deletion_seconds",
                "From a deletion at its source until it was confirmed (detect), and until no search shows it "
                "(total).",
                ["source", "stage"],
                buckets=FRESHNESS_BUCKETS_S,
                registry=self.registry,
            ).labels
        )
        self._objective = functools.cache(
            Counter(
                "headwater_objective_changes_total",
                "Changes and deletions that were finished, by whether they met their source's objective.",
                ["source", "kind", "met"],
                registry=self.registry,
            ).labels
        )

    def _make_counts(self) -> None:
        registry = self.registry
        self._outcomes = functools.cache(
            Counter(
                "headwater_outcomes_total",
                "Transitions of documents, by what became of them.",
                ["source", "result"],
                registry=registry,
            ).labels
        )
        self._chunks = functools.cache(
            Counter(
                "headwater_chunks_total",
                "Chunks made searchable by embedding them or by a vector that was there, and chunks retired.",
                ["source", "result"],
                registry=registry,
            ).labels
        )
        self._texts = Counter(
            "headwater_texts_embedded_total", "Texts the model was run on.", ["lane"], registry=registry
        )
        self._tokens = Counter(
            "headwater_tokens_embedded_total",
            "Tokens in those texts; characters, where an endpoint has the tokenizer.",
            ["lane"],
            registry=registry,
        )
        self._embedding = Histogram(
            "headwater_embedding_seconds",
            "Time the model took for one batch of passages.",
            ["lane"],
            buckets=EMBEDDING_BUCKETS_S,
            registry=registry,
        )
        self._billed = Counter(
            "headwater_provider_tokens_total",
            "Tokens the embedding endpoint counted in what it answered, questions included.",
            registry=registry,
        )
        self._cost = Counter(
            "headwater_provider_cost_total",
            "Their price, in the currency of embedding.price_per_million_tokens.",
            registry=registry,
        )
        self._scan_missed = Counter(
            "headwater_scan_missed_changes_total",
            "Changes that a periodic scan found and no event had announced.",
            ["source"],
            registry=registry,
        )
        self._overflows = Counter(
            "headwater_queue_overflows_total",
            "Times the system's event queue overflowed; each is followed by a scan.",
            ["source"],
            registry=registry,
        )

    def _make_search(self) -> None:
        registry = self.registry
        self._search = Histogram(
            "headwater_search_seconds",
            "Time a search took, the embedding of the question included.",
            buckets=SEARCH_BUCKETS_S,
            registry=registry,
        )
        self._searches = Counter(
            "headwater_searches_total",
            "Searches, by the answer they got: hybrid, text (words alone, the model was away), none.",
            ["answer"],
            registry=registry,
        )
        self._hits = Counter("headwater_search_hits_total", "Passages served.", registry=registry)
        self._stale = Counter(
            "headwater_search_stale_hits_total",
            "Passages served while a newer revision was pending.",
            registry=registry,
        )
        self._candidates = Counter(
            "headwater_search_candidates_total",
            "Chunks the index returned, before the fence.",
            registry=registry,
        )
        self._fenced_out = Counter(
            "headwater_search_fenced_out_total",
            "Chunks the fence kept back: replaced or deleted, and not yet swept.",
            registry=registry,
        )

    def _make_canary(self) -> None:
        self._canary = Histogram(
            "headwater_canary_seconds",
            "From a change of the canary's document until searches answered accordingly.",
            ["kind", "step"],
            buckets=CANARY_BUCKETS_S,
            registry=self.registry,
        )
        self._canary_failures = Counter(
            "headwater_canary_failures_total",
            "Rounds of the canary that failed, by the step at which they did.",
            ["kind", "step"],
            registry=self.registry,
        )

    def outcome(self, outcome: Outcome) -> None:
        """A listener of the workers. First revisions from a bulk lane stay apart, under ``lane=bulk``."""
        self._outcomes(outcome.source, outcome.result).inc()
        for result, number in zip(
            CHUNK_RESULTS, (outcome.embedded, outcome.reused, outcome.dropped), strict=True
        ):
            if number:
                self._chunks(outcome.source, result).inc(number)
        if outcome.result in (Result.PUBLISHED, Result.RENAMED, Result.RETIRED):
            self._took(outcome, Kind.DELETION if outcome.result is Result.RETIRED else Kind.CHANGE)

    def _took(self, outcome: Outcome, kind: Kind) -> None:
        """How long it was until searches showed it, or the lack of it."""
        took = stages(
            changed_at=outcome.changed_at,
            observed_at=outcome.observed_at,
            claimed_at=outcome.claimed_at,
            staged_at=outcome.staged_at,
            finished_at=outcome.finished_at,
        )
        is_first = outcome.new and outcome.lane is Lane.BULK  # one of many that a source holds at first
        # Of a document, but never its name.
        exemplar = None if is_first else {"generation": str(outcome.generation)}
        for stage, seconds in took.items():
            if kind is Kind.DELETION:
                self._deletion(outcome.source, stage).observe(seconds, exemplar)
            else:
                self._freshness(outcome.source, stage, outcome.lane).observe(seconds, exemplar)
        if "total" in took and not is_first:
            objective = self._objectives.get(outcome.source) or Objective()
            met = "true" if objective.is_met(kind, took["total"]) else "false"
            self._objective(outcome.source, kind, met).inc()

    def embedded(self, lane: Lane, texts: int, tokens: int, seconds: float) -> None:
        """One batch went through the model."""
        self._texts.labels(lane).inc(texts)
        self._tokens.labels(lane).inc(tokens)
        self._embedding.labels(lane).observe(seconds)

    def billed(self, tokens: int, cost: float) -> None:
        """An embedding endpoint answered."""
        self._billed.inc(tokens)
        self._cost.inc(cost)

    def searched(
        self, mode: Mode, seconds: float, hits: int, candidates: int, fenced_out: int, stale: int
    ) -> None:
        """One search was answered."""
        self._searches.labels(mode).inc()
        self._search.observe(seconds)
        self._hits.inc(hits)
        self._candidates.inc(candidates)
        self._fenced_out.inc(fenced_out)
        self._stale.inc(stale)

    def canary_begins(self, kind: str, steps: Sequence[str]) -> None:
        """A canary will sing here: its first failure is to be seen as one."""
        for step in steps:
            self._canary.labels(kind, step)
            self._canary_failures.labels(kind, step)

    def sang(self, kind: str, went: Round) -> None:
        """A round of the canary is over."""
        for step, seconds in went.took.items():
            self._canary.labels(kind, step).observe(seconds)
        if went.failed is not None:
            self._canary_failures.labels(kind, went.failed).inc()

    def search_failed(self) -> None:
        """One search was not answered."""
        self._searches.labels("none").inc()

    def scan_missed(self, source: str, changes: int) -> None:
        """A scan found changes that no event had announced."""
        if not is_own(source):
            self._scan_missed.labels(source).inc(changes)

    def overflow(self, source: str) -> None:
        """Events were lost; a scan follows."""
        if not is_own(source):
            self._overflows.labels(source).inc()

    def render(self, accept: str = "") -> tuple[str, bytes]:
        """Content type and body of ``/metrics``: OpenMetrics where the Accept header asks for it."""
        encoder, content_type = choose_encoder(accept)
        return content_type, encoder(self.registry)

    def rendered(self, accept: str = "") -> tuple[bytes, str]:
        """The same, as the API hands it on."""
        content_type, body = self.render(accept)
        return body, content_type
