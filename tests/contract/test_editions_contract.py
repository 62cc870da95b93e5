"""Every arrow of ``ingestion.ledger.editions``, and what two editions must not do to one another."""

from __future__ import annotations

import dataclasses

import pytest

from ingestion.database import Database
from ingestion.errors import Misconfigured
from ingestion.ledger.dropping import drop
from ingestion.ledger.editions import NewEdition
from ingestion.ledger.peers import READ_AGAIN_S
from ingestion.ledger.values import Edition, EditionState, EditionView, Gate, Publishing
from ingestion.records import Lane, Standing
from tests.contract.desk import PIPELINE, SOURCE, Desk, made_by


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


def built(desk: Desk, view: EditionView, document_id: int, *texts: str, digest: str = "digest") -> None:
    """Publish the document in that edition."""
    published = desk.publish(desk.claim(document_id, view.edition), texts or ("new one",), digest=digest)
    assert not published.superseded


def switched(desk: Desk, *uris: str) -> EditionView:
    """A live edition of another model, with the first one kept."""
    ids = [desk.live(uri) for uri in uris]
    view = desk.build()
    for document_id in ids:
        built(desk, view, document_id)
    assert desk.editions.switch(view)
    return view


def state_in(desk: Desk, edition: Edition, document_id: int) -> tuple[str, str]:
    """State and lane of a publication."""
    with desk.ledger.database.read() as connection:
        found = connection.exec_driver_sql(
            "SELECT state, lane FROM publications"
            f" WHERE document_id = {document_id} AND edition_id = {edition.edition_id}"
        ).one()
    return found.state, found.lane


def document(desk: Desk, document_id: int) -> dict[str, object]:
    """The columns of a document that speak of its live edition."""
    with desk.ledger.database.read() as connection:
        found = connection.exec_driver_sql(
            "SELECT pending_since, fingerprint, identity, standing, reason FROM documents"
            f" WHERE id = {document_id}"
        ).one()
    return found._asdict()


# start, fill ------------------------------------------------------------------------------------------


def test_everything_that_is_there_is_pending_in_a_second_edition_in_the_bulk_lane(desk: Desk) -> None:
    document_id, retired = desk.live("a.md"), desk.live("gone.md")
    desk.retire(retired)
    desk.skip("skipped.md")
    view = desk.build()
    assert view.state is EditionState.BUILDING
    assert view.model == {"model": "another"}
    assert state_in(desk, view.edition, document_id) == ("pending", "bulk")
    found = desk.editions.backlog(view)
    assert (found.total, found.done, found.waiting, found.lacking) == (1, 0, 1, 1)
    assert desk.state(document_id) == "live"
    assert desk.due() == desk.due(Lane.BULK) == []


def test_filling_again_changes_nothing(desk: Desk) -> None:
    document_id = desk.live("a.md")
    view = desk.build()
    built(desk, view, document_id)
    assert desk.editions.fill(view.edition) == 0
    assert state_in(desk, view.edition, document_id)[0] == "live"


def test_filling_finds_what_an_interrupted_one_left(desk: Desk) -> None:
    desk.live("a.md")
    view = desk.editions.start(NewEdition("a" * 64, 16, "another model", {}))
    assert desk.editions.backlog(view).lacking == 1
    assert not desk.editions.switch(view)
    assert desk.editions.fill(view.edition) == 1


def test_a_document_that_it_was_not_told_of_forbids_the_switch(desk: Desk) -> None:
    """Of which nothing is shown: it would wait in no live edition, and nobody would ever index it."""
    (document_id,) = desk.want("a.md")
    view = desk.editions.start(NewEdition("a" * 64, 16, "another model", {}))
    assert desk.editions.backlog(view).lacking == 0
    assert desk.editions.lacks(view)
    assert not desk.editions.switch(view)
    desk.editions.fill(view.edition)
    assert desk.editions.switch(view)
    assert state_in(desk, view.edition, document_id) == ("pending", "fresh")


