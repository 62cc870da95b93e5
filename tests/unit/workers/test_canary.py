"""A round of the canary: what it does, what it waits for, and how far it says that a change came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ingestion.errors import IndexUnavailable, Interrupted
from ingestion.own import canary_of
from retrieval.index.memory import MemoryIndex
from retrieval.index.port import IndexHit, IndexQuery
from retrieval.search import Searcher
from tests.knowledge import Knowledge, SetClock
from workers.canary import STEPS, Canary
from workers.perches import ANCHOR, DOCUMENT, FilesPerch

SOURCE = canary_of("files")
WITHIN_S = 20.0


class Away(MemoryIndex):
    """An index that answers nothing once it is told to."""

    away = False

    def search(self, edition: str, query: IndexQuery) -> list[IndexHit]:
        if self.away:
            raise IndexUnavailable("The index is away.")
        return super().search(edition, query)


class Nest:
    """A perch whose changes take effect at once, but for what ``fails`` is told to leave undone.

    Everything else about it is real: ledger, index and searcher.
    """

    kind = "files"

    def __init__(self, listed: Sequence[str] = (SOURCE,)) -> None:
        self.clock = SetClock()
        self.index = Away()
        self.knowledge = Knowledge(index=self.index, clock=self.clock, sources=listed)
        self.texts: list[str] = []
        self.fails: dict[str, Callable[[str], object]] = {}
        self.pauses_s: list[float] = []
        self.paused: Callable[[], object] = lambda: None
        searcher = Searcher(
            self.knowledge.ledger, self.index, lambda *_: None, self.clock, on_demand=lambda _: None
        )
        self.canary = Canary(self, self.knowledge.ledger, searcher, self.clock, pause=self._pause)

    def prepare(self) -> None: ...

    def write(self, text: str) -> None:
        step = "edit" if len(self.texts) % 2 else "write"
        self.texts.append(text)
        self.fails.get(step, self._publish)(text)

    def delete(self) -> None:
        self.fails.get("delete", self._retire)("")

    def _publish(self, text: str) -> None:
        self.knowledge.write(DOCUMENT, [text], source=SOURCE)

    def _retire(self, _: str) -> None:
        if view := self.knowledge.ledger.views.named(SOURCE, DOCUMENT):
            self.knowledge.retire(view.document_id)

    def _pause(self, seconds: float) -> bool:
        self.pauses_s.append(seconds)
        self.clock.time += seconds
        self.paused()
        return False


def test_a_round_takes_every_step_with_new_words() -> None:
    nest, begun = Nest(), []
    rounds = [nest.canary.sing(WITHIN_S, lambda: begun.append(1)) for _ in range(2)]
    assert [(list(one.took), one.failed) for one in rounds] == [(list(STEPS), None)] * 2
    assert len(set(nest.texts)) == 4 == len(begun) - 2
    view = nest.knowledge.ledger.views.named(SOURCE, DOCUMENT)
    assert view is not None and view.state == "retired"


def test_a_step_takes_as_long_as_searches_need_to_tell_of_it() -> None:
    nest = Nest()
    late: list[str] = []
    nest.fails["edit"] = late.append

    def paused() -> None:
        if len(nest.pauses_s) == 3:
            nest._publish(late[0])

    nest.paused = paused
    took = nest.canary.sing(WITHIN_S, lambda: None).took
    assert took["write"] == 0.0 and took["edit"] == pytest.approx(sum(nest.pauses_s))


@pytest.mark.parametrize(
    ("step", "fails", "told"),
    [
        ("write", lambda nest, _: None, "no watcher has seen it"),
        ("edit", lambda nest, _: None, "no watcher has seen it"),
        ("delete", lambda nest, _: None, "no watcher has seen that it is gone"),
        (
            "write",
            lambda nest, _: nest.knowledge.observe(DOCUMENT, source=SOURCE),
            "it was seen, and no worker has published it",
        ),
        (
            "edit",
            lambda nest, _: nest.knowledge.fail(nest.knowledge.observe(DOCUMENT, source=SOURCE)),
            "it was seen, and no worker has published it (cannot be parsed)",
        ),
        (
            "edit",
            lambda nest, _: nest._publish("other words"),
            "it was published, and no search finds it",
        ),
    ],
)
def test_a_step_that_fails_says_how_far_the_change_came(
    step: str, fails: Callable[[Nest, str], object], told: str
) -> None:
    nest = Nest()
    nest.fails[step] = lambda text: fails(nest, text)
    went = nest.canary.sing(WITHIN_S, lambda: None)
    assert (went.failed, went.detail) == (step, f"After 20 s {told}.")
    assert list(went.took) == list(STEPS[: STEPS.index(step)])
    assert WITHIN_S <= sum(nest.pauses_s) < WITHIN_S + 1


def test_an_index_that_is_away_is_waited_for_and_named() -> None:
    nest = Nest()

    def delete(_: str) -> None:
        nest.index.away = True
        nest._retire("")

    nest.fails["delete"] = delete
    went = nest.canary.sing(WITHIN_S, lambda: None)
    assert went.failed == "delete"
    assert went.detail == "After 20 s it is known to be gone, and searches fail. The index is away."


def test_it_begins_once_its_source_was_listed() -> None:
    """What a first listing finds waits for the first index of everything else."""
    nest = Nest(listed=())
    nest.knowledge.configure((SOURCE,))
    went = nest.canary.sing(WITHIN_S, lambda: None)
    assert (went.failed, nest.texts) == ("write", [])
    assert went.detail == "No watcher has listed its folder yet."
    nest.paused = lambda: nest.knowledge.listing(SOURCE)
    assert nest.canary.sing(WITHIN_S, lambda: None).failed is None


def test_waiting_for_the_listing_takes_nothing_from_the_step() -> None:
    nest = Nest(listed=())
    nest.knowledge.configure((SOURCE,))
    late: list[str] = []
    nest.fails["write"] = late.append

    def paused() -> None:
        waited_s = sum(nest.pauses_s)
        if waited_s >= WITHIN_S - 0.5 and not late:
            nest.knowledge.listing(SOURCE)
        if waited_s >= WITHIN_S + 5.0 and late:
            nest._publish(late.pop())

    nest.paused = paused
    assert nest.canary.sing(WITHIN_S, lambda: None).took["write"] == pytest.approx(5.0, abs=1.5)


def test_what_is_another_s_by_now_is_not_cleaned_up() -> None:
    nest = Nest()
    nest.fails["edit"] = lambda _: None  # it never comes
    kept: list[int] = []

    def keep() -> None:
        kept.append(1)
        if len(kept) == 3:
            raise Interrupted("Another process sings now.")

    deleted: list[str] = []
    nest.fails["delete"] = deleted.append
    with pytest.raises(Interrupted):
        nest.canary.sing(WITHIN_S, keep)
    assert deleted == []


def test_a_folder_that_cannot_be_written_to_is_a_failure() -> None:
    nest = Nest()

    def refuses(_: str) -> None:
        raise PermissionError(13, "Permission denied")

    nest.fails |= {"write": refuses, "delete": refuses}
    went = nest.canary.sing(WITHIN_S, lambda: None)
    assert went.failed == "write" and "Permission denied" in went.detail


def test_it_stops_when_it_is_to() -> None:
    nest = Nest()
    nest.fails["edit"] = lambda _: None
    nest.canary._pause = lambda _: True
    with pytest.raises(Interrupted):
        nest.canary.sing(WITHIN_S, lambda: None)


def test_a_folder_keeps_its_anchor_and_leaves_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "canary" / "files"
    perch = FilesPerch(folder)
    perch.delete()
    perch.write("one")
    perch.write("two")
    assert {one.name: one.read_text()[:5] for one in folder.iterdir()} == {DOCUMENT: "two", ANCHOR: "# Anc"}
    perch.delete()
    perch.delete()
    assert [one.name for one in folder.iterdir()] == [ANCHOR]
