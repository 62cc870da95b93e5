"""A second edition on the real pipeline: built, fed, switched to, gone back from, given up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ingestion.buckets import Tally
from ingestion.errors import (
    EditionMissing,
    EmbedderRejected,
    EmbedderUnavailable,
    IndexUnavailable,
    LedgerUnavailable,
    ModelMissing,
)
from ingestion.ledger.editions import NewEdition
from ingestion.ledger.values import EditionState, EditionView, Gate
from ingestion.records import Lane
from ingestion.sources.memory import MemorySource
from retrieval.embedding.port import Vectors
from tests.rig import CountingEmbedder, Rig, fresh_database, from_scratch
from workers.dispatch import BATCH_BESIDE, RESEND_S
from workers.equipment import IDLE_S, RETIRED_FOR_S, TRY_AGAIN_S, Equipment, Equipped
from workers.outcomes import Result
from workers.reconcile import BURST

DOCUMENTS = 5


@pytest.fixture
def filled(rig: Rig, source: MemorySource) -> Rig:
    for number in range(DOCUMENTS):
        source.put(f"{number}.md", text(number))
    rig.sync()
    rig.forget_outcomes()
    return rig


def text(number: int, revision: int = 0) -> bytes:
    return f"# Note {number}\n\nThe tide of revision {revision} in note {number}.\n".encode()


def burst(rig: Rig, source: MemorySource) -> None:
    """So many new documents at once that they go to the bulk lane."""
    for number in range(BURST + 1):
        source.put(f"more {number}.md", text(number))
    rig.reconciler.list_source(rig.sources["notes"])
    assert not rig.queue


def live_name(rig: Rig) -> str:
    return rig.ledger.fence.horizon().edition.name


def states(rig: Rig) -> list[str]:
    return [view.state.value for view in rig.ledger.editions.fed()]


def as_from_scratch(rig: Rig, source: MemorySource, folder: Path) -> None:
    """What is live is what an undisturbed index of the source would hold, and answers are whole."""
    passages, _ = from_scratch(folder / "scratch", [source], [])
    assert rig.passages() == passages
    rig.consistent()


# building ------------------------------------------------------------------------------------------------


def test_a_second_edition_is_built_and_searches_go_over(
    filled: Rig, source: MemorySource, tmp_path: Path
) -> None:
    before = filled.answers("tide of note 3")
    view = filled.rebuild()
    filled.build()
    assert live_name(filled) == view.edition.name == filled.edition.name
    assert states(filled) == ["live", "retiring"]
    assert sorted(filled.other.texts) and not filled.embedder.texts
    assert {uri for _, uri, _, _ in filled.answers("tide of note 3")} == {uri for _, uri, _, _ in before}
    as_from_scratch(filled, source, tmp_path)


def test_users_hear_nothing_of_what_is_built(filled: Rig) -> None:
    filled.rebuild()
    filled.build()
    assert filled.outcomes == []


def test_edits_renames_and_deletions_during_a_build_go_to_both(
    filled: Rig, source: MemorySource, tmp_path: Path
) -> None:
    filled.rebuild()
    filled.work.dispatch()
    source.put("0.md", text(0, 1))
    source.rename("1.md", "one.md")
    source.delete("2.md")
    source.put("new.md", text(9))
    filled.scan()
    filled.work_off()
    assert "The tide of revision 1 in note 0." in str(filled.answers("tide"))
    filled.build()
    filled.settle()
    assert states(filled) == ["live", "retiring"]
    assert {uri for _, uri, _, _ in filled.answers("tide")} == {"0.md", "one.md", "3.md", "4.md", "new.md"}
    as_from_scratch(filled, source, tmp_path)


def test_bulk_work_of_the_live_edition_goes_first(filled: Rig, source: MemorySource) -> None:
    filled.rebuild()
    filled.work.dispatch()
    assert filled.beside
    filled.beside.clear()
    filled.ledger.claims.forget_messages()
    burst(filled, source)
    filled.work.dispatch()
    assert filled.queue
    assert not filled.beside
    filled.work_off()
    filled.work.dispatch()
    assert filled.beside


def test_a_batch_under_way_is_handed_back_when_live_bulk_work_comes(
    filled: Rig, source: MemorySource
) -> None:
    filled.rebuild()
    filled.work.dispatch()
    burst(filled, source)
    filled.build_off()
    assert not filled.other.texts
    filled.settle()
    filled.build()
    assert states(filled) == ["live", "retiring"]


def test_messages_for_a_build_are_small(filled: Rig, source: MemorySource) -> None:
    for number in range(20 * BATCH_BESIDE):
        source.put(f"many/{number}.md", text(number))
    filled.sync()
    filled.rebuild()
    filled.work.dispatch()
    assert max(len(ids) for _, ids in filled.beside) == BATCH_BESIDE


def test_the_same_model_again_for_an_index_that_is_lost(filled: Rig) -> None:
    lost = filled.edition
    inner = filled.embedder.inner
    filled.index.drop(lost.name)
    filled.index.create(lost.name, lost.dimensions)
    assert filled.answers("tide of note 3") == []
    filled.ledger.editions.start(
        NewEdition(inner.fingerprint, inner.dimensions, inner.description, {}, keep_s=0.0)
    )
    filled.build()
    assert live_name(filled) == f"{lost.name}_2"
    assert len(filled.answers("tide of note 3")) == DOCUMENTS
    filled.work.dispatch()
    filled.advance(RETIRED_FOR_S + 1.0)
    filled.work.sweep()
    assert states(filled) == ["live"]


def test_an_audit_brings_no_edition_back_that_has_ended(filled: Rig) -> None:
    """Its model is kept for a minute, in which its collection may be removed by another process."""
    view = filled.rebuild()
    filled.work.dispatch()
    assert [one.edition for one in filled.equipment.others] == [view.edition]
    filled.ledger.editions.cancel()
    filled.index.drop(view.edition.name)
    filled.work.audit()
    with pytest.raises(EditionMissing):
        filled.index.count(view.edition.name)
    auditor = filled.upkeep.auditor(filled.reconciler, filled.sources, filled.work.list_source, settle_s=0.0)
    assert auditor.audit(view.edition, repair=True)[0].found == {}  # it ended just after it was asked for
    with pytest.raises(EditionMissing):
        filled.index.count(view.edition.name)


def test_the_way_out_of_a_lost_index_stays_open_under_edits_and_bulk_work(
    filled: Rig, source: MemorySource, tmp_path: Path
) -> None:
    """What waits in the edition that is lost can never be published there: nothing waits for it."""
    lost = filled.edition
    filled.index.drop(lost.name)
    burst(filled, source)
    source.put("0.md", text(0, 1))
    filled.look("0.md")
    view = filled.rebuild()
    filled.build()
    assert live_name(filled) == view.edition.name
    filled.settle()
    passages, _ = from_scratch(tmp_path / "scratch", [source], [])
    assert filled.passages() == passages, "with the edit and the new documents"


def test_a_lost_live_edition_is_not_made_again_by_a_build(filled: Rig) -> None:
    """Its searches fail, as they should: empty answers would be worse."""
    filled.index.drop(filled.edition.name)
    filled.rebuild()
    filled.work.dispatch()
    with pytest.raises(EditionMissing):
        filled.index.count(filled.edition.name)


def test_a_building_edition_that_the_index_has_lost_is_made_again(filled: Rig) -> None:
    view = filled.rebuild()
    filled.work.dispatch()
    filled.index.drop(view.edition.name)
    filled.build()
    assert live_name(filled) == view.edition.name
    assert len(filled.answers("tide of note 3")) == DOCUMENTS


@pytest.mark.parametrize("lost", ["the collection", "some chunks"])
def test_what_the_index_lost_after_it_was_built_is_made_again_before_the_switch(
    filled: Rig, source: MemorySource, tmp_path: Path, lost: str
) -> None:
    """As a store that was restored from an older backup: the ledger alone would call it complete."""
    view = filled.rebuild()
    name = view.edition.name
    filled.work.dispatch()
    switch, filled.builder.try_switch = filled.builder.try_switch, lambda: False  # type: ignore[method-assign]
    filled.build_off()
    assert filled.ledger.editions.backlog(view).lacking == 0
    if lost == "the collection":
        filled.index.drop(name)
        filled.index.create(name, view.edition.dimensions)
    else:
        filled.index.delete(name, [chunk_id for chunk_id, _ in filled.index.ids(name)][:2])
    filled.builder.try_switch = switch  # type: ignore[method-assign]
    assert not filled.builder.try_switch()
    filled.build()
    assert live_name(filled) == name
    assert len(filled.answers("tide of note 3")) == DOCUMENTS
    as_from_scratch(filled, source, tmp_path)


def test_the_index_is_looked_through_once_before_a_switch(filled: Rig) -> None:
    """Not at each moment at which nothing lacks: that may take seconds."""
    view = filled.rebuild(gate=Gate(1.0, [("tide", ("nowhere.md",))]))
    counted: list[str] = []
    buckets = filled.index.buckets

    def counting(edition: str) -> Mapping[int, Tally]:
        counted.append(edition)
        return buckets(edition)

    filled.index.buckets = counting  # type: ignore[method-assign]
    filled.build()
    filled.ledger.editions.resume(view.edition)
    filled.build()
    assert counted == [view.edition.name]


def test_an_index_that_is_away_is_not_switched_to(filled: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    old = live_name(filled)
    view = filled.rebuild()

    def away(edition: str) -> Mapping[int, Tally]:
        raise IndexUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(filled.index, "buckets", away)
        filled.build()
        assert live_name(filled) == old
    filled.build()
    assert live_name(filled) == view.edition.name


def test_building_counts_no_documents(filled: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be a million of them, and it looks every other second: to count is for reports."""

    def counted(view: EditionView) -> None:
        raise AssertionError("counted")

    view = filled.rebuild()
    monkeypatch.setattr(filled.ledger.editions, "backlog", counted)
    filled.build()
    assert live_name(filled) == view.edition.name