def test_how_near_the_end_it_is(desk: Desk) -> None:
    first, second = desk.live("a.md"), desk.live("b.md")
    view = desk.build()
    assert not desk.editions.is_nearly_done(view, 3), "two wait, and two lack"
    assert desk.editions.is_nearly_done(view, 4)
    built(desk, view, first)
    assert desk.editions.is_nearly_done(view, 2)
    built(desk, view, second)
    assert desk.editions.is_nearly_done(view, 0)
    desk.editions.fill(view.edition)
    assert not desk.editions.lacks(view)


def test_one_is_built_at_a_time(desk: Desk) -> None:
    desk.build()
    with pytest.raises(Misconfigured, match="being built already"):
        desk.build(fingerprint="b" * 64)


def test_the_same_model_gets_another_name(desk: Desk) -> None:
    view = desk.build(fingerprint=desk.edition.fingerprint)
    assert view.edition.name == f"{desk.edition.name}_2"
    desk.editions.cancel()
    assert desk.build(fingerprint=desk.edition.fingerprint).edition.name == f"{desk.edition.name}_3"


def test_a_new_build_gives_up_what_was_kept_for_going_back(desk: Desk) -> None:
    switched(desk, "a.md")
    desk.build(fingerprint="b" * 64)
    assert [view.state.value for view in desk.editions.fed()] == ["live", "building"]
    assert [one.name for one in desk.editions.ended(desk.clock.at + 1)] == [desk.edition.name]


# edits meanwhile ---------------------------------------------------------------------------------------


def test_an_edit_goes_to_both_and_only_the_live_one_settles_it(desk: Desk) -> None:
    document_id = desk.live("a.md")
    view = desk.build()
    built(desk, view, document_id)
    desk.clock.at += 5.0
    desk.want("a.md", sent=True)
    assert state_in(desk, desk.edition, document_id) == ("pending", "fresh")
    assert state_in(desk, view.edition, document_id) == ("pending", "bulk")
    before = document(desk, document_id)
    built(desk, view, document_id, "newer", digest="second")
    assert document(desk, document_id) == before
    assert desk.views.oldest_pending() == {SOURCE: desk.clock.at}
    assert desk.fence.behind(desk.fence.generation()) == 1
    desk.publish(desk.claim(document_id), ["newer"], digest="second")
    assert document(desk, document_id)["pending_since"] is None
    assert desk.views.oldest_pending() == {}
    assert desk.fence.behind(desk.fence.generation()) == 0


def test_what_a_building_edition_waits_for_keeps_nothing_waiting(desk: Desk) -> None:
    desk.live("a.md")
    view = desk.build()
    assert desk.views.oldest_pending() == {}
    assert [lane.pending for lane in desk.views.lanes()] == [0, 0]
    assert desk.views.unfinished(SOURCE, desk.fence.generation()) == 0
    assert desk.views.lags()[SOURCE].pending == 0
    claim = desk.claim(desk.views.documents()[0].document_id, view.edition)
    assert claim.pending_since is None


def test_a_skip_found_in_a_building_edition_does_not_skip_the_document(desk: Desk) -> None:
    document_id = desk.live("a.md")
    view = desk.build()
    claim = desk.claim(document_id, view.edition)
    desk.publications.publish([desk.publishing(claim, [], digest="", skipped="binary")])
    assert document(desk, document_id)["standing"] == Standing.PRESENT
    assert desk.served() == ["one"]
    assert desk.editions.backlog(view).lacking == 1


def test_a_deletion_ends_a_document_in_both(desk: Desk) -> None:
    document_id = desk.live("a.md")
    view = desk.build()
    claim = desk.claim(document_id, view.edition)
    desk.retire(document_id)
    assert desk.publish_stale(claim)
    assert state_in(desk, view.edition, document_id)[0] == "withdrawn"
    assert desk.editions.backlog(view).total == 0


def test_a_rename_voids_the_attempt_in_both(desk: Desk) -> None:
    document_id = desk.live("a.md")
    view = desk.build()
    claim = desk.claim(document_id, view.edition)
    assert desk.documents.move(document_id, desk.seen("b.md"))
    assert desk.publish_stale(claim)
    assert desk.claim(document_id, view.edition).uri == "b.md"


