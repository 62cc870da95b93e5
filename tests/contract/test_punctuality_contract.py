"""How far objectives are kept, on every database: what counts, and what is forgotten."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from ingestion.database import Database
from ingestion.ledger.documents import Change
from ingestion.ledger.punctuality import DAY_S, DAYS_KEPT_S, MINUTES_KEPT_S
from ingestion.ledger.sources import SourceRow
from ingestion.ledger.tables import punctuality
from ingestion.objectives import Kept, Kind, Objective, quantile
from ingestion.records import Lane
from tests.contract.desk import OTHER, SOURCE, Desk


@pytest.fixture
def desk(database: Database) -> Desk:
    made = Desk(database)
    promised = Objective(share=0.9, within_s=10.0, deletions_within_s=2.0, over_days=3)
    made.ledger.sources.configure(
        [SourceRow(SOURCE, "files", f"/{SOURCE}", promised), SourceRow(OTHER, "files", f"/{OTHER}")]
    )
    return made


def kept(desk: Desk, source: str = SOURCE) -> Kept | None:
    return desk.ledger.punctuality.kept().get(source)


def rows(desk: Desk) -> list[Any]:
    with desk.ledger.database.read() as connection:
        return list(connection.execute(sa.select(punctuality)))


def published_after(desk: Desk, uri: str, seconds: float, *, source: str = SOURCE) -> None:
    (document_id,) = desk.want(uri, source=source)
    desk.clock.at += seconds
    desk.publish(desk.claim(document_id))


def test_the_objective_is_kept_with_its_source(desk: Desk) -> None:
    states = {state.name: state for state in desk.ledger.sources.all()}
    assert states[SOURCE].objective == Objective(0.9, 10.0, 2.0, 3)
    assert states[OTHER].objective == Objective()


def test_a_change_is_judged_by_the_objective_of_its_source(desk: Desk) -> None:
    published_after(desk, "quick.md", 9.0)
    published_after(desk, "slow.md", 30.0)
    published_after(desk, "slow.md", 30.0, source=OTHER)  # where a minute is in time
    assert kept(desk) == Kept(met=1, missed=1)
    assert kept(desk, OTHER) == Kept(met=1)
    sizes = desk.ledger.punctuality.last_hour()[SOURCE, Kind.CHANGE]
    assert quantile(sizes, 0.5) == pytest.approx(9.0, rel=0.05)
    assert quantile(sizes, 0.99) == pytest.approx(30.0, rel=0.05)


def test_an_attempt_that_is_superseded_counts_for_nothing(desk: Desk) -> None:
    (document_id,) = desk.want("a.md")
    late = desk.claim(document_id)
    desk.claims.release([late], "the index is away", delay_s=0.0)
    assert desk.publish_stale(late)
    assert kept(desk) is None and rows(desk) == []


def test_what_is_new_in_bulk_or_says_nothing_new_only_shows_that_work_goes_on(desk: Desk) -> None:
    first = desk.want("a.md", "b.md", lane=Lane.BULK)
    desk.clock.at += 1000.0
    claims = desk.claims.claim(desk.edition, first)
    desk.publications.publish([desk.publishing(claim, []) for claim in claims])
    touched = desk.edit(first[0])
    desk.publications.publish([desk.publishing(touched, [])])  # the same chunks as before: none
    assert kept(desk) is None
    pace = desk.ledger.punctuality.paces()[SOURCE]
    assert (pace.last_hour, pace.changes, pace.fresh, pace.bulk) == (0, 0, 1, 2)


def test_an_edit_in_the_bulk_lane_is_a_change(desk: Desk) -> None:
    document_id = desk.live("large.md")
    desk.clock.at += 1.0
    claim = desk.edit(document_id)
    desk.claims.to_bulk([claim])
    desk.clock.at += 20.0
    desk.publish(desk.claim(document_id), ["another"], digest="another")
    assert kept(desk) == Kept(met=1, missed=1)
    pace = desk.ledger.punctuality.paces()[SOURCE]
    assert (pace.last_hour, pace.changes, pace.fresh, pace.bulk) == (2, 1, 1, 1)
    assert sum(desk.ledger.punctuality.last_hour()[SOURCE, Kind.CHANGE].values()) == 2


def test_deletions_and_renames_count_from_when_they_were_noticed(desk: Desk) -> None:
    quick, slow, moved = (desk.live(f"{number}.md") for number in range(3))
    before = kept(desk)
    assert before == Kept(met=3)
    noticed_at = desk.clock.at
    desk.clock.at += 1.5
    desk.documents.retire({quick: "ENOENT"}, noticed=(SOURCE, noticed_at))
    desk.clock.at += 1.5
    desk.documents.retire({slow: "ENOENT"}, noticed=(SOURCE, noticed_at))
    assert kept(desk) == Kept(met=4, missed=1)
    assert desk.documents.move(moved, desk.seen("elsewhere.md"))
    assert kept(desk) == Kept(met=5, missed=1)
    sizes = desk.ledger.punctuality.last_hour()
    assert sum(sizes[SOURCE, Kind.DELETION].values()) == 2


def test_an_approved_deletion_is_no_matter_of_the_objective(desk: Desk) -> None:
    document_id = desk.live("a.md")
    desk.documents.hold([document_id], "vanished")
    _, _, shown = desk.documents.held(SOURCE)
    desk.clock.at += 1000.0
    assert desk.documents.approve(SOURCE, shown) == [document_id]
    assert kept(desk) == Kept(met=1)


def test_the_window_is_the_objective_s(desk: Desk) -> None:
    published_after(desk, "slow.md", 30.0)
    published_after(desk, "slow.md", 300.0, source=OTHER)
    desk.clock.at += 3 * DAY_S
    assert kept(desk) == Kept(missed=1)  # the day in which it begins counts whole
    desk.clock.at += DAY_S
    assert kept(desk) is None
    assert kept(desk, OTHER) == Kept(missed=1)


def test_what_no_window_reaches_is_forgotten(desk: Desk) -> None:
    published_after(desk, "a.md", 1.0)
    assert {row.span_s for row in rows(desk)} == {60, DAY_S}
    desk.clock.at += MINUTES_KEPT_S + 120
    desk.ledger.punctuality.forget()
    assert {row.span_s for row in rows(desk)} == {DAY_S}
    desk.clock.at += DAYS_KEPT_S
    desk.ledger.punctuality.forget()
    assert rows(desk) == []


def test_the_pace_is_of_the_last_minutes(desk: Desk) -> None:
    published_after(desk, "a.md", 1.0)
    desk.clock.at += 600.0
    published_after(desk, "b.md", 1.0)
    pace = desk.ledger.punctuality.paces()[SOURCE]
    assert (pace.last_hour, pace.changes, pace.fresh, pace.bulk) == (2, 1, 1, 0)
    assert 60.0 <= pace.over_s <= 120.0
    desk.clock.at += 3700.0
    assert SOURCE not in desk.ledger.punctuality.paces()


def test_rows_are_as_many_as_sources_and_spans_whatever_changes(desk: Desk) -> None:
    ids = desk.want(*(f"{number}.md" for number in range(200)))
    claims = desk.claims.claim(desk.edition, ids)
    desk.publications.publish([desk.publishing(claim, []) for claim in claims])
    assert len(rows(desk)) == 2


def test_overdue_are_late_changes_and_no_first_index(desk: Desk) -> None:
    at = desk.clock.at
    desk.want("first.md", lane=Lane.BULK, changed_at=at - 500.0)
    desk.want("late.md", "later.md", changed_at=at - 11.0)
    desk.want("young.md", changed_at=at - 9.0)
    desk.want("late.md", source=OTHER, changed_at=at - 11.0)  # a minute is in time there
    lags = desk.views.lags()
    assert (lags[SOURCE].overdue, lags[OTHER].overdue) == (2, 0)
    fresh = next(one for one in lags[SOURCE].waiting if one.lane == Lane.FRESH)
    assert (fresh.pending, fresh.changed_at, fresh.claimed, fresh.due) == (3, at - 11.0, 0, 3)
    assert (fresh.first, fresh.promised_at) == (0, at - 11.0)
    bulk = next(one for one in lags[SOURCE].waiting if one.lane == Lane.BULK)
    assert (bulk.pending, bulk.changed_at, bulk.first, bulk.promised_at) == (1, at - 500.0, 1, None)
    (claim, _) = desk.claims.claim(desk.edition, desk.want("late.md", "later.md"))
    fresh = next(one for one in desk.views.lags()[SOURCE].waiting if one.lane == Lane.FRESH)
    assert (fresh.claimed, fresh.due, fresh.claimed_at) == (2, 1, at)
    desk.claims.release([claim], "The index does not answer.")
    assert desk.views.trouble(SOURCE) == "The index does not answer."
    assert desk.views.trouble(OTHER) is None


def test_the_last_event_is_kept_beside_the_heartbeat(desk: Desk) -> None:
    desk.ledger.sources.heartbeat({OTHER: 8.0}, {SOURCE: 7.0})
    desk.ledger.sources.heartbeat({OTHER: 9.0})
    states = {state.name: state for state in desk.ledger.sources.all()}
    assert (states[SOURCE].event_at, states[SOURCE].heartbeat_at) == (7.0, None)
    assert (states[OTHER].event_at, states[OTHER].heartbeat_at) == (None, 9.0)
    desk.ledger.sources.heartbeat({}, {SOURCE: 9.5})
    assert {state.name: state.event_at for state in desk.ledger.sources.all()}[SOURCE] == 9.5


def test_changes_of_the_same_clock_tick_take_no_time(desk: Desk) -> None:
    """Nor do those of a clock that is ahead."""
    document_ids = desk.documents.want(
        SOURCE, [Change(desk.seen("a.md"), desk.clock.at + 50.0)], Lane.FRESH, sent=False
    )
    desk.publish(desk.claim(document_ids[0]))
    assert kept(desk) == Kept(met=1)
