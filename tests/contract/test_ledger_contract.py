"""Every arrow of the state machines in ``ingestion.ledger``, both ways of each condition."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from ingestion.buckets import tallied
from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.errors import LedgerUnavailable, WrongEdition
from ingestion.ledger.audits import KEPT, Audit
from ingestion.ledger.claims import LONGEST_DELAY_S
from ingestion.ledger.dropping import drop
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.publishing import HISTORY
from ingestion.ledger.reopening import MAX_ATTEMPTS
from ingestion.ledger.sources import MACHINES_KEPT, SourceRow
from ingestion.ledger.tables import attempts, audits, chunks, documents, editions, publications
from ingestion.ledger.trying import try_to_write
from ingestion.ledger.values import Pipelines, Placed, Staging
from ingestion.ledger.words import storable
from ingestion.own import canary_of
from ingestion.records import Drift, Lane, Standing
from tests.contract.desk import LEASE_S, OTHER, PIPELINE, SOURCE, Desk, made_by


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


# want ------------------------------------------------------------------------------------------------


def test_a_new_document_is_pending_and_nothing_of_it_is_served(desk: Desk) -> None:
    (document_id,) = desk.want("a.md")
    assert desk.state(document_id) == "pending"
    assert desk.served() == []
    assert desk.documents.entries(SOURCE)["a.md"].standing is Standing.PRESENT


def test_generations_are_issued_in_the_order_of_changes(desk: Desk) -> None:
    ids = desk.want("b.md", "a.md")
    again = desk.want("a.md")
    entries = desk.documents.entries(SOURCE)
    assert ids == [entries["b.md"].document_id, entries["a.md"].document_id]
    assert again == [ids[1]]
    assert (entries["b.md"].wanted, entries["a.md"].wanted) == (1, 3)
    assert desk.fence.generation() == 3


def test_an_edit_keeps_the_published_revision_live(desk: Desk) -> None:
    document_id = desk.live("a.md", texts=["old"])
    desk.want("a.md")
    assert desk.state(document_id) == "pending"
    assert desk.served() == ["old"]


def test_pending_since_is_the_oldest_unpublished_change(desk: Desk) -> None:
    (first,) = desk.want("a.md", changed_at=50.0)
    desk.want("a.md", changed_at=90.0)
    (second,) = desk.want("b.md", changed_at=70.0)
    assert desk.views.oldest_pending() == {SOURCE: 50.0}
    desk.publish(desk.claim(first))
    assert desk.views.oldest_pending() == {SOURCE: 70.0}
    desk.publish(desk.claim(second))
    assert desk.views.oldest_pending() == {}


def test_a_bulk_look_leaves_a_waiting_fresh_edit_in_its_lane(desk: Desk) -> None:
    (waiting,) = desk.want("a.md", lane=Lane.FRESH)
    done = desk.live("b.md")
    desk.want("a.md", "b.md", lane=Lane.BULK)
    assert desk.due(Lane.FRESH) == [(waiting,)]
    assert desk.due(Lane.BULK) == [(done,)]


def test_an_edit_moves_bulk_work_to_the_fresh_lane(desk: Desk) -> None:
    desk.want("a.md", lane=Lane.BULK)
    (document_id,) = desk.want("a.md", lane=Lane.FRESH)
    assert desk.due(Lane.FRESH) == [(document_id,)]


def test_two_sources_with_the_same_uris_stay_apart(desk: Desk) -> None:
    first = desk.live("a.md", texts=["notes"])
    second = desk.live("a.md", source=OTHER, texts=["wiki"])
    assert first != second
    desk.retire(first)
    assert desk.served() == ["wiki"]
    assert desk.documents.find(OTHER, ["a.md"])["a.md"].standing is Standing.PRESENT
    assert desk.documents.find(SOURCE, ["a.md"])["a.md"].standing is Standing.RETIRED


# take_due and messages ---------------------------------------------------------------------------------


def test_what_is_due_is_sent_once_and_again_when_the_message_is_lost(desk: Desk) -> None:
    ids = desk.want("a.md", "b.md", "c.md")
    assert desk.due(batch=2) == [tuple(ids[:2]), tuple(ids[2:])]
    assert desk.due() == []
    desk.clock.at += 30.0
    assert desk.due() == []
    desk.clock.at += 0.1
    assert desk.due() == [tuple(ids)]


def test_what_the_watcher_sent_is_on_its_way(desk: Desk) -> None:
    (document_id,) = desk.want("a.md", sent=True)
    assert desk.due() == []
    assert desk.claims.on_their_way(desk.edition, Lane.FRESH, resend_s=30.0)
    assert not desk.claims.on_their_way(desk.edition, Lane.BULK, resend_s=30.0)
    desk.claims.forget_messages()
    assert not desk.claims.on_their_way(desk.edition, Lane.FRESH, resend_s=30.0)
    assert desk.due() == [(document_id,)]


def test_what_is_claimed_is_neither_due_nor_on_its_way(desk: Desk) -> None:
    (document_id,) = desk.want("a.md", sent=True)
    desk.claim(document_id)
    desk.clock.at += 31.0
    assert desk.due() == []
    assert not desk.claims.on_their_way(desk.edition, Lane.FRESH, resend_s=60.0)


def test_take_due_keeps_to_its_limit_and_lane(desk: Desk) -> None:
    ids = desk.want("a.md", "b.md", "c.md", lane=Lane.BULK)
    assert desk.due(Lane.FRESH) == []
    assert desk.due(Lane.BULK, limit=2) == [tuple(ids[:2])]
    assert desk.due(Lane.BULK, limit=2) == [tuple(ids[2:])]


def test_documents_of_a_source_that_is_no_longer_configured_wait(desk: Desk) -> None:
    (document_id,) = desk.want("a.md")
    desk.ledger.sources.configure([SourceRow(OTHER, "files", "/wiki")])
    assert desk.due() == []
    assert desk.claims.claim(desk.edition, [document_id]) == []
    assert sum(lane.pending for lane in desk.views.lanes()) == 0
    assert desk.fence.behind(10**6) == 0
    desk.ledger.sources.configure([SourceRow(SOURCE, "files", "/notes")])
    assert desk.due() == [(document_id,)]


# claim ---------------------------------------------------------------------------------------------------


def test_a_claim_says_what_it_is_for(desk: Desk) -> None:
    document_id = desk.live("a.md")
    desk.want("a.md", changed_at=desk.clock.at - 5)
    claim = desk.claim(document_id)
    assert (claim.source, claim.uri, claim.name) == (SOURCE, "a.md", "notes/a.md")
    assert (claim.live_generation, claim.wanted) == (1, 2)
    assert (claim.digest, claim.pipeline) == ("digest", PIPELINE)
    assert claim.pending_since == desk.clock.at - 5


def test_a_doubled_message_claims_nothing(desk: Desk) -> None:
    (document_id,) = desk.want("a.md")
    claim = desk.claim(document_id)
    assert desk.claims.claim(desk.edition, [document_id]) == []
    desk.publish(claim)
    assert desk.claims.claim(desk.edition, [document_id]) == []


def test_unknown_ids_claim_nothing(desk: Desk) -> None:
    assert desk.claims.claim(desk.edition, [404]) == []
    assert desk.claims.claim(desk.edition, []) == []


def test_of_a_batch_the_claimable_part_is_claimed_under_one_token(desk: Desk) -> None:
    ids = desk.want("a.md", "b.md", "c.md")
    desk.publish(desk.claim(ids[1]))
    claims = desk.claims.claim(desk.edition, ids)
    assert sorted(claim.document_id for claim in claims) == [ids[0], ids[2]]
    assert len({claim.token for claim in claims}) == 1


def test_a_lease_is_renewed_by_renew_and_by_staging(desk: Desk) -> None:
    (document_id,) = desk.want("a.md")
    claim = desk.claim(document_id)
    for keep in (lambda: desk.claims.renew([claim]), lambda: desk.stage(claim, ["one"])):
        desk.clock.at += LEASE_S - 1
        keep()
        desk.clock.at += LEASE_S - 1
        assert desk.claims.reap() == 0


def test_a_clock_that_is_set_back_delays_nothing(desk: Desk) -> None:
    sent, failed = desk.want("a.md", "b.md", sent=True)
    desk.claims.fail(desk.claim(failed), "tried", terminal=False)
    assert desk.due() == []
    desk.clock.at -= 3600.0
    assert desk.due() == [(sent, failed)]
    assert desk.claim(failed).attempts == 1


def test_an_expired_lease_does_not_void_a_token_but_the_next_claim_does(desk: Desk) -> None:
    first, second = desk.want("a.md", "b.md")
    slow, slower = desk.claim(first), desk.claim(second)
    placed = desk.stage(slow, ["slow"])
    desk.clock.at += LEASE_S + 1
    assert desk.claims.reap() == 2
    assert not desk.publications.publish([desk.publishing(slow, placed)])[0].superseded
    quick = desk.claim(second)
    assert desk.publish_stale(slower)
    assert not desk.publish(quick, ["quick"]).superseded
    assert desk.served() == ["slow", "quick"]


# publish -------------------------------------------------------------------------------------------------


def test_publish_makes_the_staged_chunks_live_and_drops_the_others(desk: Desk) -> None:
    document_id = desk.live("a.md", texts=["kept", "dropped"])
    claim = desk.edit(document_id)
    kept, _dropped = desk.publications.manifests([claim])[document_id]
    placed = desk.stage(claim, ["new", "abandoned"])
    moved = Placed(kept.chunk_id, 1, 70, 79, ("Other",))
    new = Placed(placed[0].chunk_id, 0, 0, 9, ())
    (published,) = desk.publications.publish(
        [desk.publishing(claim, [new], kept=[kept.chunk_id], moved=[moved], digest="second")]
    )
    assert (published.superseded, published.pending, published.dropped) == (False, False, 1)
    assert desk.served() == ["new", "kept"]
    assert [(row.start, row.heading_path) for row in desk.views.chunks_of(document_id)] == [
        (0, ()),
        (70, ("Other",)),
    ]
    desk.want("a.md")
    left = desk.publications.manifests([desk.claim(document_id)])[document_id]
    assert [chunk.digest for chunk in left] == ["new", "kept"]


def test_staged_chunks_are_invisible_and_the_next_attempt_adopts_them(desk: Desk) -> None:
    (document_id,) = desk.want("a.md")
    first = desk.claim(document_id)
    placed = desk.stage(first, ["one", "two"])
    assert desk.served() == []
    desk.claims.release([first], "the store is away", delay_s=0.0)
    second = desk.claim(document_id)
    manifest = desk.publications.manifests([second])[document_id]
    assert [(chunk.digest, chunk.born) for chunk in manifest] == [("one", None), ("two", None)]
    desk.publications.publish([desk.publishing(second, placed[:1])])
    assert desk.served() == ["one"]


def test_publish_with_a_lost_token_writes_nothing(desk: Desk) -> None:
    document_id = desk.live("a.md", texts=["old"])
    desk.want("a.md")
    lost = desk.claim(document_id)
    placed = desk.stage(lost, ["lost"])
    desk.claims.release([lost], "", delay_s=0.0)
    winner = desk.claim(document_id)
    before = desk.fence.horizon().tick
    (result,) = desk.publications.publish([desk.publishing(lost, placed)])
    assert result.superseded and not result.pending
    assert desk.fence.horizon().tick == before
    assert desk.served() == ["old"]
    assert desk.state(document_id) == "pending"
    assert desk.publications.stage([Staging(lost, Placed("x", 0, 0, 1, ()), "x")]) == {document_id}
    assert not desk.claims.fail(lost, "too late", terminal=True)
    desk.claims.to_bulk([lost])
    assert not desk.publish(winner, ["new"]).superseded
    assert desk.served() == ["new"]


def test_of_a_batch_only_the_lost_one_is_left_out(desk: Desk) -> None:
    ids = desk.want("a.md", "b.md")
    claims = desk.claims.claim(desk.edition, ids)
    placed = [desk.stage(claim, [claim.uri]) for claim in claims]
    desk.retire(ids[0])
    results = desk.publications.publish(
        [desk.publishing(claim, added) for claim, added in zip(claims, placed, strict=True)]
    )
    assert [result.superseded for result in results] == [True, False]
    assert desk.served() == ["b.md"]


def test_a_batch_is_published_at_one_tick(desk: Desk) -> None:
    ids = desk.want("a.md", "b.md")
    claims = desk.claims.claim(desk.edition, ids)
    before = desk.fence.horizon()
    desk.publications.publish([desk.publishing(claim, desk.stage(claim, ["x"])) for claim in claims])
    assert desk.fence.horizon().tick == before.tick + 1
    assert desk.served(horizon=before) == []


def test_a_newer_edit_leaves_it_pending_with_the_published_revision_live(desk: Desk) -> None:
    (document_id,) = desk.want("a.md", changed_at=desk.clock.at - 100)
    claim = desk.claim(document_id)
    desk.want("a.md")
    published = desk.publish(claim, ["first"])
    assert published.pending and not published.superseded
    assert desk.state(document_id) == "pending"
    assert desk.served() == ["first"]
    assert desk.views.oldest_pending() == {SOURCE: claim.claimed_at}
    assert desk.due() == [(document_id,)]
    again = desk.claim(document_id)
    assert (again.live_generation, again.wanted) == (1, 2)
    assert not desk.publish(again, ["second"]).pending
    assert (desk.state(document_id), desk.served()) == ("live", ["second"])


def test_an_attempt_that_ended_cannot_end_again(desk: Desk) -> None:
    (document_id,) = desk.want("a.md")
    claim = desk.claim(document_id)
    placed = desk.stage(claim, ["one"])
    revision = desk.publishing(claim, placed)
    assert not desk.publications.publish([revision])[0].superseded
    horizon = desk.fence.horizon()
    assert desk.publications.publish([revision])[0].superseded
    assert not desk.claims.fail(claim, "after all", terminal=True)
    desk.claims.release([claim], "after all")
    desk.claims.isolate([claim], "after all")
    view = desk.views.document(document_id)
    assert view is not None and (view.state, view.error) == ("live", None)
    assert desk.fence.horizon() == horizon
    assert desk.served(horizon=horizon) == ["one"]


def test_the_same_content_again_keeps_its_time_and_chunks(desk: Desk) -> None:
    document_id = desk.live("a.md", texts=["one"])
    first = desk.views.document(document_id)
    desk.clock.at += 100
    claim = desk.edit(document_id)
    kept = [chunk.chunk_id for chunk in desk.publications.manifests([claim])[document_id]]
    desk.publications.publish([desk.publishing(claim, [], kept=kept)])
    second = desk.views.document(document_id)
    assert first is not None and second is not None
    assert second.published_at == first.published_at
    assert second.generation == claim.wanted
    assert desk.outcomes(document_id) == ["published", "unchanged"]
    assert desk.served() == ["one"]


def test_an_empty_document_is_live_without_chunks(desk: Desk) -> None:
    document_id = desk.live("a.md", texts=[])
    assert desk.state(document_id) == "live"
    assert desk.served() == []


def test_content_that_is_no_text_is_skipped_with_its_reason(desk: Desk) -> None:
    document_id = desk.live("a.md")
    claim = desk.edit(document_id)
    desk.publications.publish([desk.publishing(claim, [], digest="binary", skipped="binary content")])
    view = desk.views.document(document_id)
    assert view is not None and (view.state, view.reason) == ("skipped", "binary content")
    assert desk.served() == []
    entry = desk.documents.entries(SOURCE)["a.md"]
    desk.documents.touch({document_id: desk.seen("a.md", fingerprint=entry.fingerprint)})
    view = desk.views.document(document_id)
    assert view is not None and (view.state, view.reason) == ("skipped", "binary content")
    desk.want("a.md")
    desk.publish(desk.claim(document_id), ["text"])
    assert (desk.state(document_id), desk.served()) == ("live", ["text"])


def test_the_published_look_is_what_the_next_observation_is_compared_with(desk: Desk) -> None:
    (document_id,) = desk.want("a.md")
    claim = desk.claim(document_id)
    revision = desk.publishing(claim, desk.stage(claim, ["one"]), racy=True)
    desk.publications.publish([revision])
    entry = desk.documents.entries(SOURCE)["a.md"]
    assert (entry.fingerprint, entry.identity, entry.racy) == (
        revision.look.fingerprint,
        "id of a.md",
        True,
    )
    assert desk.documents.with_identity(SOURCE, ["id of a.md"]) == [entry]
    assert desk.documents.digests([document_id]) == {document_id: "digest"}
    desk.want("a.md")
    newer = desk.documents.entries(SOURCE)["a.md"]
    assert newer.identity == "id of a.md" and newer.fingerprint != entry.fingerprint
    assert desk.documents.digests([document_id]) == {}


# fail, release, to_bulk, reap ----------------------------------------------------------------------------


def test_attempts_are_bounded_and_further_and_further_apart(desk: Desk) -> None:
    document_id = desk.live("a.md", texts=["old"])
    desk.want("a.md")
    waits = []
    for number in range(1, MAX_ATTEMPTS + 1):
        claim = desk.claim(document_id)
        assert claim.attempts == number - 1
        dead = desk.claims.fail(claim, f"reason {number}", terminal=False)
        assert dead is (number == MAX_ATTEMPTS)
        if dead:
            break
        assert desk.claims.claim(desk.edition, [document_id]) == [] and desk.due() == []
        view = desk.views.document(document_id)
        assert view is not None
        waits.append(view.not_before - desk.clock.at)
        desk.clock.at = view.not_before + 1e-5  # a server's clock counts whole microseconds
        assert desk.due() == [(document_id,)]
    assert waits == sorted(waits) and waits[0] > 0 and waits[-1] <= LONGEST_DELAY_S
    view = desk.views.document(document_id)
    assert view is not None and (view.state, view.error) == ("failed", f"reason {MAX_ATTEMPTS}")
    assert desk.served() == ["old"]
    assert desk.due() == [] and desk.claims.claim(desk.edition, [document_id]) == []
    assert desk.views.oldest_pending() == {}
    assert desk.outcomes(document_id) == ["published", *["failed"] * (MAX_ATTEMPTS - 1), "dead"]


def test_a_terminal_failure_is_a_dead_letter_at_once_and_an_edit_revives_it(desk: Desk) -> None:
    (document_id,) = desk.want("a.md")
    assert desk.claims.fail(desk.claim(document_id), "no parser", terminal=True)
    assert [view.document_id for view in desk.views.documents(state="failed")] == [document_id]
    desk.want("a.md")
    claim = desk.claim(document_id)
    assert claim.attempts == 0
    desk.publish(claim)
    view = desk.views.document(document_id)
    assert view is not None and (view.state, view.error, view.failed_at) == ("live", None, None)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_failure_says_nothing_about_a_newer_edit(desk: Desk, terminal: bool) -> None:
    (document_id,) = desk.want("a.md")
    claim = desk.claim(document_id)
    desk.want("a.md")
    assert not desk.claims.fail(claim, "half written", terminal=terminal)
    assert desk.state(document_id) == "pending"
    assert desk.due() == [(document_id,)]
    again = desk.claim(document_id)
    assert again.attempts == 0
    desk.publish(again)
    assert desk.state(document_id) == "live"


def test_a_fault_costs_no_attempt(desk: Desk) -> None:
    (document_id,) = desk.want("a.md", sent=True)
    for _ in range(3 * MAX_ATTEMPTS):
        claim = desk.claim(document_id)
        desk.claims.release([claim], "the store is away", delay_s=2.0)
        assert desk.claims.claim(desk.edition, [document_id]) == []
        desk.clock.at += 2.0
        assert desk.due() == [(document_id,)]
    claim = desk.claim(document_id)
    assert claim.attempts == 0
    desk.publish(claim)
    assert desk.state(document_id) == "live"


def test_much_to_embed_goes_on_in_bulk_and_a_query_brings_it_back(desk: Desk) -> None:
    (document_id,) = desk.want("a.md", sent=True)
    desk.claims.to_bulk([desk.claim(document_id)])
    assert desk.due(Lane.FRESH) == []
    assert desk.due(Lane.BULK) == [(document_id,)]
    assert desk.claims.boost([document_id]) == [document_id]
    assert desk.claims.boost([document_id]) == []
    assert desk.due(Lane.BULK) == []
    assert desk.claim(document_id).lane is Lane.FRESH


def test_boost_leaves_alone_what_cannot_go_faster(desk: Desk) -> None:
    ids = desk.want("claimed.md", "waits.md", "held.md", lane=Lane.BULK)
    live = desk.live("live.md")
    desk.claim(ids[0])
    desk.claims.release([desk.claim(ids[1])], "away", delay_s=10)
    desk.documents.hold([ids[2]], "gone")
    assert desk.claims.boost([*ids, live, 404]) == []
    assert desk.claims.boost([]) == []


def test_documents_of_a_crashed_batch_come_one_by_one(desk: Desk) -> None:
    ids = desk.want("a.md", "b.md", "c.md")
    desk.claims.claim(desk.edition, ids)
    desk.clock.at += LEASE_S - 1
    assert desk.claims.reap() == 0
    desk.clock.at += 2
    assert desk.claims.reap() == 3
    assert desk.claims.reap() == 0
    (other,) = desk.want("d.md")
    assert sorted(desk.due()) == [(key,) for key in (*ids, other)]
    assert desk.claims.claim(desk.edition, ids) == []
    claim = desk.claim(ids[0])
    assert claim.attempts == 0
    desk.publish(claim)
    desk.want("a.md")
    assert len(desk.claims.claim(desk.edition, [ids[0], other])) == 2
    assert desk.outcomes(ids[0]) == ["interrupted", "published"]


def test_what_crashes_alone_is_a_dead_letter_after_bounded_attempts(desk: Desk) -> None:
    (document_id,) = desk.want("a.md")
    crashes = 0
    while desk.claims.claim(desk.edition, [document_id]):
        assert desk.claims.reap(all_leases=True) == 1
        crashes += 1
    assert crashes == MAX_ATTEMPTS + 1  # the first may have been another document of its batch
    view = desk.views.document(document_id)
    assert view is not None and view.state == "failed" and "replay" in (view.error or "")
    assert desk.outcomes(document_id)[-1] == "dead"
    assert desk.claims.replay([document_id]) == 1
    assert not desk.publish(desk.claim(document_id)).superseded


def test_isolated_documents_come_one_by_one(desk: Desk) -> None:
    ids = desk.want("a.md", "b.md")
    desk.claims.isolate(desk.claims.claim(desk.edition, ids), "something unforeseen")
    assert sorted(desk.due()) == [(ids[0],), (ids[1],)]
    assert desk.claim(ids[0]).attempts == 0


def test_a_slow_worker_may_still_publish_what_was_given_up(desk: Desk) -> None:
    (document_id,) = desk.want("a.md")
    for _ in range(MAX_ATTEMPTS):
        claim = desk.claim(document_id)
        desk.claims.reap(all_leases=True)
    claim = desk.claim(document_id)
    placed = desk.stage(claim, ["at last"])
    desk.claims.reap(all_leases=True)
    assert desk.state(document_id) == "failed"
    assert not desk.publications.publish([desk.publishing(claim, placed)])[0].superseded
    assert (desk.state(document_id), desk.served()) == ("live", ["at last"])


def test_replay_and_drop_of_dead_letters(desk: Desk) -> None:
    ids = [desk.live("a.md", texts=["old"]), *desk.want("b.md", "c.md")]
    desk.want("a.md")
    for document_id in ids:
        desk.claims.fail(desk.claim(document_id), "broken", terminal=True)
    assert desk.claims.replay([ids[2]]) == 1
    assert desk.state(ids[2]) == "pending"
    assert drop(desk.ledger.database, ids) == 2
    assert [desk.state(document_id) for document_id in ids] == ["live", "skipped", "pending"]
    assert desk.served() == ["old"]
    assert desk.claims.replay() == 0
    desk.want("b.md")
    assert desk.publish(desk.claim(ids[1])).superseded is False


# retire, hold, approve -----------------------------------------------------------------------------------


def test_a_tombstone_is_instant_and_a_revival_publishes_again(desk: Desk) -> None:
    document_id = desk.live("a.md", texts=["old"])
    desk.retire(document_id)
    assert desk.served() == []
    assert desk.state(document_id) == "retired"
    assert desk.documents.retire({document_id: "again"}) == []
    assert desk.due() == [] and desk.claims.claim(desk.edition, [document_id]) == []
    assert desk.want("a.md") == [document_id]
    claim = desk.claim(document_id)
    assert (claim.digest, claim.live_generation) == (None, None)
    assert desk.publications.manifests([claim]) == {}
    desk.publish(claim, ["new"])
    assert desk.served() == ["new"]
    assert desk.outcomes(document_id) == ["published", "retired", "published"]


def test_a_search_that_began_before_a_tombstone_does_not_serve_it_even_after_a_revival(desk: Desk) -> None:
    document_id = desk.live("a.md", texts=["secret"])
    horizon = desk.fence.horizon()
    assert desk.served(horizon=horizon) == ["secret"]
    desk.retire(document_id)
    assert desk.served(horizon=horizon) == []
    desk.want("a.md")
    desk.publish(desk.claim(document_id), ["new"])
    assert desk.served(horizon=horizon) == []


def test_a_search_that_began_before_a_publish_serves_the_old_revision(desk: Desk) -> None:
    document_id = desk.live("a.md", texts=["old"])
    horizon = desk.fence.horizon()
    desk.want("a.md")
    desk.publish(desk.claim(document_id), ["new"])
    assert desk.served(horizon=horizon) == ["old"]
    assert desk.served() == ["new"]


def test_retire_during_an_attempt_wins(desk: Desk) -> None:
    document_id = desk.live("a.md", texts=["old"])
    desk.want("a.md")
    claim = desk.claim(document_id)
    placed = desk.stage(claim, ["new"])
    desk.retire(document_id)
    assert desk.publications.publish([desk.publishing(claim, placed)])[0].superseded
    assert not desk.claims.fail(claim, "gone", terminal=True)
    assert (desk.state(document_id), desk.served()) == ("retired", [])


def test_whoever_was_seen_after_the_look_that_missed_it_stays(desk: Desk) -> None:
    first, second = desk.live("a.md"), desk.live("b.md")
    listing = desk.ledger.sources.begin_listing()
    desk.documents.touch({second: desk.seen("b.md")})
    evidence = dict.fromkeys([first, second], "not listed")
    assert desk.documents.retire(evidence, observed_before=listing) == [first]
    assert desk.state(second) == "live"


def test_held_documents_stay_served_and_are_not_worked_on(desk: Desk) -> None:
    live = desk.live("a.md", texts=["a"])
    (pending,) = desk.want("b.md")
    assert desk.documents.hold([live, pending], "unmounted") == 2
    assert desk.documents.hold([live, pending], "again") == 0
    assert desk.served() == ["a"]
    assert desk.state(live) == "held"
    assert desk.due() == [] and desk.claims.claim(desk.edition, [pending]) == []
    assert desk.views.oldest_pending() == {} and desk.fence.behind(10**6) == 0
    desk.documents.touch({live: desk.seen("a.md"), pending: desk.seen("b.md")})
    assert (desk.state(live), desk.state(pending)) == ("live", "pending")
    assert desk.due() == [(pending,)]
    view = desk.views.document(live)
    assert view is not None and view.reason == ""


def test_hold_does_not_touch_what_was_observed_after_the_listing_began(desk: Desk) -> None:
    first, second = desk.live("a.md"), desk.live("b.md")
    listing = desk.ledger.sources.begin_listing()
    desk.want("b.md")
    assert desk.documents.hold([first, second], "vanished", observed_before=listing) == 1
    assert (desk.state(first), desk.state(second)) == ("held", "pending")


def test_an_attempt_on_a_document_held_meanwhile_publishes_and_it_stays_held(desk: Desk) -> None:
    (document_id,) = desk.want("a.md")
    claim = desk.claim(document_id)
    desk.documents.hold([document_id], "vanished")
    assert not desk.publish(claim, ["read before"]).superseded
    assert (desk.state(document_id), desk.served()) == ("held", ["read before"])


def test_approve_retires_exactly_the_shown_set(desk: Desk) -> None:
    a, b, c, d = (desk.live(uri) for uri in ("a.md", "b.md", "c.md", "d.md"))
    elsewhere = desk.live("a.md", source=OTHER)
    desk.documents.hold([a, b, c], "vanished")
    desk.documents.hold([elsewhere], "vanished")
    entries, reasons, shown = desk.documents.held(SOURCE)
    assert [entry.uri for entry in entries] == ["a.md", "b.md", "c.md"]
    assert set(reasons.values()) == {"vanished"}
    desk.documents.hold([d], "later")  # held after the set was shown
    desk.want("a.md")  # seen again
    desk.documents.touch({b: desk.seen("b.md")})
    desk.documents.hold([b], "vanished again")
    assert desk.documents.approve(SOURCE, shown) == [c]
    assert [desk.state(key) for key in (a, b, c, d)] == ["pending", "held", "retired", "held"]
    assert desk.state(elsewhere) == "held"
    assert desk.documents.approve(SOURCE, shown) == []


def test_approved_retirements_do_not_count_against_the_next_window(desk: Desk) -> None:
    a, b = desk.live("a.md"), desk.live("b.md")
    desk.documents.hold([a], "vanished")
    desk.documents.approve(SOURCE, desk.documents.held(SOURCE)[2])
    assert desk.documents.count_retired_within(SOURCE, 2.0) == 0
    desk.retire(b)
    assert desk.documents.count_retired_within(SOURCE, 2.0) == 1
    assert desk.documents.count_retired_within(OTHER, 2.0) == 0
    assert desk.documents.count_served(SOURCE) == 0
    desk.clock.at += 2.5
    assert desk.documents.count_retired_within(SOURCE, 2.0) == 0


def test_a_clock_that_is_wrong_makes_no_retirement_recent(desk: Desk) -> None:
    class Behind:
        def now(self) -> float:
            return desk.clock.at - 3600.0

        def monotonic(self) -> float:
            return desk.clock.at

    desk.retire(desk.live("a.md"))
    desk.clock.at += 60.0
    behind = Ledger(desk.ledger.database, Behind())
    assert behind.documents.count_retired_within(SOURCE, 2.0) == 0
    desk.clock.at -= 3600.0
    assert desk.documents.count_retired_within(SOURCE, 2.0) == 0


# skip ----------------------------------------------------------------------------------------------------


def test_skip_withdraws_what_was_served(desk: Desk) -> None:
    document_id = desk.live("a.md")
    desk.want("a.md")
    claim = desk.claim(document_id)
    desk.skip("a.md", "17 MB, over the limit")
    view = desk.views.document(document_id)
    assert view is not None and (view.state, view.reason) == ("skipped", "17 MB, over the limit")
    assert desk.served() == [] and desk.due() == []
    assert desk.publish_stale(claim)
    assert desk.documents.with_identity(SOURCE, ["id of a.md"]) == []
    assert desk.documents.count_served(SOURCE) == 1
    assert desk.outcomes(document_id) == ["published", "skipped"]
    desk.want("a.md")
    desk.publish(desk.claim(document_id), ["small"])
    assert desk.served() == ["small"]


def test_skip_of_an_unknown_document_notes_it(desk: Desk) -> None:
    desk.skip("big.bin")
    (view,) = desk.views.documents(state="skipped")
    assert (view.uri, view.size_bytes, view.generation) == ("big.bin", 99, None)
    desk.retire(view.document_id)
    assert desk.state(view.document_id) == "retired"


# move ----------------------------------------------------------------------------------------------------


def test_a_rename_changes_the_uri_and_nothing_else(desk: Desk) -> None:
    document_id = desk.live("a.md", texts=["one"])
    before = desk.known()
    assert desk.documents.move(document_id, desk.seen("b.md", fingerprint="look b"))
    assert desk.known() == before
    assert desk.served("b.md") == ["one"] and desk.served("a.md") == []
    assert desk.state(document_id) == "live"
    entries = desk.documents.entries(SOURCE)
    assert list(entries) == ["b.md"]
    assert (entries["b.md"].fingerprint, entries["b.md"].identity) == ("look b", "id of a.md")
    assert desk.outcomes(document_id) == ["published", "renamed"]


def test_a_rename_during_an_attempt_voids_it(desk: Desk) -> None:
    document_id = desk.live("a.md", texts=["old"])
    desk.want("a.md", sent=True)
    claim = desk.claim(document_id)
    assert desk.documents.move(document_id, desk.seen("b.md"))
    assert desk.publish_stale(claim)
    assert desk.due() == [(document_id,)]
    again = desk.claim(document_id)
    assert again.uri == "b.md"
    desk.publish(again, ["new"])
    assert desk.served("b.md") == ["new"]


def test_a_rename_releases_a_held_document(desk: Desk) -> None:
    document_id = desk.live("a.md")
    desk.documents.hold([document_id], "vanished")
    assert desk.documents.move(document_id, desk.seen("b.md"))
    assert desk.state(document_id) == "live"


def test_a_rename_onto_a_tombstone_absorbs_it(desk: Desk) -> None:
    tombstone = desk.live("b.md", texts=["was here"])
    document_id = desk.live("a.md", texts=["one"])
    horizon = desk.fence.horizon()
    desk.retire(tombstone)
    assert desk.documents.move(document_id, desk.seen("b.md"))
    assert desk.views.document(tombstone) is None
    assert desk.served("b.md") == ["one"]
    assert desk.served(horizon=horizon) == ["one"]
    desk.clock.at += 100
    (dead,) = desk.publications.sweepable(desk.clock.at)[desk.edition.name]
    desk.publications.forget([dead])
    assert len(desk.known()) == 1


def test_a_rename_is_refused_onto_a_living_document_and_for_one_that_is_gone(desk: Desk) -> None:
    first, second = desk.live("a.md", texts=["a"]), desk.live("b.md", texts=["b"])
    assert not desk.documents.move(first, desk.seen("b.md"))
    assert desk.served() == ["a", "b"]
    desk.retire(first)
    assert not desk.documents.move(first, desk.seen("c.md"))
    assert desk.documents.move(second, desk.seen("a.md"))
    assert not desk.documents.move(first, desk.seen("d.md"))
    assert desk.served() == ["b"]


def test_a_rename_between_letters_of_other_case(desk: Desk) -> None:
    document_id = desk.live("readme.md", texts=["one"])
    assert desk.documents.move(document_id, desk.seen("README.md"))
    assert list(desk.documents.entries(SOURCE)) == ["README.md"]


def test_a_touch_writes_nothing_on_a_tombstone(desk: Desk) -> None:
    document_id = desk.live("a.md")
    desk.retire(document_id)
    before = desk.documents.entries(SOURCE)["a.md"]
    desk.documents.touch({document_id: desk.seen("a.md")})
    assert desk.documents.entries(SOURCE)["a.md"] == before


# reindex and repair --------------------------------------------------------------------------------------


def test_another_pipeline_makes_everything_again_in_bulk(desk: Desk) -> None:
    first, second = desk.live("a.md", texts=["old"]), desk.live("b.md")
    desk.want("b.md")
    assert desk.claims.reindex(desk.edition, made_by(PIPELINE)) == 0
    assert desk.claims.reindex(desk.edition, made_by("parser 2")) == 1
    assert desk.served("a.md") == ["old"]
    assert desk.due(Lane.BULK) == [(first,)]
    assert desk.due(Lane.FRESH) == [(second,)]
    assert desk.views.oldest_pending() == {SOURCE: desk.clock.at}  # the edit's alone
    claim = desk.claim(first)
    assert claim.pending_since is None
    desk.publish(claim, ["new"])
    assert desk.served("a.md") == ["new"]


def test_what_was_skipped_is_read_again_where_more_can_be_read(desk: Desk) -> None:
    (document_id,) = desk.want("a.pdf")
    desk.publications.publish([desk.publishing(desk.claim(document_id), [], digest="", skipped="binary")])
    desk.live("a.md")
    assert desk.claims.reindex(desk.edition, Pipelines(frozenset({PIPELINE, "other"}), PIPELINE)) == 0
    assert desk.claims.reindex(desk.edition, Pipelines(frozenset({PIPELINE, "other"}), "more")) == 1
    assert desk.due(Lane.BULK) == [(document_id,)]


def test_what_outgrew_plain_text_is_made_again_once(desk: Desk) -> None:
    table, note = desk.live("a.CSV"), desk.live("a.md")
    assert desk.claims.reindex(desk.edition, replace(made_by(PIPELINE), text=PIPELINE)) == 0
    grown = replace(made_by(PIPELINE), text=PIPELINE, outgrown=frozenset({".csv", ".json"}))
    assert desk.claims.reindex(desk.edition, grown) == 1
    assert desk.due(Lane.BULK) == [(table,)]
    assert desk.state(note) == "live"


def test_a_place_is_kept_beside_the_path(desk: Desk) -> None:
    (document_id,) = desk.want("a.pdf")
    claim = desk.claim(document_id)
    places = [Placed("one", 0, 0, 9, ("Top",), "page 3"), Placed("two", 1, 10, 19, (), "sheet A, rows 2-9")]
    desk.publications.stage([Staging(claim, place, place.chunk_id) for place in places])
    desk.publications.publish([desk.publishing(claim, places)])
    admitted = desk.fence.admit(["one", "two"], desk.fence.horizon())
    assert (admitted["one"].heading_path, admitted["one"].place) == (("Top",), "page 3")
    assert (admitted["two"].heading_path, admitted["two"].place) == ((), "sheet A, rows 2-9")
    claim = desk.edit(document_id)
    manifest = desk.publications.manifests([claim])[document_id]
    assert [(row.heading_path, row.place) for row in manifest] == [(p.heading_path, p.place) for p in places]
    moved = replace(places[0], place="pages 3-4")
    desk.publications.publish([desk.publishing(claim, [], kept=["one", "two"], moved=[moved])])
    assert desk.fence.admit(["one"], desk.fence.horizon())["one"].place == "pages 3-4"
    assert [row.place for row in desk.views.export()] == ["pages 3-4", "sheet A, rows 2-9"]


def test_reindexing_holds_up_nobody_who_waits_for_a_generation(desk: Desk) -> None:
    document_id = desk.live("a.md")
    desk.claims.reindex(desk.edition, made_by("parser 2"))
    assert desk.fence.behind(desk.fence.generation()) == 0
    assert desk.fence.pending([document_id]) == set()


def test_repair_replaces_what_the_index_lacks(desk: Desk) -> None:
    document_id = desk.live("a.md", texts=["here", "lost"])
    assert {one.document_id for one in desk.ledger.audits.live(desk.edition)} == {document_id}
    lost = next(row.chunk_id for row in desk.views.chunks_of(document_id) if row.ordinal == 1)
    assert desk.publications.mark_missing([lost, "unknown"]) == {document_id}
    assert desk.claims.mark_repair(desk.edition, [document_id]) == 1
    (batch,) = desk.due(Lane.BULK)
    claim = desk.claim(batch[0])
    assert claim.repair
    here, marked = desk.publications.manifests([claim])[document_id]
    assert (here.repair, marked.repair) == (False, True)
    placed = desk.stage(claim, ["lost"])
    desk.publications.publish([desk.publishing(claim, placed, kept=[here.chunk_id])])
    assert sorted(desk.served()) == ["here", "lost"]
    assert desk.due(Lane.BULK) == []
    assert desk.publications.mark_missing([lost]) == set()


def test_a_repair_mark_that_comes_during_an_attempt_survives_it(desk: Desk) -> None:
    document_id = desk.live("a.md")
    desk.want("a.md")
    claim = desk.claim(document_id)
    desk.claims.mark_repair(desk.edition, [document_id])
    assert desk.publish(claim).pending
    again = desk.claim(document_id)
    assert again.repair and again.lane is Lane.FRESH
    assert not desk.publish(again).pending
    assert desk.state(document_id) == "live"


def test_a_repair_mark_does_not_hurry_what_fails(desk: Desk) -> None:
    document_id = desk.live("a.md")
    desk.want("a.md")
    desk.claims.fail(desk.claim(document_id), "broken", terminal=True)
    desk.claims.mark_repair(desk.edition, [document_id])
    assert desk.state(document_id) == "failed"
    desk.claims.replay()
    assert desk.claim(document_id).repair


# audits ------------------------------------------------------------------------------------------------


def test_every_chunk_with_a_row_is_counted_by_bucket(desk: Desk) -> None:
    document_id = desk.live("a.md", texts=["old"])
    desk.want("a.md")
    desk.publish(desk.claim(document_id), ["new"])  # the old one is dead, and not swept
    (waiting,) = desk.want("b.md")
    desk.stage(desk.claim(waiting), ["staged"])
    audits = desk.ledger.audits
    known = audits.known(desk.edition, [*desk.known(), "unknown"])
    assert sorted((one.digest, one.live) for one in known.values()) == [
        ("new", True),
        ("old", False),
        ("staged", False),
    ]
    assert {one.document_id for one in known.values()} == {document_id, waiting}
    assert audits.buckets(desk.edition) == tallied((key, one.digest) for key, one in known.items())
    (live,) = audits.live(desk.edition)
    assert (live.document_id, live.digest, live.heading_path) == (document_id, "new", ("Top",))
    assert audits.count_live(desk.edition) == 1


def test_live_chunks_come_in_pages_from_behind_an_id(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestion.ledger.audits.PAGE", 2)
    desk.live("a.md", texts=["1", "2", "3"])
    desk.live("b.md", texts=["4", "5"])
    ids = [one.chunk_id for one in desk.ledger.audits.live(desk.edition)]
    assert ids == sorted(desk.known())
    assert [one.chunk_id for one in desk.ledger.audits.live(desk.edition, after=ids[2])] == ids[3:]


def test_marked_chunks_are_distrusted_by_every_document_until_they_are_swept(desk: Desk) -> None:
    document_id = desk.live("a.md", texts=["same", "other"])
    desk.live("b.md", texts=["same"])
    distrusted = desk.publications.distrusted
    assert distrusted(desk.edition, ["same", "other"]) == []
    marked = desk.views.chunks_of(document_id)[0].chunk_id
    desk.publications.mark_missing([marked])
    desk.claims.mark_repair(desk.edition, [document_id])
    assert desk.claims.mark_repair(desk.edition, [document_id]) == 0  # it is already
    assert distrusted(desk.edition, ["same", "other"]) == [marked]
    assert distrusted(desk.edition, ["other"]) == []
    assert desk.ledger.audits.count_marked(desk.edition) == 1
    desk.publish(desk.claim(document_id), ["same"])
    assert desk.ledger.audits.count_marked(desk.edition) == 0
    assert distrusted(desk.edition, ["same"]) == [marked]
    desk.publications.forget(desk.known())
    assert distrusted(desk.edition, ["same"]) == []


def test_one_audit_at_a_time_is_begun(desk: Desk) -> None:
    audits = desk.ledger.audits
    first = audits.begin()
    assert first is not None
    assert audits.begin() is None
    audits.end(first)
    second = audits.begin()
    assert second is not None
    desk.clock.at += audits.lease_s - 1.0
    assert audits.begin() is None
    desk.clock.at += 2.0
    third = audits.begin()
    assert third is not None
    assert audits.keep(second) is None  # it was given up
    audits.end(second)
    assert audits.begin() is None
    desk.clock.at -= 10 * audits.lease_s  # one of the future says nothing
    assert audits.begin() is not None


def test_an_audit_that_is_kept_goes_on_for_as_long_as_it_takes(desk: Desk) -> None:
    audits = desk.ledger.audits
    claim = audits.begin()
    for _ in range(5):
        desk.clock.at += audits.lease_s - 1.0
        assert claim is not None
        claim = audits.keep(claim)
    assert audits.begin() is None
    assert claim is not None
    audits.end(claim)
    assert audits.keep(claim) is None
    assert audits.begin() is not None


def test_what_audits_found_is_kept_and_the_oldest_forgotten(desk: Desk) -> None:
    audits = desk.ledger.audits
    assert audits.latest(desk.edition) is None
    drift = {Drift.CHUNK_MISSING: 3}
    for number in range(KEPT + 2):
        found = Audit(desk.edition.name, number, number + 1.5, 7, False, True, "c", drift, drift, ("away",))
        audits.record(found)
        assert audits.latest(desk.edition) == found
    with desk.ledger.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM audits").scalar() == KEPT
    assert not found.clean
    assert audits.latest(replace(desk.edition, name="another")) is None


# generations, sweep, history, views ------------------------------------------------------------------------


def test_min_generation_is_met_when_nothing_below_it_waits(desk: Desk) -> None:
    first, second, third = desk.want("a.md", "b.md", "c.md")
    assert desk.fence.generation() == 3
    assert desk.fence.behind(3) == 3
    desk.publish(desk.claim(first))
    assert desk.fence.behind(3) == 2
    desk.claims.fail(desk.claim(second), "broken", terminal=True)
    assert desk.fence.behind(3) == 1
    assert desk.fence.behind(3, [OTHER]) == 0
    desk.documents.hold([third], "vanished")
    assert desk.fence.behind(3) == 0
    assert desk.fence.pending([first, second, third]) == {third}


def test_unfinished_counts_what_a_listing_still_waits_for(desk: Desk) -> None:
    first, second = desk.want("a.md", "b.md")
    listing = desk.ledger.sources.begin_listing()
    desk.want("new.md")
    assert desk.views.unfinished(SOURCE, listing) == 2
    assert desk.views.unfinished(OTHER, listing) == 0
    desk.publish(desk.claim(first))
    desk.claims.fail(desk.claim(second), "broken", terminal=True)
    assert desk.views.unfinished(SOURCE, listing) == 0


def test_the_dead_are_swept_late_and_the_living_never(desk: Desk) -> None:
    document_id = desk.live("a.md", texts=["old"])
    (old,) = desk.known()
    desk.clock.at += 10
    desk.want("a.md")
    desk.publish(desk.claim(document_id), ["new"])
    assert desk.publications.sweepable(desk.clock.at) == {}
    assert desk.publications.sweepable(desk.clock.at + 0.1) == {desk.edition.name: [old]}
    assert desk.ledger.audits.known(desk.edition, [old, "unknown"]).keys() == {old}
    desk.publications.forget(desk.known())  # asked to forget everything: only the dead go
    assert desk.publications.sweepable(desk.clock.at + 1) == {}
    assert old not in desk.known() and desk.served() == ["new"]
    desk.publications.forget([])


def test_history_is_trimmed_to_the_latest(desk: Desk) -> None:
    document_id = desk.live("a.md")
    other = desk.live("b.md")
    for number in range(HISTORY + 5):
        desk.want("a.md")
        desk.publish(desk.claim(document_id), digest=f"digest {number}")
    assert desk.publications.trim_history() == 6
    assert desk.publications.trim_history() == 0
    kept = desk.views.history(document_id)
    assert len(kept) == HISTORY
    assert kept[-1].generation == desk.documents.entries(SOURCE)["a.md"].wanted
    assert len(desk.views.history(other)) == 1


def test_lags_count_every_state(desk: Desk) -> None:
    desk.live("live.md")
    _pending, failed, held = desk.want("pending.md", "failed.md", "held.md", changed_at=5.0)
    desk.claims.fail(desk.claim(failed), "broken", terminal=True)
    desk.documents.hold([held], "vanished")
    desk.skip("skipped.bin")
    desk.retire(desk.live("retired.md"))
    lag = desk.views.lags()[SOURCE]
    assert set(lag.counts.values()) == {1} and len(lag.counts) == 6
    assert (lag.oldest_pending, lag.pending, lag.failed, lag.held) == (5.0, 1, 1, 1)
    fresh, bulk = desk.views.lanes()
    assert (fresh.lane, fresh.pending, fresh.oldest, bulk.pending) == ("fresh", 1, 5.0, 0)


def test_documents_come_in_pages_by_state(desk: Desk) -> None:
    ids = [desk.live(f"{number}.md") for number in range(5)]
    desk.retire(ids[1])
    first = desk.views.documents(limit=2)
    second = desk.views.documents(after=first[-1].document_id, limit=10)
    assert [view.document_id for view in [*first, *second]] == [ids[0], ids[2], ids[3], ids[4]]
    assert [view.document_id for view in desk.views.documents(state="retired")] == [ids[1]]
    assert desk.views.documents(source=OTHER) == []
    named = desk.views.named(SOURCE, "2.md")
    assert named is not None and named.document_id == ids[2]
    assert desk.views.named(OTHER, "2.md") is None


def test_views_leave_out_the_sources_of_headwaters_own(desk: Desk) -> None:
    own = canary_of("files")
    desk.ledger.sources.add([SourceRow(own, "files", "/canary")])
    desk.live("a.md", texts=("one", "two"))
    desk.live("canary.md", source=own, texts=("tweet",))
    (failed,) = desk.want("broken.md", source=own)
    desk.claims.fail(desk.claim(failed), "broken", terminal=True)
    desk.want("pending.md", source=own)
    assert desk.fence.active_sources() == (SOURCE, OTHER)
    assert desk.fence.in_service() == (own, SOURCE, OTHER)
    assert [view.uri for view in desk.views.documents()] == ["a.md"]
    assert desk.views.documents(state="failed") == []
    assert len(desk.views.documents(source=own)) == 3
    assert [row.uri for row in desk.views.export()] == ["a.md", "a.md"]
    assert desk.views.live_chunk_count() == 2
    assert {one.uri for one in desk.views.latest(10)} == {"a.md"}
    assert [lane.pending for lane in desk.views.lanes()] == [0, 0]
    assert own in desk.views.lags()


def test_export_is_every_live_chunk_of_configured_sources_in_order(desk: Desk) -> None:
    desk.live("b.md", texts=["b0", "b1"])
    desk.live("a.md", texts=["a0"])
    desk.live("z.md", source=OTHER)
    desk.retire(desk.live("gone.md"))
    desk.want("a.md")
    desk.stage(desk.claim(desk.documents.entries(SOURCE)["a.md"].document_id), ["staged"])
    assert desk.views.live_chunk_count() == 4
    places = [(row.source, row.uri, row.ordinal) for row in desk.views.export()]
    assert places == [(SOURCE, "a.md", 0), (SOURCE, "b.md", 0), (SOURCE, "b.md", 1), (OTHER, "z.md", 0)]
    desk.ledger.sources.configure([SourceRow(OTHER, "files", "/wiki")])
    assert [row.source for row in desk.views.export()] == [OTHER]


def test_entries_below_a_prefix(desk: Desk) -> None:
    for uri in ("a/b.md", "a/c/d.md", "a.md", "ab/e.md"):
        desk.live(uri)
    desk.retire(desk.live("a/gone.md"))
    desk.skip("a/big.bin")
    assert {entry.uri for entry in desk.documents.below(SOURCE, "a/")} == {"a/b.md", "a/c/d.md", "a/big.bin"}
    assert len(desk.documents.below(SOURCE, "")) == 5
    assert desk.documents.below(OTHER, "") == []


def test_an_edition_is_dated_by_the_clock_of_the_ledger(desk: Desk) -> None:
    with desk.ledger.database.write() as connection:
        connection.execute(sa.delete(editions))
    Ledger(desk.ledger.database, SystemClock()).sources.edition("f" * 64, 8, "a model")
    with desk.ledger.database.read() as connection:
        made_at = connection.execute(sa.select(editions.c.created_at)).scalar_one()
        ours = desk.ledger.database.now(connection, SystemClock())
    assert made_at == pytest.approx(ours, abs=3600.0)  # a server's was set years back by the desk


def test_the_live_edition_belongs_to_one_model(desk: Desk) -> None:
    assert desk.ledger.sources.edition("f" * 64, 8, "a model") == desk.edition
    assert desk.ledger.sources.live_edition() == desk.edition == desk.fence.horizon().edition
    with pytest.raises(WrongEdition, match=r"a model.*another model"):
        desk.ledger.sources.edition("0" * 64, 8, "another model")


def test_a_search_begins_with_everything_as_of_one_moment(desk: Desk) -> None:
    (first,) = desk.want("a.md", changed_at=50.0)
    (second,) = desk.want("b.md", changed_at=70.0)
    desk.publish(desk.claim(first))
    outset = desk.fence.outset()
    assert outset.states == desk.ledger.sources.all() != []
    assert outset.oldest_pending == desk.views.oldest_pending() == {SOURCE: 70.0}
    assert outset.horizon == desk.fence.horizon()
    assert outset.horizon.tick > 0
    desk.publish(desk.claim(second))
    later = desk.fence.outset()
    assert later.oldest_pending == {}
    assert later.horizon.tick > outset.horizon.tick


def test_a_ledger_that_was_replaced_by_an_empty_one_answers_nothing(desk: Desk) -> None:
    with desk.ledger.database.write() as connection:
        for table in (chunks, publications, attempts, documents, editions):
            connection.execute(sa.delete(table))
    for answer in (desk.fence.horizon, desk.fence.outset):
        with pytest.raises(LedgerUnavailable, match="empty one"):
            answer()


def test_what_is_written_to_find_out_whether_it_can_be_is_taken_back(desk: Desk) -> None:
    try_to_write(desk.ledger.database)
    with desk.ledger.database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(audits)).scalar_one() == 0


def test_a_source_that_lies_elsewhere_has_not_been_seen_there(desk: Desk) -> None:
    sources = desk.ledger.sources
    listing = sources.begin_listing()
    sources.finish_listing(SOURCE, listing, started_at=5.0, device=7, fault="part of it")
    sources.heartbeat({SOURCE: 6.0, OTHER: 6.0})
    sources.configure([SourceRow(SOURCE, "files", "/notes")])
    state = sources.state(SOURCE)
    assert state is not None
    assert (state.listed_at, state.heartbeat_at, state.devices, state.fault) == (5.0, 6.0, {"": 7}, None)
    assert state.listing_generation == listing
    other = sources.state(OTHER)
    assert other is not None and not other.active and desk.fence.active_sources() == (SOURCE,)
    sources.configure([SourceRow(SOURCE, "files", "/elsewhere")])
    state = sources.state(SOURCE)
    assert state is not None
    assert (state.listed_at, state.heartbeat_at, state.devices) == (None, None, {})
    sources.set_fault(SOURCE, "unmounted")
    assert [state.fault for state in sources.all()] == ["unmounted", None]
    assert sources.state("unknown") is None


def test_each_machine_has_its_own_number_for_the_device_of_a_source(desk: Desk) -> None:
    sources = desk.ledger.sources

    def listed_by(machine: str, device: int | None) -> dict[str, int]:
        listing = sources.begin_listing()
        sources.finish_listing(SOURCE, listing, started_at=5.0, device=device, fault=None, machine=machine)
        state = sources.state(SOURCE)
        assert state is not None
        return dict(state.devices)

    assert listed_by("one", 7) == {"one": 7}
    assert listed_by("other", 51) == {"one": 7, "other": 51}
    assert listed_by("one", 8) == {"one": 8, "other": 51}
    for number in range(2 * MACHINES_KEPT):
        kept = listed_by(f"container {number}", number)
    assert len(kept) == MACHINES_KEPT
    assert kept[f"container {number}"] == number


# text that a database refuses ----------------------------------------------------------------------------


@pytest.mark.parametrize("odd", ["a NUL \0 within", "half a pair \ud83d, a byte \udcff"])
def test_odd_characters_in_messages_stop_nothing(desk: Desk, odd: str) -> None:
    failed, released, retired, held = (desk.live(f"{name}.md") for name in "abcd")
    desk.claims.fail(desk.edit(failed), odd, terminal=True)
    desk.claims.release([desk.edit(released)], odd)
    desk.documents.retire({retired: odd})
    desk.documents.hold([held], odd)
    desk.skip("e.md", odd)
    desk.ledger.sources.set_fault(SOURCE, odd)
    claim = desk.claim(desk.want("f.md")[0])
    desk.publications.publish([desk.publishing(claim, [], skipped=odd)])
    shown = storable(odd)
    assert "\ufffd" in shown and shown != odd
    view = desk.views.document(failed)
    assert view is not None and view.error == shown
    assert desk.views.history(retired)[-1].detail == shown
    assert desk.documents.held(SOURCE)[1] == {held: shown}
    assert {desk.documents.find(SOURCE, [uri])[uri].standing for uri in ("e.md", "f.md")} == {
        Standing.SKIPPED
    }
    state = desk.ledger.sources.state(SOURCE)
    assert state is not None and state.fault == shown


@pytest.mark.parametrize("odd", ["a\0.md", "a\udcff.md"])
def test_odd_characters_in_names_stop_nothing(desk: Desk, odd: str) -> None:
    """No source gives such a name; who asks for one finds nothing."""
    desk.live("a.md")
    assert desk.views.named(SOURCE, odd) is None and desk.views.named(odd, "a.md") is None
    assert desk.documents.find(SOURCE, [odd]) == {}
    assert desk.documents.below(SOURCE, odd) == []
    assert desk.views.documents(source=odd) == []
    assert desk.fence.behind(10, [odd]) == 0
    desk.want(odd, "b.md")
    assert desk.documents.find(SOURCE, ["b.md"])


def test_headings_keep_whatever_characters_they_have(desk: Desk) -> None:
    claim = desk.claim(desk.want("a.md")[0])
    path = ("a NUL \0", "half a pair \ud83d")
    placed = Placed("chunk", 0, 0, 9, path)
    desk.publications.stage([Staging(claim, placed, "text")])
    desk.publications.publish([desk.publishing(claim, [placed])])
    assert desk.fence.admit(["chunk"], desk.fence.horizon())["chunk"].heading_path == path
    assert [row.heading_path for row in desk.views.export()] == [path]


def test_a_source_that_nobody_keeps_is_let_go(desk: Desk) -> None:
    sources = desk.ledger.sources
    assert sources.configure([SourceRow("pay", "files", "/pay")]) == sorted([SOURCE, OTHER])
    sources.add([SourceRow(SOURCE, "files", "/notes"), SourceRow("pay", "files", "/pay")])
    assert desk.fence.active_sources() == tuple(sorted([SOURCE, "pay"]))  # nothing is taken out
    sources.keep([OTHER])
    assert desk.fence.active_sources() == tuple(sorted([SOURCE, "pay"]))  # nor put back
    sources.keep([OTHER], in_service=True)
    assert sources.let_go(["pay"], for_s=60.0) == []  # they were kept just now
    assert sources.let_go(["pay"], for_s=-60.0) == sorted([SOURCE, OTHER])
    assert sources.let_go(["pay"], for_s=-60.0) == []
    assert desk.fence.active_sources() == ("pay",)