def test_a_revival_is_pending_in_both(desk: Desk) -> None:
    document_id = desk.live("a.md")
    view = desk.build()
    built(desk, view, document_id)
    desk.retire(document_id)
    desk.want("a.md")
    assert state_in(desk, view.edition, document_id) == ("pending", "bulk")
    assert state_in(desk, desk.edition, document_id) == ("pending", "fresh")


@pytest.mark.parametrize("live_last", [True, False])
def test_two_readings_of_one_generation_end_as_the_live_one(desk: Desk, live_last: bool) -> None:
    """The file changed between the two attempts, and nobody has observed that."""
    (document_id,) = desk.want("a.md")
    view = desk.build()
    mine, other = desk.claim(document_id), desk.claim(document_id, view.edition)
    if live_last:
        desk.publish(other, ["old"], digest="old")
        desk.publish(mine, ["new"], digest="new")
    else:
        desk.publish(mine, ["new"], digest="new")
        desk.publish(other, ["old"], digest="old")
    assert state_in(desk, desk.edition, document_id)[0] == "live"
    assert state_in(desk, view.edition, document_id) == ("pending", "bulk")
    assert not desk.editions.switch(view)
    desk.clock.at += READ_AGAIN_S
    built(desk, view, document_id, "new", digest="new")
    assert state_in(desk, view.edition, document_id)[0] == "live"
    assert desk.editions.switch(view)
    assert desk.served() == ["new"]


def test_a_passage_keeps_its_age_across_a_switch(desk: Desk) -> None:
    document_id = desk.live("a.md")
    (before,) = desk.fence.admit(desk.known(), desk.fence.horizon()).values()
    view = desk.build()
    desk.clock.at += 500.0
    built(desk, view, document_id)
    assert desk.editions.switch(view)
    (after,) = desk.fence.admit(desk.known(), desk.fence.horizon()).values()
    assert (after.changed_at, after.published_at) == (before.changed_at, before.published_at)


def test_a_rename_by_content_looks_at_the_live_edition_alone(desk: Desk) -> None:
    document_id = desk.live("a.md")
    view = desk.build()
    desk.want("a.md")
    built(desk, view, document_id, digest="only there")
    assert desk.documents.digests([document_id]) == {}


# failures ----------------------------------------------------------------------------------------------


def test_a_dead_letter_of_a_building_edition_is_counted_apart_and_blocks_the_switch(desk: Desk) -> None:
    document_id = desk.live("a.md")
    view = desk.build()
    assert desk.claims.fail(desk.claim(document_id, view.edition), "no", terminal=True)
    assert desk.state(document_id) == "live"
    assert desk.views.lags()[SOURCE].failed == 0
    assert desk.editions.backlog(view).failed == 1
    assert not desk.editions.switch(view)
    assert drop(desk.ledger.database, [document_id]) == 0
    assert document(desk, document_id)["standing"] == Standing.PRESENT
    (elsewhere,) = desk.views.elsewhere(document_id)
    assert (elsewhere.state, elsewhere.error) == ("failed", "no")


def test_a_dead_letter_that_is_accepted_does_not_block(desk: Desk) -> None:
    document_id = desk.live("a.md")
    view = desk.build()
    desk.claims.fail(desk.claim(document_id, view.edition), "no", terminal=True)
    desk.editions.resume(view.edition, accept_failed=True)
    (view,) = [one for one in desk.editions.fed() if one.state is EditionState.BUILDING]
    assert desk.editions.switch(view)
    assert desk.state(document_id) == "failed"
    assert desk.served() == []


def test_a_dead_letter_is_replayed_in_the_building_edition_too(desk: Desk) -> None:
    document_id = desk.live("a.md")
    view = desk.build()
    desk.claims.fail(desk.claim(document_id, view.edition), "no", terminal=True)
    assert desk.claims.replay() == 1
    built(desk, view, document_id)
    assert desk.editions.switch(view)


