"""Documents that are handed over, through the whole pipeline on one database file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ingestion.database import Database
from ingestion.errors import PushRefused, Refusal
from ingestion.ledger.kept import Keep
from ingestion.ledger.ledger import Ledger
from ingestion.sources.push import PushSource
from retrieval.pushes import Condition
from retrieval.search import SearchRequest
from tests.rig import Rig, ShiftedClock
from workers.pushing import PushDesk

SOURCE = "tickets"
LIMIT_BYTES = 1000


@dataclass
class Counter:
    """The pipeline, and the desk where documents are handed over."""

    rig: Rig
    desk: PushDesk

    def push(self, **bodies: bytes | None) -> int:
        return self.desk.push(SOURCE, [Keep(uri, body) for uri, body in bodies.items()]).generation

    def found(self, question: str) -> list[str]:
        """URIs of the hits, without those that merely come last."""
        answer = self.rig.searcher.search(SearchRequest(question, top_k=5))
        return [hit.uri for hit in answer.hits if question.split()[0] in hit.text]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database.file(tmp_path / "headwater.db")
    yield made
    made.close()


def made(database: Database) -> Counter:
    clock = ShiftedClock()
    ledger = Ledger(database, clock)
    source = PushSource(SOURCE, ledger.kept, location="here", max_document_bytes=LIMIT_BYTES, clock=clock)
    rig = Rig(database, [source], clock=clock)
    rig.recover()
    return Counter(rig, PushDesk(rig.ledger, rig.reconciler, rig.sources, clock))


@pytest.fixture
def counter(database: Database) -> Counter:
    one = made(database)
    one.rig.sync(SOURCE)
    return one


def test_what_is_handed_over_is_found_at_its_generation(counter: Counter) -> None:
    generation = counter.push(**{"a.md": b"zebra crossing", "b.md": b"other"})
    assert counter.rig.queue, "workers are told at once"
    assert counter.rig.ledger.views.unfinished(SOURCE, generation) == 2
    assert counter.found("zebra") == []
    counter.rig.work_off()
    assert counter.found("zebra") == ["a.md"]
    assert counter.rig.ledger.views.unfinished(SOURCE, generation) == 0


def test_the_same_again_makes_no_generation_and_embeds_nothing(counter: Counter) -> None:
    generation = counter.push(a=b"zebra crossing")
    assert counter.push(a=b"zebra crossing") == generation, "while the first waits"
    counter.rig.settle()
    embedded, known = len(counter.rig.embedder.texts), counter.rig.ledger.fence.generation()
    assert counter.push(a=b"zebra crossing") == generation
    counter.rig.settle()
    assert (len(counter.rig.embedder.texts), counter.rig.ledger.fence.generation()) == (embedded, known)


def test_a_deletion_is_definite_however_many_there_are(counter: Counter) -> None:
    counter.push(**{f"{number}.md": b"zebra %d" % number for number in range(40)})
    counter.rig.settle()
    counter.push(**{f"{number}.md": None for number in range(40)})
    assert counter.found("zebra") == [], "from the answer on, with nobody having worked"
    assert counter.rig.states() == {}
    counter.push(**{"0.md": b"zebra again"})
    counter.rig.settle()
    assert counter.found("zebra") == ["0.md"]


def test_what_was_another_source_s_is_no_deletion(database: Database, counter: Counter) -> None:
    """A source that became a push source has documents that nobody pushed: a listing holds them."""
    counter.push(**{f"{number}.md": b"zebra %d" % number for number in range(3)})
    counter.rig.settle()
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM kept")
    assert counter.rig.scan(SOURCE).held == 3
    assert len(counter.found("zebra")) == 3


def test_who_dies_before_telling_has_kept_it_all_the_same(database: Database, counter: Counter) -> None:
    counter.push(old=b"zebra old")
    counter.rig.settle()
    counter.rig.ledger.kept.keep(SOURCE, [Keep("new", b"zebra new"), Keep("old", None)])
    again = made(database)  # another process on the same file
    again.rig.sync(SOURCE)
    assert again.found("zebra") == ["new"]


def test_who_dies_before_telling_is_asked_again(counter: Counter) -> None:
    counter.rig.ledger.kept.keep(SOURCE, [Keep("a", b"zebra")])
    receipt = counter.desk.push(SOURCE, [Keep("a", b"zebra")])
    assert [one.changed for one in receipt.documents] == [False]
    counter.rig.work_off()
    assert counter.found("zebra") == ["a"]


def test_the_lag_is_reckoned_from_when_it_changed(counter: Counter) -> None:
    now = counter.rig.clock.now()
    counter.desk.push(SOURCE, [Keep("a", b"zebra", changed_at=now - 30), Keep("b", b"zebra", changed_at=1.0)])
    changed = {view.uri: now - view.changed_at for view in counter.rig.ledger.views.documents(limit=10)}
    assert changed["a"] == pytest.approx(30, abs=5)
    assert changed["b"] == pytest.approx(0, abs=5)
    counter.rig.settle()
    changed = {view.uri: now - view.changed_at for view in counter.rig.ledger.views.documents(limit=10)}
    assert changed["a"] == pytest.approx(30, abs=5), "published, it is still so"


def test_a_condition_is_for_what_is_there(counter: Counter) -> None:
    def refused(condition: Condition, body: bytes | None = b"new") -> bool:
        try:
            counter.desk.push(SOURCE, [Keep("a", body)], condition)
        except PushRefused as error:
            assert error.refusal is Refusal.CONDITION
            return True
        return False

    assert refused(Condition()), "nothing is there"
    assert refused(Condition(digests=frozenset({"x"})))
    assert not refused(Condition(exists=False), b"old")
    digest = counter.desk.kept(SOURCE, "a").digest
    assert refused(Condition(exists=False))
    assert refused(Condition(digests=frozenset({"x"})))
    assert counter.desk.kept(SOURCE, "a").digest == digest
    assert not refused(Condition(digests=frozenset({"x", str(digest)})))
    assert not refused(Condition(), None)
    assert refused(Condition(), None), "it is deleted"


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a\0b", "a\nb", "\ud800", "x" * 2001], ids=lambda key: repr(key)[:12]
)
def test_what_no_document_may_be_called_is_refused(counter: Counter, key: str) -> None:
    with pytest.raises(PushRefused) as refused:
        counter.desk.push(SOURCE, [Keep("fine", b"x"), Keep(key, b"x")])
    assert refused.value.refusal is Refusal.KEY
    assert counter.rig.ledger.kept.below(SOURCE, "") == []


def test_what_is_too_large_is_refused_and_the_old_one_stays(counter: Counter) -> None:
    counter.push(a=b"zebra")
    with pytest.raises(PushRefused, match=r"tickets/a has 1,001 bytes, .* 1,000 at most"):
        counter.push(a=b"x" * (LIMIT_BYTES + 1))
    counter.rig.settle()
    assert counter.found("zebra") == ["a"]


def test_another_source_takes_no_documents(counter: Counter) -> None:
    with pytest.raises(PushRefused, match=r"'notes' is none of the sources.*Sources that do: tickets"):
        counter.desk.push("notes", [Keep("a", b"x")])


def test_bodies_that_nobody_has_are_swept(counter: Counter) -> None:
    counter.push(a=b"old")
    counter.push(a=b"new")
    assert counter.rig.upkeep.sweep_bodies() == 0
    counter.rig.advance(120)
    assert counter.rig.upkeep.sweep_bodies() == 1
    counter.rig.settle()
    assert counter.rig.states() == {"a": "live"}


def test_a_title_is_the_heading_above_all_others(counter: Counter) -> None:
    def give(title: str | None) -> None:
        counter.desk.push(SOURCE, [Keep("1.md", b"walrus: the printer burns", "text/markdown", title)])
        counter.rig.work_off()

    def headings(question: str) -> list[tuple[str, ...]]:
        answer = counter.rig.searcher.search(SearchRequest(question, top_k=5))
        return [tuple(hit.heading_path) for hit in answer.hits if "walrus" in hit.text]

    give("Fires")
    assert headings("walrus printer") == [("Fires",)]
    give("Fires of 2026")
    assert headings("walrus printer") == [("Fires of 2026",)], "another title is a change"
    embedded = len(counter.rig.embedder.texts)
    give("Fires of 2026")
    assert len(counter.rig.embedder.texts) == embedded
    give(None)
    assert headings("walrus printer") == [()]
