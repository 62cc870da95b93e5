"""What monitors read: names, labels, states from the ledger, and what happens when it is away."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as classic

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.errors import BrokerUnavailable, LedgerUnavailable
from ingestion.ledger.audits import Audit
from ingestion.ledger.sources import SourceRow
from ingestion.objectives import Objective
from ingestion.own import canary_of
from ingestion.records import Drift, Lane
from ops import backlog, looked
from ops.clock_skew import ClockSkew
from ops.exporter import ANSWERS, FRESHNESS_BUCKETS_S, HISTOGRAMS_BEGUN, Metrics
from ops.ledger_gauges import LedgerGauges
from ops.verdicts import Verdict
from tests.unit.ops.books import START, Books, SetClock
from workers.outcomes import Outcome, Result


@pytest.fixture
def metrics(books: Books) -> Metrics:
    return Metrics(books.ledger, books.clock, version="1.2.3", sources={"handbook": Objective()})


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def outcome(result: Result = Result.PUBLISHED, *, lane: Lane = Lane.FRESH, new: bool = False) -> Outcome:
    return Outcome(
        result,
        "handbook",
        "leave.md",
        1,
        7,
        lane,
        finished_at=START + 0.7,
        new=new,
        chunks=14,
        embedded=2,
        reused=1,
        dropped=3,
        changed_at=START,
        observed_at=START + 0.1,
        claimed_at=START + 0.3,
        staged_at=START + 0.6,
    )


def test_states_come_from_the_ledger(books: Books, metrics: Metrics, clock: SetClock) -> None:
    books.listed("handbook")
    live, failed = books.want("handbook", "live.md", "failed.md")
    books.publish(live)
    books.fail(failed)
    clock.at = START + 60
    books.want("handbook", "waiting.md", lane=Lane.BULK)
    clock.at = START + 100

    assert value(metrics, "headwater_exporter_up") == 1
    assert value(metrics, "headwater_index_lag_seconds", source="handbook") == 40
    assert value(metrics, "headwater_watermark_timestamp_seconds", source="handbook") == START
    assert value(metrics, "headwater_last_listing_timestamp_seconds", source="handbook") == START
    assert value(metrics, "headwater_documents", source="handbook", state="live") == 1
    assert value(metrics, "headwater_documents", source="handbook", state="pending") == 1
    assert value(metrics, "headwater_documents", source="handbook", state="failed") == 1
    assert value(metrics, "headwater_documents", source="handbook", state="held") == 0
    assert value(metrics, "headwater_dead_letters", source="handbook") == 1
    assert value(metrics, "headwater_pending", lane="bulk") == 1
    assert value(metrics, "headwater_pending", lane="fresh") == 0
    assert value(metrics, "headwater_pending_oldest_age_seconds", lane="bulk") == 40
    assert value(metrics, "headwater_pending_oldest_age_seconds", lane="fresh") == 0
    assert value(metrics, "headwater_source_fault", source="handbook") == 0


def test_the_last_audit_is_shown_by_kind_and_absent_before_one(
    books: Books, metrics: Metrics, clock: SetClock
) -> None:
    assert value(metrics, "headwater_last_audit_timestamp_seconds") is None
    assert value(metrics, "headwater_audit_drift", kind="chunk_missing") is None
    clock.at += looked.CACHE_S
    found = {Drift.CHUNK_MISSING: 3}
    books.ledger.audits.record(Audit(books.edition.name, START, START + 2, 9, False, False, "", found))
    assert value(metrics, "headwater_last_audit_timestamp_seconds") == START + 2
    assert value(metrics, "headwater_audit_drift", kind="chunk_missing") == 3
    for kind in set(Drift) - {Drift.CHUNK_MISSING}:
        assert value(metrics, "headwater_audit_drift", kind=kind) == 0


def test_a_canary_is_shown_and_its_source_is_not(books: Books, metrics: Metrics, clock: SetClock) -> None:
    own = canary_of("files")
    books.ledger.sources.add([SourceRow(own, "files", "/canary")])
    books.fail(books.want(own, "canary.md")[0])
    books.want(own, "anchor.md", lane=Lane.BULK)
    metrics.scan_missed(own, 1)
    metrics.overflow(own)
    text = metrics.rendered()[0].decode()
    assert own not in text and "\nheadwater_canary_success{" not in text
    assert value(metrics, "headwater_pending", lane="bulk") == 0
    for failed in ("write", None, "delete"):
        number = books.ledger.canaries.begin("files", every_s=30.0, lease_s=1.0)
        assert number is not None
        books.ledger.canaries.end("files", number, took={}, failed=failed, again_s=100.0)
        clock.at += 60.0
        assert value(metrics, "headwater_canary_success", kind="files") == (failed is None)
    assert value(metrics, "headwater_canary_last_success_timestamp_seconds", kind="files") == START + 60


def test_lag_grows_between_looks_at_the_ledger(books: Books, metrics: Metrics, clock: SetClock) -> None:
    books.want("handbook", "waiting.md")
    assert value(metrics, "headwater_index_lag_seconds", source="handbook") == 0
    clock.at += 3
    assert value(metrics, "headwater_index_lag_seconds", source="handbook") == 3


def test_ages_go_by_the_clock_of_the_ledger(
    books: Books, metrics: Metrics, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a server that is its own: this machine's may be set otherwise."""
    books.want("handbook", "waiting.md")
    monkeypatch.setattr(books.ledger, "now", lambda: clock.at + 100.0)
    assert value(metrics, "headwater_index_lag_seconds", source="handbook") == 100
    clock.at += 3
    assert value(metrics, "headwater_index_lag_seconds", source="handbook") == 103