def test_a_dead_letter_of_the_live_edition_of_which_nothing_was_live_blocks_nothing(desk: Desk) -> None:
    (document_id,) = desk.want("a.md")
    view = desk.build()
    desk.claims.fail(desk.claim(document_id), "no", terminal=True)
    desk.claims.fail(desk.claim(document_id, view.edition), "no", terminal=True)
    assert desk.editions.switch(view)
    assert desk.state(document_id) == "failed"


def test_what_the_live_edition_could_not_publish_is_settled_by_the_new_one(desk: Desk) -> None:
    document_id = desk.live("a.md")
    view = desk.build()
    desk.want("a.md")
    desk.claims.fail(desk.claim(document_id), "no", terminal=True)
    built(desk, view, document_id, "newer", digest="second")
    assert desk.editions.switch(view)
    assert document(desk, document_id)["pending_since"] is not None
    assert desk.due(Lane.FRESH) == []  # of the old edition
    assert state_in(desk, view.edition, document_id) == ("pending", "fresh")
    desk.publications.publish([_unchanged(desk, view, document_id)])
    assert document(desk, document_id)["pending_since"] is None
    assert desk.state(document_id) == "live"


def test_a_held_document_that_lacks_blocks_the_switch(desk: Desk) -> None:
    document_id = desk.live("a.md")
    view = desk.build()
    desk.documents.hold([document_id], "the disk is not mounted")
    assert desk.claims.claim(view.edition, [document_id]) == []
    assert not desk.editions.switch(view)
    desk.documents.approve(SOURCE, desk.documents.held(SOURCE)[2])
    assert desk.editions.switch(view)


# the switch --------------------------------------------------------------------------------------------


def test_the_switch_changes_what_is_served_all_at_once(desk: Desk) -> None:
    first, second = desk.live("a.md", texts=["old a"]), desk.live("b.md", texts=["old b"])
    before = desk.fence.horizon()
    view = desk.build()
    built(desk, view, first, "new a")
    assert not desk.editions.switch(view)
    assert desk.served() == ["old a", "old b"]
    built(desk, view, second, "new b")
    assert desk.editions.switch(view)
    assert desk.served() == ["new a", "new b"]
    assert desk.served(horizon=before) == ["old a", "old b"], "a search that began before goes on"
    assert desk.fence.horizon().edition == view.edition
    assert [one.state.value for one in desk.editions.fed()] == ["live", "retiring"]


def test_switching_twice_is_refused(desk: Desk) -> None:
    view = switched(desk, "a.md")
    assert not desk.editions.switch(view)
    assert desk.fence.horizon().edition == view.edition


def test_an_older_revision_in_the_new_edition_forbids_the_switch(desk: Desk) -> None:
    document_id = desk.live("a.md")
    view = desk.build()
    built(desk, view, document_id)
    desk.publish(desk.edit(document_id), ["newer"], digest="second")
    assert not desk.editions.switch(view)
    built(desk, view, document_id, "newer", digest="second")
    assert desk.editions.switch(view)


def test_a_newer_one_forbids_it_while_an_attempt_in_the_live_one_is_under_way(desk: Desk) -> None:
    """What it publishes then may be newer than what the other one has read."""
    document_id = desk.live("a.md")
    view = desk.build()
    desk.want("a.md")
    built(desk, view, document_id, "newer", digest="second")
    claim = desk.claim(document_id)
    assert not desk.editions.switch(view)
    desk.publish(claim, ["newer"], digest="second")
    assert desk.editions.switch(view)


def test_a_newer_one_is_switched_to_while_the_change_only_waits_in_the_live_one(desk: Desk) -> None:
    """Where the live index is lost, it would wait for ever."""
    document_id = desk.live("a.md")
    view = desk.build()
    desk.want("a.md")
    desk.claims.release([desk.claim(document_id)], "The index is lost.")
    built(desk, view, document_id, "newer", digest="second")
    assert desk.editions.switch(view)
    assert desk.served() == ["newer"]
    assert state_in(desk, view.edition, document_id) == ("pending", "fresh"), "it is read again"


