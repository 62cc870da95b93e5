"""What the ledger keeps of documents that are handed over, in each database that a ledger can live in."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from ingestion.database import Database
from ingestion.ledger.documents import Change
from ingestion.ledger.kept import PLAUSIBLE_S, Keep, Kept, digest_of
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.sources import SourceRow
from ingestion.ledger.tables import bodies
from ingestion.records import Lane, Seen
from tests.rig import ShiftedClock

SOURCE = "tickets"


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
def kept(database: Database, clock: ShiftedClock) -> Iterator[Kept]:
    clock.lead(database)
    yield Ledger(database, clock).kept


def bodies_in(database: Database) -> set[str]:
    with database.read() as connection:
        return set(connection.execute(sa.select(bodies.c.digest)).scalars())


def test_what_is_kept_is_handed_out_as_it_was(kept: Kept) -> None:
    given = {"a": b"one " * 5000, "b/c.bin": os.urandom(70_000), "empty": b"", "ünï/✓": b"\x00\xff"}
    looks, changed = kept.keep(SOURCE, [Keep(uri, body, "text/plain", "T") for uri, body in given.items()])
    assert changed == set(given)
    assert [look.uri for look in looks] == list(given)
    for uri, body in given.items():
        found = kept.body(SOURCE, uri)
        assert found is not None
        assert found[1] == body
        assert (found[0].digest, found[0].size_bytes) == (digest_of(body), len(body))
        assert (found[0].media_type, found[0].title) == ("text/plain", "T")
    assert {look.uri for look in kept.below(SOURCE, "")} == set(given)
    assert [look.uri for look in kept.below(SOURCE, "b/")] == ["b/c.bin"]
    assert kept.below("another", "") == []
    assert kept.body("another", "a") is None


def test_a_body_is_packed(database: Database, kept: Kept) -> None:
    kept.keep(SOURCE, [Keep("a", b"again and again " * 10_000)])
    with database.read() as connection:
        assert len(connection.execute(sa.select(bodies.c.packed)).scalar_one()) < 2000


def test_the_same_again_changes_nothing(kept: Kept, clock: ShiftedClock) -> None:
    (first,), _ = kept.keep(SOURCE, [Keep("a", b"one", "text/plain")])
    clock.shift_s += 10
    (again,), changed = kept.keep(SOURCE, [Keep("a", b"one", "text/plain", changed_at=clock.now())])
    assert (again, changed) == (first, set())
    for other in (
        Keep("a", b"two", "text/plain"),
        Keep("a", b"two", "text/html"),
        Keep("a", b"two", None, "T"),
    ):
        (look,), changed = kept.keep(SOURCE, [other])
        assert changed == {"a"}
        assert look.fingerprint != first.fingerprint
        first = look


def test_a_refusal_keeps_nothing(kept: Kept) -> None:
    class Refused(Exception):
        pass

    def refuse(known: object) -> None:
        raise Refused

    with pytest.raises(Refused):
        kept.keep(SOURCE, [Keep("a", b"one"), Keep("b", b"two")], refuse)
    assert kept.below(SOURCE, "") == []


def test_what_is_deleted_stays_known_as_deleted_for_a_while(kept: Kept, clock: ShiftedClock) -> None:
    kept.keep(SOURCE, [Keep("a", b"one")])
    (look,), changed = kept.keep(SOURCE, [Keep("a", None), Keep("never", None)])
    assert (look.uri, look.digest, changed) == ("a", None, {"a"})
    assert kept.keep(SOURCE, [Keep("a", None)])[1] == set()
    assert kept.body(SOURCE, "a") is None
    assert kept.below(SOURCE, "") == []
    assert kept.find(SOURCE, ["a", "never"]) == {"a": look}
    assert kept.forget_deleted(look.received_at) == 0
    assert kept.forget_deleted(look.received_at + 1) == 1
    assert kept.find(SOURCE, ["a"]) == {}


def test_a_body_goes_once_no_document_has_it(database: Database, kept: Kept, clock: ShiftedClock) -> None:
    kept.keep(SOURCE, [Keep("a", b"shared"), Keep("b", b"shared"), Keep("c", b"own")])
    assert bodies_in(database) == {digest_of(b"shared"), digest_of(b"own")}
    kept.keep(SOURCE, [Keep("a", b"new"), Keep("c", None)])
    assert kept.sweep(clock.now() - 60) == 0, "too soon"
    clock.shift_s += 120
    assert kept.sweep(clock.now() - 60) == 1
    assert bodies_in(database) == {digest_of(b"shared"), digest_of(b"new")}
    found = kept.body(SOURCE, "b")
    assert found is not None
    assert found[1] == b"shared"


def test_what_is_retired_is_forgotten_and_what_is_held_or_given_again_is_not(
    database: Database, kept: Kept, clock: ShiftedClock
) -> None:
    ledger = Ledger(database, clock)
    ledger.sources.configure([SourceRow(SOURCE, "web", "there")])
    uris = ["gone", "approved", "held", "back", "as it was", "present"]
    kept.keep(SOURCE, [Keep(uri, uri.encode()) for uri in [*uris, "not told yet"]])
    changes = [Change(Seen(uri, "look", None, 1, None, clock.now()), clock.now()) for uri in uris]
    ids = dict(zip(uris, ledger.documents.want(SOURCE, changes, Lane.FRESH, sent=False), strict=True))
    clock.shift_s += 10
    ledger.documents.hold([ids["approved"]], "many at once")
    shown = ledger.documents.held(SOURCE)[2]
    ledger.documents.hold([ids["held"]], "many at once")
    ledger.documents.retire({ids["gone"]: "404", ids["back"]: "404", ids["as it was"]: "404"})
    assert ledger.documents.approve(SOURCE, shown) == [ids["approved"]]
    clock.shift_s += 10
    kept.keep(SOURCE, [Keep("back", b"back again"), Keep("as it was", b"as it was")])
    ledger.documents.want(SOURCE, [changes[uris.index("as it was")]], Lane.FRESH, sent=False)
    assert kept.forget_retired(clock.now() - 60) == 0, "too soon"
    clock.shift_s += 120
    assert kept.forget_retired(clock.now() - 60) == 2
    assert {look.uri for look in kept.below(SOURCE, "")} == {
        "held",
        "back",
        "as it was",
        "present",
        "not told yet",
    }
    kept.sweep(clock.now() - 60)
    assert digest_of(b"gone") not in bodies_in(database)
    assert digest_of(b"held") in bodies_in(database)


def test_what_several_sources_have_is_known(kept: Kept) -> None:
    for source, uris in (("a", "xyz"), ("b", "xy"), ("c", "z"), ("d", "x")):
        kept.keep(source, [Keep(uri, uri.encode()) for uri in uris])
    kept.keep("b", [Keep("y", None)])
    assert kept.in_several(["a", "b", "c"]) == ["x", "z"]
    assert kept.in_several(["b", "c"]) == []


def test_a_note_is_of_what_it_was_made_of(kept: Kept) -> None:
    (first,), _ = kept.keep(SOURCE, [Keep("a", b"one")])
    kept.note(SOURCE, "a", {"missing": 1}, of=first.digest)
    assert kept.find(SOURCE, ["a"])["a"].notes == {"missing": 1}
    kept.keep(SOURCE, [Keep("a", b"two", notes={"etag": "2"})])
    kept.note(SOURCE, "a", {"etag": "1"}, of=first.digest)
    assert kept.find(SOURCE, ["a"])["a"].notes == {"etag": "2"}


def test_a_change_is_reckoned_from_when_its_giver_says_if_that_can_be(
    kept: Kept, clock: ShiftedClock
) -> None:
    def reckoned(body: bytes, says: float | None) -> float:
        """Seconds before its receipt."""
        (look,), _ = kept.keep(SOURCE, [Keep("a", body, changed_at=says)])
        return look.received_at - look.changed_at

    assert reckoned(b"1", clock.now() - 20) == pytest.approx(20, abs=5)
    clock.shift_s += 100
    assert reckoned(b"2", clock.now() - 30) == pytest.approx(30, abs=5)
    assert reckoned(b"3", clock.now() - 30) == 0.0, "before it was handed over the last time"
    assert reckoned(b"4", clock.now() + 3600) == 0.0, "in the future"
    clock.shift_s += 10 * PLAUSIBLE_S
    assert reckoned(b"5", clock.now() - 5 * PLAUSIBLE_S) == 0.0, "long ago"
    assert reckoned(b"6", None) == 0.0
