"""Absence needs evidence: what is retired, what is held, and what a blind or stale look may not say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from ingestion.database import Database
from ingestion.plan import GUARD_DOCUMENTS
from ingestion.records import Gone, Observation
from ingestion.sources.memory import MemorySource
from ingestion.sources.port import SourcePort, one_by_one
from tests.rig import SOURCE, Rig, ShiftedClock
from workers.outcomes import Result

Notice = Callable[[Rig, list[str]], None]


def by_listing(rig: Rig, _uris: list[str]) -> None:
    rig.sync()


def by_hints(rig: Rig, uris: list[str]) -> None:
    rig.look(*uris)
    rig.settle()


notices = pytest.mark.parametrize("notice", [by_listing, by_hints])


def fill(rig: Rig, source: MemorySource, number: int) -> list[str]:
    uris = [f"{n:03}.md" for n in range(number)]
    for uri in uris:
        source.put(uri, f"words of {uri}".encode())
    rig.sync()
    assert set(rig.states().values()) == {"live"}
    return uris


def delete(source: MemorySource, uris: list[str]) -> list[str]:
    for uri in uris:
        source.delete(uri)
    return uris


def held(rig: Rig) -> list[str]:
    return sorted(uri for uri, state in rig.states().items() if state == "held")


def served(rig: Rig) -> list[str]:
    return [uri for uri, *_ in rig.passages()]


@notices
@pytest.mark.parametrize(("number", "deleted"), [(20, 10), (200, 20), (3, 2)])
def test_few_or_a_small_share_are_retired_unasked(
    rig: Rig, source: MemorySource, notice: Notice, number: int, deleted: int
) -> None:
    uris = fill(rig, source, number)
    notice(rig, delete(source, uris[:deleted]))
    assert sorted(rig.states()) == uris[deleted:] == served(rig)


@notices
@pytest.mark.parametrize(("number", "deleted"), [(20, 11), (100, 12), (5, 5), (1, 1)])
def test_many_at_once_or_all_are_held_and_stay_served(
    rig: Rig, source: MemorySource, notice: Notice, number: int, deleted: int
) -> None:
    uris = fill(rig, source, number)
    gone = delete(source, uris[:deleted])
    notice(rig, gone)
    assert held(rig) == gone
    assert served(rig) == uris
    assert {hit[1] for hit in rig.answers("words")} == set(uris)
    (told,) = [one for one in rig.outcomes if one.result is Result.HELD]
    are_not = "1 document is not there" if deleted == 1 else f"{deleted} documents are not there"
    assert told.detail.startswith(are_not)
    assert f"headwater approve {SOURCE}" in told.detail

    entries, _, shown = rig.ledger.documents.held(SOURCE)
    assert [entry.uri for entry in entries] == gone
    assert len(rig.ledger.documents.approve(SOURCE, shown)) == deleted
    rig.sync()
    assert served(rig) == uris[deleted:] == sorted(rig.states())


def test_deletions_in_pieces_within_the_window_count_together(rig: Rig, source: MemorySource) -> None:
    uris = fill(rig, source, 50)
    by_hints(rig, delete(source, uris[:8]))
    by_hints(rig, delete(source, uris[8:16]))
    assert held(rig) == uris[8:16]


def test_deletions_one_after_the_other_do_not(rig: Rig, source: MemorySource, clock: ShiftedClock) -> None:
    uris = fill(rig, source, 50)
    for start in range(0, 40, 8):
        by_hints(rig, delete(source, uris[start : start + 8]))
        clock.shift_s += 10.0
    assert held(rig) == []
    assert served(rig) == uris[40:]


@notices
def test_what_is_held_waits_for_approval_whatever_comes_later(
    rig: Rig, source: MemorySource, clock: ShiftedClock, notice: Notice
) -> None:
    uris = fill(rig, source, 50)
    by_hints(rig, delete(source, uris[:8]))
    by_hints(rig, delete(source, uris[8:16]))
    clock.shift_s += 100.0
    notice(rig, uris[8:16])  # eight absences alone would be few enough
    assert held(rig) == uris[8:16]
    notice(rig, delete(source, uris[16:18]))  # others are retired all the same
    assert held(rig) == uris[8:16]
    assert served(rig) == [*uris[8:16], *uris[18:]]


def test_new_documents_do_not_dilute_what_is_held(rig: Rig, source: MemorySource) -> None:
    uris = fill(rig, source, 20)
    delete(source, uris[:12])
    rig.sync()
    for number in range(200):
        source.put(f"new {number}.md", f"new words {number}".encode())
    rig.sync()
    assert held(rig) == uris[:12]


@notices
def test_held_documents_that_come_back_are_live_again(rig: Rig, source: MemorySource, notice: Notice) -> None:
    uris = fill(rig, source, 5)
    before = rig.document_ids()
    for uri in uris:
        source.rename(uri, f"hidden/{uri}")
    source.make_blind("hidden/")
    notice(rig, uris)
    assert held(rig) == uris
    source.make_blind()
    for uri in uris:
        source.rename(f"hidden/{uri}", uri)
    source.put(uris[0], b"changed words meanwhile")
    rig.forget_outcomes()
    notice(rig, uris)
    assert set(rig.states().values()) == {"live"}
    assert rig.document_ids() == before
    assert rig.embedder.texts == ["changed words meanwhile"]


def test_a_held_document_found_under_another_name_is_a_rename(rig: Rig, source: MemorySource) -> None:
    uris = fill(rig, source, 5)
    before = rig.document_ids()
    for uri in uris:
        source.rename(uri, f"hidden/{uri}")
    source.make_blind("hidden/")
    rig.sync()
    assert held(rig) == uris
    source.make_blind()
    rig.sync()
    assert rig.document_ids() == {f"hidden/{uri}": before[uri] for uri in uris}
    assert set(rig.states().values()) == {"live"}


def test_a_missing_root_holds_everything_and_its_return_ends_that(rig: Rig, source: MemorySource) -> None:
    uris = fill(rig, source, 5)
    source.make_unavailable("not mounted")
    listed = rig.scan()
    assert listed.fault is not None
    assert "not mounted" in listed.fault
    assert held(rig) == uris == served(rig)
    state = rig.ledger.sources.state(SOURCE)
    assert state is not None
    assert state.fault is not None
    rig.scan()  # again and again
    assert len(rig.results(Result.HELD)) == 1
    source.make_available()
    rig.forget_outcomes()
    rig.sync()
    assert set(rig.states().values()) == {"live"}
    assert rig.embedder.texts == []
    state = rig.ledger.sources.state(SOURCE)
    assert state is not None
    assert state.fault is None


def test_a_hint_while_the_root_is_missing_holds_everything_too(rig: Rig, source: MemorySource) -> None:
    uris = fill(rig, source, 5)
    source.make_unavailable("not mounted")
    assert rig.look(uris[0]) is None
    assert held(rig) == uris


def test_a_worker_that_meets_a_missing_root_retires_nothing(rig: Rig, source: MemorySource) -> None:
    uris = fill(rig, source, 5)
    source.put(uris[0], b"newer words")
    rig.scan()
    source.make_unavailable("not mounted")
    rig.work_off()
    assert rig.states() == {uri: "pending" if uri == uris[0] else "live" for uri in uris}
    source.make_available()
    rig.settle()
    assert set(rig.states().values()) == {"live"}


def test_another_device_is_another_place_unless_it_holds_the_same(rig: Rig, source: MemorySource) -> None:
    uris = fill(rig, source, 30)
    source.device = 2
    delete(source, uris[:4])
    rig.sync()
    assert held(rig) == uris[:4]  # a tenth is gone, so it might be another place
    rig.sync()
    assert held(rig) == uris[:4]  # and it is not taken for the right one by being seen twice
    source.device = 1
    rig.sync()
    source.device = 2
    delete(source, uris[4:5])
    _, _, shown = rig.ledger.documents.held(SOURCE)
    rig.ledger.documents.approve(SOURCE, shown)
    rig.sync()
    assert held(rig) == []  # nearly all is unchanged: the device is adopted
    assert served(rig) == uris[5:]
    by_hints(rig, delete(source, uris[5:6]))
    assert served(rig) == uris[6:]


def test_another_machine_has_another_number_for_the_same_device(rig: Rig, source: MemorySource) -> None:
    uris = fill(rig, source, 30)
    source.machine, source.device = "another", 51
    delete(source, uris[:4])
    rig.sync()
    assert held(rig) == []
    source.machine, source.device = "", 1
    by_hints(rig, delete(source, uris[4:5]))
    assert held(rig) == []
    source.device = 2
    by_hints(rig, delete(source, uris[5:6]))
    assert held(rig) == uris[5:6]  # what this machine saw is still compared
    assert served(rig) == uris[5:]


def test_a_blind_part_is_not_absent(rig: Rig, source: MemorySource) -> None:
    for uri in ("a.md", "sub/b.md", "sub/c.md", "d.md"):
        source.put(uri, f"words of {uri}".encode())
    rig.sync()
    source.make_blind("sub/", "d.md")
    listed = rig.sync()
    assert listed.fault is not None
    assert sorted(listed.fault.split("; ")) == ["d.md could not be listed", "sub/ could not be listed"]
    assert sorted(rig.states().items()) == [(uri, "live") for uri in ("a.md", "d.md", "sub/b.md", "sub/c.md")]
    rig.look("d.md", subtrees=("sub/",))
    assert set(rig.states().values()) == {"live"}


class Interleaved:
    """A source in which something happens at the n-th look at one URI."""

    def __init__(self, inner: SourcePort, uri: str, number: int) -> None:
        self._inner = inner
        self._uri = uri
        self._number = number
        self.then: Callable[[], None] = lambda: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def look(self, uri: str) -> Observation:
        found = self._inner.look(uri)
        if uri == self._uri:
            self._number -= 1
            if self._number == 0:
                self.then()
        return found

    def looks(self, uris: Sequence[str]) -> Mapping[str, Observation]:
        return one_by_one(self.look, uris)


def test_what_was_seen_after_a_listing_began_is_not_retired_by_it(
    database: Database, source: MemorySource, clock: ShiftedClock
) -> None:
    between = Interleaved(source, "a.md", 1)
    rig = Rig(database, [source], clock=clock, wrap_source=lambda _: between)
    rig.recover()
    fill(rig, source, 3)
    source.put("a.md", b"words of a")
    rig.sync()
    source.delete("a.md")

    def created_again() -> None:
        source.put("a.md", b"words of a again")
        rig.look("a.md")

    between.then = created_again
    rig.sync()
    assert rig.states()["a.md"] == "live"
    assert rig.results(Result.RETIRED) == []
    assert "words of a again" in [text for *_, text in rig.passages()]


def test_a_stale_rename_does_not_undo_a_later_one(
    database: Database, source: MemorySource, clock: ShiftedClock
) -> None:
    between = Interleaved(source, "a.md", 2)
    rig = Rig(database, [source], clock=clock, wrap_source=lambda _: between)
    rig.recover()
    fill(rig, source, 3)
    source.put("a.md", b"words of a")
    rig.sync()
    document_id = rig.document_ids()["a.md"]
    source.rename("a.md", "b.md")

    def renamed_again() -> None:
        source.rename("b.md", "c.md")
        rig.look("b.md", "c.md")

    between.then = renamed_again
    rig.look("a.md", "b.md")
    rig.settle()
    assert rig.document_ids()["c.md"] == document_id
    assert not {"a.md", "b.md"} & rig.states().keys()
    assert rig.embedder.texts.count("words of a") == 1


def test_a_document_deleted_while_it_was_pending(rig: Rig, source: MemorySource) -> None:
    fill(rig, source, 3)
    source.put("a.md", b"words of a")
    rig.scan()
    source.delete("a.md")
    rig.scan()
    rig.settle()
    assert "a.md" not in rig.states()
    assert rig.embedder.texts.count("words of a") == 0


def test_evidence_is_kept_with_the_tombstone(rig: Rig, source: MemorySource) -> None:
    uris = fill(rig, source, 3)
    source.delete(uris[0])
    rig.sync()
    (view,) = rig.ledger.views.documents(state="retired")
    evidence = source.look(uris[0])
    assert isinstance(evidence, Gone)
    assert (view.uri, view.reason) == (uris[0], evidence.evidence)


def test_what_was_never_searchable_needs_no_approval(rig: Rig, source: MemorySource) -> None:
    """A folder renamed, or a first note given its name, while the model is still being loaded."""
    for n in range(GUARD_DOCUMENTS + 5):
        source.put(f"drafts/{n}.md", f"words {n}".encode())
    rig.scan()  # pending, nothing live
    for n in range(GUARD_DOCUMENTS + 5):
        source.rename(f"drafts/{n}.md", f"notes/{n}.md")
    assert rig.scan().held == 0
    rig.settle()
    assert set(rig.states()) == {f"notes/{n}.md" for n in range(GUARD_DOCUMENTS + 5)}
    source.put("late.md", b"pending beside what is live")
    rig.look("late.md")
    for uri in [*rig.states()]:
        source.delete(uri)
    listed = rig.scan()
    assert (listed.retired, listed.held) == (1, GUARD_DOCUMENTS + 5)