def test_a_change_that_waits_in_both_waits_on_in_the_fresh_lane(desk: Desk) -> None:
    document_id = desk.live("a.md")
    view = desk.build()
    built(desk, view, document_id)
    desk.want("a.md", sent=True)
    late = desk.claim(document_id)
    assert desk.editions.switch(view)
    assert state_in(desk, view.edition, document_id) == ("pending", "fresh")
    assert desk.claims.take_due(view.edition, Lane.FRESH, limit=9, batch=9, resend_s=30.0)
    pending_since = document(desk, document_id)["pending_since"]
    assert not desk.publish(late, ["newer"], digest="second").superseded
    assert document(desk, document_id)["pending_since"] == pending_since, "the old edition settles nothing"
    built(desk, view, document_id, "newer", digest="second")
    assert document(desk, document_id)["pending_since"] is None
    assert state_in(desk, desk.edition, document_id)[0] == "live"


def test_an_attempt_in_the_new_edition_from_before_the_switch_settles_after_it(desk: Desk) -> None:
    document_id = desk.live("a.md")
    view = desk.build()
    built(desk, view, document_id)
    desk.want("a.md")
    claim = desk.claim(document_id, view.edition)
    assert desk.editions.switch(view)
    assert not desk.publish(claim, ["newer"], digest="second").superseded
    assert document(desk, document_id)["pending_since"] is None
    assert desk.state(document_id) == "live"


def test_documents_of_a_source_that_left_the_settings_do_not_block(desk: Desk) -> None:
    desk.live("a.md")
    view = desk.build()
    desk.ledger.sources.configure([])
    assert desk.editions.switch(view)


def test_a_document_of_which_the_index_lacks_something_forbids_it(desk: Desk) -> None:
    document_id = desk.live("a.md")
    view = desk.build()
    built(desk, view, document_id)
    assert desk.claims.mark_repair(view.edition, [document_id]) == 1
    assert desk.editions.backlog(view).lacking == 1
    assert not desk.editions.switch(view)
    built(desk, view, document_id)
    assert desk.editions.switch(view)


def test_going_back_needs_what_is_kept_to_be_whole(desk: Desk) -> None:
    switched(desk, "a.md")
    (document_id,) = desk.document_ids()
    kept = desk.editions.in_state(EditionState.RETIRING)
    assert kept is not None
    desk.claims.mark_repair(kept.edition, [document_id])
    assert not desk.editions.switch(kept)


# pause, resume, cancel -----------------------------------------------------------------------------------


def test_a_paused_build_is_not_switched_and_its_time_stands_still(desk: Desk) -> None:
    document_id = desk.live("a.md")
    view = desk.build()
    built(desk, view, document_id)
    desk.clock.at += 10.0
    desk.editions.pause(view.edition, "asked")
    desk.clock.at += 100.0
    (paused,) = [one for one in desk.editions.fed() if one.state is EditionState.BUILDING]
    assert (paused.paused, paused.working_s, paused.fault) == (True, 10.0, "asked")
    assert not desk.editions.switch(paused)
    desk.editions.pause(view.edition)
    gate = Gate(0.5, [("what?", ("a.md",))])
    desk.editions.resume(view.edition, gate)
    desk.clock.at += 1.0
    (going,) = [one for one in desk.editions.fed() if one.state is EditionState.BUILDING]
    assert (going.paused, going.working_s, going.fault, going.gate) == (False, 11.0, None, gate)
    assert desk.editions.switch(going)


def test_a_fault_ends_when_it_goes_on_and_is_no_news_to_a_pause(desk: Desk) -> None:
    desk.live("a.md")
    view = desk.build()

    def fault() -> str | None:
        return desk.editions.fed()[1].fault

    desk.editions.note_fault(view.edition, "no model here")
    assert fault() == "no model here"
    desk.editions.note_fault(view.edition, None)
    assert fault() is None
    desk.editions.pause(view.edition, "the gate")
    desk.editions.note_fault(view.edition, "no model here")
    desk.editions.note_fault(view.edition, None)
    assert fault() == "the gate"