def test_a_source_that_was_never_listed_has_no_watermark(metrics: Metrics) -> None:
    assert value(metrics, "headwater_watermark_timestamp_seconds", source="handbook") is None
    assert value(metrics, "headwater_index_lag_seconds", source="handbook") == 0


def test_sources_that_left_the_settings_are_not_shown(books: Books, metrics: Metrics) -> None:
    books.want("handbook", "old.md")
    books.configure(notes="/srv/notes")
    assert value(metrics, "headwater_index_lag_seconds", source="handbook") is None
    assert value(metrics, "headwater_index_lag_seconds", source="notes") == 0


def test_the_ledger_is_asked_once_in_five_seconds(books: Books, metrics: Metrics, clock: SetClock) -> None:
    assert value(metrics, "headwater_pending", lane="fresh") == 0
    books.want("handbook", "waiting.md")
    clock.at += looked.CACHE_S - 0.1
    assert value(metrics, "headwater_pending", lane="fresh") == 0
    clock.at += 0.2
    assert value(metrics, "headwater_pending", lane="fresh") == 1


def test_a_ledger_that_cannot_be_read_costs_the_states_only(tmp_path: Path) -> None:
    path = tmp_path / "headwater.db"
    database = Database.file(path)
    clock = SetClock()
    books = Books(database, clock)
    books.configure(handbook="/srv/handbook")
    metrics = Metrics(books.ledger, clock, version="1", sources={"handbook": Objective()})
    metrics.outcome(outcome())
    assert value(metrics, "headwater_index_lag_seconds", source="handbook") == 0
    database.close()
    body = path.read_bytes()
    path.write_bytes(b"this is no database at all, not one bit of it" * 200)
    path.with_name("headwater.db-wal").unlink(missing_ok=True)

    clock.at += 10
    assert value(metrics, "headwater_exporter_up") == 0
    assert value(metrics, "headwater_index_lag_seconds", source="handbook") is None
    assert value(metrics, "headwater_outcomes_total", source="handbook", result="published") == 1

    database.close()
    path.write_bytes(body)
    assert value(metrics, "headwater_exporter_up") == 1
    database.close()