def test_near_the_end_an_edit_is_followed_at_once(filled: Rig, source: MemorySource) -> None:
    """Otherwise an edition under edits would always lack the last one."""
    view = filled.rebuild()
    filled.ledger.editions.fill(view.edition)
    source.put("0.md", text(0, 1))
    filled.work.dispatch()
    filled.build_off()
    assert filled.builder.following()
    source.put("1.md", text(1, 1))
    filled.look("1.md")
    filled.advance(1.0)
    filled.work_off()
    ids = filled.document_ids()
    with filled.ledger.database.read() as connection:
        found = connection.exec_driver_sql(
            "SELECT count(DISTINCT digest) FROM publications"
            f" WHERE document_id = {ids['1.md']} AND state = 'live'"
        ).scalar_one()
    assert found == 1, "both editions have the edit"


# the gate, failures ----------------------------------------------------------------------------------------


def test_a_gate_that_is_not_passed_leaves_searches_where_they_are(filled: Rig) -> None:
    old = live_name(filled)
    asked = [("tide in note 3", ("notes/3.md",)), ("tide in note 4", ("nowhere.md",))]
    view = filled.rebuild(gate=Gate(0.9, asked))
    filled.build()
    filled.work.dispatch()
    paused = filled.ledger.editions.in_state(EditionState.BUILDING)
    assert paused is not None
    assert paused.paused
    assert "0.500, below 0.9" in str(paused.fault)
    assert live_name(filled) == old
    filled.ledger.editions.resume(view.edition, Gate(0.5, asked))
    filled.build()
    assert live_name(filled) == view.edition.name