def test_a_cancelled_build_takes_nothing_more(desk: Desk) -> None:
    document_id, other = desk.live("a.md"), desk.live("b.md")
    view = desk.build()
    claim = desk.claim(document_id, view.edition)
    assert desk.editions.cancel() == view.edition
    assert desk.editions.cancel() is None
    assert desk.publish_stale(claim)
    assert not desk.claims.fail(claim, "no", terminal=True)
    assert desk.claims.claim(view.edition, [other]) == []
    assert not desk.editions.switch(view)
    desk.want("a.md")
    assert desk.served() == ["one", "one"]


def test_removal_takes_everything_of_the_old_one_and_nothing_else(desk: Desk) -> None:
    document_id = desk.live("a.md")
    view = desk.build()
    built(desk, view, document_id)
    desk.editions.cancel()
    assert desk.editions.ended(desk.clock.at) == []
    desk.clock.at += 60.0
    (ended,) = desk.editions.ended(desk.clock.at)
    desk.editions.remove(ended)
    assert desk.editions.ended(desk.clock.at) == []
    assert list(desk.ledger.audits.live(view.edition)) == []
    assert desk.served() == ["one"]
    assert desk.views.history(document_id)[-1].edition == view.edition.name


def test_nothing_of_a_live_edition_is_removed(desk: Desk) -> None:
    desk.live("a.md")
    desk.editions.remove(desk.edition)
    assert desk.served() == ["one"]


def test_an_old_worker_gets_nothing_of_an_edition_of_another_model(desk: Desk) -> None:
    document_id = desk.live("a.md")
    view = desk.build()
    foreign = dataclasses.replace(view.edition, fingerprint=desk.edition.fingerprint)
    assert desk.claims.claim(foreign, [document_id]) == []
    assert desk.claim(document_id, view.edition)


def test_another_pipeline_is_indexed_again_edition_by_edition(desk: Desk) -> None:
    document_id = desk.live("a.md")
    view = desk.build()
    built(desk, view, document_id)
    assert desk.claims.reindex(view.edition, made_by(f"{PIPELINE}, of the other")) == 1
    assert state_in(desk, desk.edition, document_id)[0] == "live"
    assert state_in(desk, view.edition, document_id) == ("pending", "bulk")


# going back ----------------------------------------------------------------------------------------------


def test_going_back_is_never_stale(desk: Desk) -> None:
    view = switched(desk, "a.md")
    (document_id,) = desk.document_ids()
    desk.want("a.md")
    desk.publish(desk.claim(document_id, view.edition), ["edited"], digest="second")
    kept = desk.editions.in_state(EditionState.RETIRING)
    assert kept is not None
    assert kept.edition == desk.edition
    assert not desk.editions.switch(kept)
    assert desk.served() == ["edited"]
    desk.publish(desk.claim(document_id), ["edited back"], digest="second")
    assert desk.editions.switch(kept)
    assert desk.served() == ["edited back"]
    forth = desk.editions.in_state(EditionState.RETIRING)
    assert forth is not None
    assert forth.edition == view.edition
    assert desk.editions.switch(forth), "and forth again"


def test_what_was_deleted_since_does_not_come_back(desk: Desk) -> None:
    switched(desk, "a.md", "b.md")
    first, _ = desk.document_ids()
    desk.retire(first)
    kept = desk.editions.in_state(EditionState.RETIRING)
    assert kept is not None
    assert desk.editions.switch(kept)
    assert desk.served() == ["one"]


def test_the_old_one_is_given_up_when_its_time_is_over(desk: Desk) -> None:
    switched(desk, "a.md")
    desk.clock.at += 3599.0
    assert desk.editions.expire() is None
    desk.clock.at += 1.0
    assert desk.editions.expire() == desk.edition
    assert desk.editions.in_state(EditionState.RETIRING) is None
    assert desk.editions.expire() is None


def _unchanged(desk: Desk, view: EditionView, document_id: int) -> Publishing:
    claim = desk.claim(document_id, view.edition)
    kept = [row.chunk_id for row in desk.publications.manifests([claim])[document_id]]
    return desk.publishing(claim, [], kept=kept, digest="second")