def test_a_slow_ledger_does_not_hold_a_scrape(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look goes on in the background, and the next scrape has what it found."""
    gate = threading.Event()
    look = backlog.look

    def slow(ledger: object) -> object:
        assert gate.wait(10)
        return look(books.ledger)

    monkeypatch.setattr(backlog, "look", slow)
    gauges = LedgerGauges(books.ledger, SystemClock(), timeout_s=0.05)
    assert [(family.name, family.samples[0].value) for family in gauges.collect()] == [
        ("headwater_exporter_up", 0.0)
    ]
    gate.set()
    patient = [family.name for family in gauges.collect()]
    deadline = threading.Event()
    for _ in range(100):
        if "headwater_pending" in patient:
            break
        deadline.wait(0.05)
        patient = [family.name for family in gauges.collect()]
    assert "headwater_pending" in patient


def test_a_failure_is_told_once_and_so_is_the_recovery(
    books: Books, clock: SetClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "headwater.exporter")
    gauges = LedgerGauges(books.ledger, clock)

    def broken(_ledger: object) -> object:
        raise LedgerUnavailable("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(backlog, "look", broken)
        for _ in range(3):
            list(gauges.collect())
    list(gauges.collect())
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_freshness_is_split_by_stage_and_lane(metrics: Metrics) -> None:
    metrics.outcome(outcome())
    metrics.outcome(outcome(lane=Lane.BULK, new=True))
    expected = {"detect": 0.1, "queue": 0.2, "process": 0.3, "publish": 0.1, "total": 0.7}
    for stage, seconds in expected.items():
        for lane in Lane:
            labels = {"source": "handbook", "stage": stage, "lane": lane.value}
            assert value(metrics, "headwater_freshness_seconds_count", **labels) == 1
            assert value(metrics, "headwater_freshness_seconds_sum", **labels) == pytest.approx(
                seconds, rel=1e-4
            )


@pytest.mark.parametrize("result", [Result.UNCHANGED, Result.FAILED, Result.FAULT, Result.HELD, Result.DEAD])
def test_what_made_nothing_searchable_is_no_freshness(metrics: Metrics, result: Result) -> None:
    metrics.outcome(outcome(result))
    assert value(metrics, "headwater_outcomes_total", source="handbook", result=result.value) == 1
    assert took(metrics) == {"change": 0, "deletion": 0}


@pytest.mark.parametrize("result", [Result.FAILED, Result.DEAD, Result.FAULT])
def test_the_first_trouble_is_seen_as_one(metrics: Metrics, result: Result) -> None:
    """A rate needs a number from before."""
    assert value(metrics, "headwater_outcomes_total", source="handbook", result=result.value) == 0


def took(metrics: Metrics) -> dict[str, float | None]:
    """How many changes and deletions their histograms hold."""
    labels = {"source": "handbook", "stage": "total"}
    return {
        "change": value(metrics, "headwater_freshness_seconds_count", lane="fresh", **labels),
        "deletion": value(metrics, "headwater_deletion_seconds_count", **labels),
    }


def test_chunks_are_counted_by_what_became_of_them(metrics: Metrics) -> None:
    assert value(metrics, "headwater_chunks_total", source="handbook", result="embedded") == 0
    metrics.outcome(outcome())
    metrics.outcome(outcome())
    for result, number in {"embedded": 4, "reused": 2, "retired": 6}.items():
        assert value(metrics, "headwater_chunks_total", source="handbook", result=result) == number


def test_work_and_searches_are_counted(metrics: Metrics) -> None:
    metrics.embedded(Lane.BULK, 8, 900, 0.2)
    metrics.searched("hybrid", 0.012, 5, 20, 3, 1)
    metrics.search_failed()
    metrics.scan_missed("handbook", 4)
    metrics.overflow("handbook")
    assert value(metrics, "headwater_texts_embedded_total", lane="bulk") == 8
    assert value(metrics, "headwater_texts_embedded_total", lane="fresh") == 0
    assert value(metrics, "headwater_tokens_embedded_total", lane="bulk") == 900
    assert value(metrics, "headwater_embedding_seconds_sum", lane="bulk") == 0.2
    assert value(metrics, "headwater_search_seconds_count") == 1
    told = {answer: value(metrics, "headwater_searches_total", answer=answer) for answer in ANSWERS}
    assert told == {"hybrid": 1, "text": 0, "none": 1}
    assert value(metrics, "headwater_search_hits_total") == 5
    assert value(metrics, "headwater_search_candidates_total") == 20
    assert value(metrics, "headwater_search_fenced_out_total") == 3
    assert value(metrics, "headwater_search_stale_hits_total") == 1
    assert value(metrics, "headwater_scan_missed_changes_total", source="handbook") == 4
    assert value(metrics, "headwater_queue_overflows_total", source="handbook") == 1


def test_both_formats_are_served_and_can_be_parsed(metrics: Metrics) -> None:
    metrics.outcome(outcome())
    kind, body = metrics.render("text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
    assert kind.startswith("text/plain")
    names = {family.name for family in classic(body.decode())}
    kind, body = metrics.render("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    families = openmetrics(body.decode())  # type: ignore[no-untyped-call]
    assert names >= {family.name for family in families if family.type != "counter"}
    assert {"headwater_freshness_seconds", "headwater_build_info", "headwater_index_lag_seconds"} <= names


def test_no_label_names_a_document(books: Books, metrics: Metrics) -> None:
    books.fail(books.want("handbook", "secret-plan.md")[0])
    metrics.outcome(outcome())
    body = metrics.render()[1].decode()
    assert "secret-plan" not in body
    assert "leave.md" not in body


def test_two_daemons_in_one_process_do_not_share_a_registry(books: Books, metrics: Metrics) -> None:
    other = Metrics(books.ledger, books.clock, version="1.2.3")
    metrics.overflow("handbook")
    assert value(other, "headwater_queue_overflows_total", source="handbook") is None


def promised(metrics: Metrics, kind: str, met: str) -> float | None:
    return value(metrics, "headwater_objective_changes_total", source="handbook", kind=kind, met=met)


def test_deletions_are_a_series_of_their_own(metrics: Metrics) -> None:
    gone = replace(outcome(Result.RETIRED), claimed_at=None, staged_at=None)
    metrics.outcome(gone)
    for stage, seconds in {"detect": 0.1, "total": 0.7}.items():
        labels = {"source": "handbook", "stage": stage}
        assert value(metrics, "headwater_deletion_seconds_sum", **labels) == pytest.approx(seconds, rel=1e-4)
    assert took(metrics) == {"change": 0, "deletion": 1}
    assert (promised(metrics, "deletion", "true"), promised(metrics, "change", "true")) == (1, 0)


def test_what_is_finished_is_judged_by_the_objective(books: Books) -> None:
    metrics = Metrics(books.ledger, books.clock, version="1", sources={"handbook": Objective(within_s=0.5)})
    assert [promised(metrics, kind, met) for kind in ("change", "deletion") for met in ("true", "false")] == [
        0
    ] * 4
    metrics.outcome(outcome())  # 0.7 s
    metrics.outcome(replace(outcome(Result.RENAMED), changed_at=START + 0.4))
    metrics.outcome(outcome(Result.RETIRED))
    metrics.outcome(replace(outcome(), changed_at=None))  # read again for a reason of our own
    metrics.outcome(outcome(lane=Lane.BULK, new=True))
    metrics.outcome(outcome(Result.UNCHANGED))
    assert (promised(metrics, "change", "false"), promised(metrics, "change", "true")) == (1, 1)
    assert (promised(metrics, "deletion", "true"), promised(metrics, "deletion", "false")) == (1, 0)


def test_objectives_verdicts_and_budgets_come_from_the_ledger(
    books: Books, metrics: Metrics, clock: SetClock
) -> None:
    books.ledger.sources.configure(
        [SourceRow("handbook", "files", "/srv/handbook", Objective(share=0.5, within_s=30.0))]
    )
    books.listed("handbook")
    books.ledger.sources.heartbeat({"handbook": START}, {"handbook": START - 7})
    books.publish(books.want("handbook", "a.md")[0])
    books.want("handbook", "late.md")
    clock.at = START + 40
    assert value(metrics, "headwater_objective_share", source="handbook") == 0.5
    within = {
        kind: value(metrics, "headwater_objective_within_seconds", source="handbook", kind=kind)
        for kind in ("change", "deletion")
    }
    assert within == {"change": 30.0, "deletion": 5.0}
    assert value(metrics, "headwater_last_event_timestamp_seconds", source="handbook") == START - 7
    assert value(metrics, "headwater_overdue", source="handbook") == 1
    # One in time, one late already, and every second one may be.
    assert value(metrics, "headwater_error_budget_left_ratio", source="handbook") == pytest.approx(0.0)
    verdicts = {
        verdict: value(metrics, "headwater_verdict", source="handbook", verdict=verdict)
        for verdict in Verdict
    }
    assert verdicts == {**dict.fromkeys(Verdict, 0.0), Verdict.LAGGING: 1.0}


def test_an_exemplar_is_the_generation_and_nothing_else(metrics: Metrics) -> None:
    metrics.outcome(outcome())
    metrics.outcome(outcome(Result.RETIRED))
    metrics.outcome(replace(outcome(lane=Lane.BULK, new=True), generation=8))  # a first index has none
    body = metrics.render("application/openmetrics-text;version=1.0.0")[1].decode()
    families = openmetrics(body)  # type: ignore[no-untyped-call]
    shown = {
        family.name: [sample.exemplar for sample in family.samples if sample.exemplar] for family in families
    }
    for name in ("headwater_freshness_seconds", "headwater_deletion_seconds"):
        assert shown[name]
        assert all(exemplar.labels == {"generation": "7"} for exemplar in shown[name])
    assert "# {" not in metrics.render("text/plain")[1].decode()


def samples(metrics: Metrics) -> int:
    return sum(len(family.samples) for family in metrics.registry.collect())


def test_a_thousand_sources_have_a_bounded_number_of_series_whatever_their_documents(
    books: Books, clock: SetClock
) -> None:
    """Each source has the same, however much it holds: what a monitor must store can be told beforehand."""
    names = [f"source {number}" for number in range(1000)]
    books.ledger.sources.configure([SourceRow(name, "files", f"/srv/{name}") for name in names])
    none = Metrics(books.ledger, clock, version="1")
    metrics = Metrics(books.ledger, clock, version="1", sources=dict.fromkeys(names, Objective()))
    clock.at += looked.CACHE_S
    of_states = samples(none)
    assert of_states <= 30 * 1000 + 200
    per_stage = len(FRESHNESS_BUCKETS_S) + 4  # beside the buckets: +Inf, count, sum, created
    at_first = samples(metrics)
    assert at_first - of_states == 1000 * 12 * 2
    few = dict.fromkeys(names[:HISTOGRAMS_BEGUN], Objective())
    of_few = samples(Metrics(books.ledger, clock, version="1", sources=few)) - of_states
    assert of_few == HISTOGRAMS_BEGUN * (2 * per_stage + 12 * 2), "not so many that their histograms cost"
    published, retired = outcome(), replace(outcome(Result.RETIRED), claimed_at=None, staged_at=None)
    for name in names[:3]:
        for number in range(50):
            for one in (published, retired):
                metrics.outcome(replace(one, source=name, uri=f"{number}.md", generation=number))
        books.want(name, *(f"{number}.md" for number in range(50)))
    clock.at += looked.CACHE_S
    assert samples(none) == of_states
    of_stages, of_outcomes = (5 + 2) * per_stage, 2 * 2
    assert samples(metrics) - at_first == 3 * (of_stages + of_outcomes)


class SharedBroker:
    """Answers as a Redis would; the real one is in the integration tests."""

    def __init__(self) -> None:
        self.away = False
        self.ratio: float | None = 0.25

    def waiting(self, lane: Lane) -> int:
        if self.away:
            raise BrokerUnavailable("The broker does not answer.")
        return {Lane.FRESH: 3, Lane.BULK: 8}[lane]

    def memory_ratio(self) -> float | None:
        return self.ratio


def test_the_broker_is_shown_by_whoever_shows_states(books: Books, clock: SetClock) -> None:
    broker = SharedBroker()
    metrics = Metrics(books.ledger, clock, version="1", broker=broker)
    assert value(metrics, "headwater_broker_up") == 1
    assert value(metrics, "headwater_broker_messages", lane="fresh") == 3
    assert value(metrics, "headwater_broker_messages", lane="bulk") == 8
    assert value(metrics, "headwater_broker_memory_ratio") == 0.25
    broker.ratio = None
    clock.at += looked.CACHE_S
    assert value(metrics, "headwater_broker_memory_ratio") is None
    broker.away = True
    clock.at += looked.CACHE_S
    assert value(metrics, "headwater_broker_up") == 0
    assert value(metrics, "headwater_broker_messages", lane="fresh") is None
    assert value(Metrics(books.ledger, clock, version="1"), "headwater_broker_up") is None


def test_a_process_that_shows_no_states_asks_nobody_for_them(books: Books, clock: SetClock) -> None:
    metrics = Metrics(books.ledger, clock, version="1", states=False, broker=SharedBroker())
    names = {family.name for family in metrics.registry.collect()}
    assert "headwater_freshness_seconds" in names
    assert not names & {"headwater_exporter_up", "headwater_verdict", "headwater_broker_up"}


def test_the_skew_is_this_clock_minus_the_ledger_s(
    books: Books, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a file there is one clock, and nothing to compare; a server's is in the integration tests."""
    assert value(Metrics(books.ledger, clock, version="1"), "headwater_clock_skew_seconds") is None
    monkeypatch.setattr(books.ledger, "now", lambda: clock.at - 1.5)
    (family,) = ClockSkew(books.ledger, clock).collect()
    assert [sample.value for sample in family.samples] == [1.5]