class Refusing(CountingEmbedder):
    """A second model that cannot embed one text, or is away."""

    refuses: str | None = "note 2"
    away = False

    def embed(self, texts: object, lane: Lane, tokens: object) -> Vectors:
        if self.away:
            raise EmbedderUnavailable("away")
        if self.refuses and any(self.refuses in one for one in texts):  # type: ignore[attr-defined]
            raise EmbedderRejected("This text cannot be embedded.")
        return super().embed(texts, lane, tokens)  # type: ignore[arg-type]


@pytest.fixture
def refusing(tmp_path: Path, source: MemorySource) -> Iterator[Rig]:
    database = fresh_database(tmp_path)
    rig = Rig(database, [source], other=Refusing(48))
    rig.recover()
    for number in range(DOCUMENTS):
        source.put(f"{number}.md", text(number))
    rig.sync()
    rig.forget_outcomes()
    yield rig
    database.close()


def test_what_fails_in_the_new_edition_alone_keeps_searches_where_they_are(
    refusing: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    old = live_name(refusing)
    with caplog.at_level(logging.WARNING):
        view = refusing.rebuild()
        refusing.build()
    assert "dead letter in the edition" in caplog.text
    assert refusing.results(Result.DEAD) == []
    assert set(refusing.states().values()) == {"live"}
    assert live_name(refusing) == old
    assert refusing.ledger.editions.backlog(view).failed == 1
    refusing.other.refuses = None  # type: ignore[attr-defined]
    assert refusing.ledger.claims.replay() == 1
    refusing.build()
    assert live_name(refusing) == view.edition.name


def test_a_model_that_is_away_costs_a_build_time_and_nothing_else(refusing: Rig) -> None:
    refusing.other.refuses = None  # type: ignore[attr-defined]
    refusing.other.away = True  # type: ignore[attr-defined]
    view = refusing.rebuild()
    refusing.work.dispatch()
    refusing.build_off()
    backlog = refusing.ledger.editions.backlog(view)
    assert (backlog.failed, backlog.done) == (0, 0)
    refusing.other.away = False  # type: ignore[attr-defined]
    refusing.advance(61.0)
    refusing.build()
    assert live_name(refusing) == view.edition.name


def test_a_model_that_is_not_here_is_said_and_tried_again(filled: Rig) -> None:
    view = filled.rebuild()
    filled.other = CountingEmbedder(49)  # another model than the one the build was begun with
    equip = filled.equipment._equip
    filled.equipment._equip = lambda one: filled._equipped(filled.edition)
    filled.work.dispatch()
    building = filled.ledger.editions.in_state(EditionState.BUILDING)
    assert building is not None
    assert "its model is another one now" in str(building.fault)
    assert filled.equipment.of(view.edition.edition_id) is None
    filled.other = CountingEmbedder(48)
    filled.equipment._equip = equip
    filled.advance(TRY_AGAIN_S)
    filled.build()
    assert live_name(filled) == view.edition.name


def no_model(view: EditionView) -> Equipped:
    raise ModelMissing("Its model is not here.")


def test_a_process_that_only_searches_says_nothing_of_how_a_build_goes(filled: Rig) -> None:
    filled.rebuild()
    live = filled.equipment.live
    searching = Equipment(filled.ledger, filled.index, live, no_model, filled.clock)
    searching.look()
    building = filled.ledger.editions.in_state(EditionState.BUILDING)
    assert building is not None
    assert building.fault is None


def test_a_process_without_the_model_that_searches_go_to_says_so(filled: Rig) -> None:
    """It goes on answering, by words alone."""
    searching = Equipment(filled.ledger, filled.index, filled.equipment.live, no_model, filled.clock)
    filled.rebuild()
    searching.look()
    assert searching.missing() is None, "searches go to the other one yet"
    filled.build()
    searching.look()
    assert "Its model is not here" in str(searching.missing())
    assert searching.embed_query("tide", filled.edition) is None
    searching._equip = filled._equip
    filled.advance(TRY_AGAIN_S)
    searching.look()
    assert searching.missing() is None
    assert searching.embed_query("tide", filled.edition) is not None


def test_what_one_worker_lacks_is_forgotten_as_soon_as_another_builds_on(
    filled: Rig, source: MemorySource
) -> None:
    view = filled.rebuild()
    filled.work.dispatch()
    other = Rig(filled.ledger.database, [source], clock=filled.clock)
    other.equipment._equip = no_model
    other.work.dispatch()
    assert "not here" in str(filled.ledger.editions.fed()[1].fault)
    edition_id, ids = filled.beside.popleft()
    filled.work.refresh(ids, Lane.BULK, edition_id)
    assert filled.ledger.editions.backlog(view).done
    assert filled.ledger.editions.fed()[1].fault is None


def test_nothing_is_built_while_its_model_is_being_loaded(filled: Rig) -> None:
    filled.rebuild()
    filled.ready = False
    filled.work.dispatch()
    assert not filled.beside
    filled.ready = True
    filled.build()
    assert states(filled) == ["live", "retiring"]


def test_messages_are_not_forgotten_because_a_second_model_is_not_ready(
    filled: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would be sent again every other second, those of the live edition, too."""
    view = filled.rebuild()
    filled.work.dispatch()
    one = filled.equipment.of(view.edition.edition_id)
    assert one is not None
    filled.equipment._all[view.edition.edition_id] = replace(one, ready=lambda: False)
    filled.build_off()
    forgotten: list[bool] = []
    monkeypatch.setattr(filled.ledger.claims, "forget_messages", lambda: forgotten.append(True))
    filled.work.dispatch()
    assert not forgotten
    filled.equipment._all[view.edition.edition_id] = one
    filled.advance(RESEND_S + 1.0)
    filled.build()
    assert live_name(filled) == view.edition.name


def test_a_message_that_met_no_ledger_is_sent_again(
    filled: Rig, source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that hears of the edition for the first time looks at the ledger before it claims."""
    filled.rebuild()
    filled.work.dispatch()
    other = Rig(filled.ledger.database, [source], clock=filled.clock)
    other.beside = filled.beside

    def away() -> None:
        raise LedgerUnavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(other.ledger.editions, "fed", away)
        other.build_off()
    assert not other.beside
    other.work.dispatch()  # the messages would count as lost only half a minute later
    assert other.beside
    other.build()
    assert states(other) == ["live", "retiring"]


# pause, cancel, back ---------------------------------------------------------------------------------------


def test_paused_and_resumed(filled: Rig) -> None:
    view = filled.rebuild()
    filled.work.dispatch()
    filled.ledger.editions.pause(view.edition)
    filled.advance(2.0)
    filled.build_off()
    filled.work.dispatch()
    assert not filled.other.texts
    assert not filled.beside
    filled.ledger.editions.resume(view.edition)
    filled.build()
    assert live_name(filled) == view.edition.name


def test_cancelled_in_the_middle(filled: Rig) -> None:
    view = filled.rebuild()
    filled.work.dispatch()
    edition_id, ids = filled.beside.popleft()
    filled.work.refresh(ids, Lane.BULK, edition_id)
    assert filled.index.count(view.edition.name)
    filled.ledger.editions.cancel()
    filled.build_off()
    filled.advance(RETIRED_FOR_S + 1.0)
    filled.work.dispatch()
    filled.work.sweep()
    assert states(filled) == ["live"]
    assert filled.equipment.of(view.edition.edition_id) is None
    with filled.ledger.database.read() as connection:
        left = connection.exec_driver_sql(
            "SELECT count(*) FROM sqlite_master WHERE name LIKE 'embedded_2_%'"
        ).scalar_one()
    assert left == 0
    filled.consistent()


def test_going_back_after_edits_is_never_stale(filled: Rig, source: MemorySource, tmp_path: Path) -> None:
    old = live_name(filled)
    filled.rebuild()
    filled.build()
    source.put("0.md", text(0, 1))
    source.delete("1.md")
    source.rename("2.md", "two.md")
    filled.scan()
    filled.work_off()
    kept = filled.ledger.editions.in_state(EditionState.RETIRING)
    assert kept is not None
    assert not filled.ledger.editions.switch(kept), "it lacks the edit"
    filled.build()
    assert filled.ledger.editions.switch(kept)
    assert live_name(filled) == old
    filled.work.dispatch()
    filled.settle()
    assert "The tide of revision 1 in note 0." in str(filled.answers("tide"))
    as_from_scratch(filled, source, tmp_path)


def test_a_kept_editions_model_lies_in_memory_only_while_edits_wait(
    filled: Rig, source: MemorySource
) -> None:
    kept = filled.edition
    filled.rebuild()
    filled.build()
    filled.advance(IDLE_S + 1.0)
    filled.work.dispatch()
    assert filled.equipment.others == []
    source.put("0.md", text(0, 1))
    filled.sync()
    filled.build()
    assert [one.edition for one in filled.equipment.others] == [kept]
    filled.advance(IDLE_S + 1.0)
    filled.work.dispatch()
    assert filled.equipment.others == []


def test_what_was_kept_is_removed_when_its_time_is_over(
    filled: Rig, source: MemorySource, tmp_path: Path
) -> None:
    kept = filled.edition
    filled.rebuild(keep_s=600.0)
    filled.build()
    filled.advance(601.0)
    filled.work.dispatch()
    filled.advance(RETIRED_FOR_S + 1.0)
    filled.work.dispatch()
    filled.work.sweep()
    assert states(filled) == ["live"]
    assert filled.live_chunks(kept) == []
    assert filled.ledger.editions.ended(filled.clock.now()) == []
    as_from_scratch(filled, source, tmp_path)


# crashes -----------------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process ends here."""


CRASHES: dict[str, Callable[[Rig], tuple[object, str]]] = {
    "while it is filled": lambda rig: (rig.ledger.editions, "fill"),
    "before a publish": lambda rig: (rig.ledger.publications, "publish"),
    "while it is staged": lambda rig: (rig.ledger.publications, "stage"),
    "before the index holds it": lambda rig: (rig.index, "upsert"),
    "before the switch": lambda rig: (rig.ledger.editions, "switch"),
    "when it expires": lambda rig: (rig.ledger.editions, "expire"),
    "before it is dropped": lambda rig: (rig.index, "drop"),
    "before it is removed": lambda rig: (rig.ledger.editions, "remove"),
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("where", CRASHES)
def test_a_crash_anywhere_resumes(tmp_path: Path, source: MemorySource, where: str, after: bool) -> None:
    database = fresh_database(tmp_path)
    rig = Rig(database, [source])
    rig.recover()
    for number in range(DOCUMENTS):
        source.put(f"{number}.md", text(number))
    rig.sync()
    view = rig.rebuild(keep_s=100.0)
    place, name = CRASHES[where](rig)
    real = getattr(place, name)

    def crash(*arguments: object, **options: object) -> object:
        if after:
            real(*arguments, **options)
        raise Crash

    setattr(place, name, crash)
    with pytest.raises(Crash):
        whole_life(rig)
    again = Rig(database, [source], clock=rig.clock)
    again.recover()
    source.put("0.md", text(0, 1))
    again.sync()
    whole_life(again)
    assert live_name(again) == view.edition.name
    assert states(again) == ["live"]
    as_from_scratch(again, source, tmp_path)
    database.close()


def whole_life(rig: Rig) -> None:
    """From the wish to the removal of what was before."""
    rig.build()
    rig.advance(101.0)
    rig.work.dispatch()
    rig.advance(RETIRED_FOR_S + 1.0)
    rig.work.dispatch()
    rig.work.sweep()


# searches ------------------------------------------------------------------------------------------------


def test_a_switch_in_the_middle_of_a_search_mixes_nothing(filled: Rig) -> None:
    """At the latest moment, between the vector and the horizon: the answer is the new edition's, with its
    own vector."""
    filled.answers("tide")  # the searcher knows the live edition now
    view = filled.rebuild()
    filled.ledger.editions.fill(view.edition)
    filled.equipment.look()
    one = filled.equipment.of(view.edition.edition_id)
    assert one is not None
    refresher = filled._refresher(one)
    refresher.refresh(view.edition, list(filled.document_ids().values()), Lane.BULK)
    asked: list[str] = []
    embed = filled.searcher._embed_query

    def switching(question: str, edition: object) -> Vectors | None:
        asked.append(getattr(edition, "name", ""))
        if len(asked) == 1:
            assert filled.ledger.editions.switch(view)
        return embed(question, edition)  # type: ignore[arg-type]

    filled.searcher._embed_query = switching
    hits = filled.answers("tide of note 3", top_k=DOCUMENTS)
    assert len(hits) == DOCUMENTS
    assert asked == [filled.ledger.editions.fed()[1].edition.name, view.edition.name]
