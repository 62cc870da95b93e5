"""A source that is removed, with all that is known of it, in each database that a ledger can live in."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from ingestion.database import Database
from ingestion.ledger.kept import Keep
from ingestion.ledger.rhythms import Rhythm
from ingestion.ledger.tables import bodies, documents, hints, kept, metadata, punctuality, rhythms, turns
from ingestion.sources.memory import MemorySource
from ops import removing
from ops.settings import Settings, load
from retrieval.index.memory import MemoryIndex
from tests.rig import SOURCE, Rig, ShiftedClock

OTHER = "policies"
NUMBER = 7


@pytest.fixture
def rig(database: Database, clock: ShiftedClock, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """Two sources of seven published documents; one of them has left the settings."""
    monkeypatch.setattr("ingestion.ledger.removing.AT_ONCE", 3)
    sources = [MemorySource(name, clock=clock) for name in (SOURCE, OTHER)]
    for number in range(NUMBER):
        sources[0].put(f"{number}.md", f"notes of {number}".encode())
        sources[1].put(f"{number}.md", f"policies of {number}".encode())
    index = MemoryIndex() if database.on_server else None
    made = Rig(database, sources, clock=clock, index=index)
    made.recover()
    for name in (SOURCE, OTHER):
        made.sync(name)
        made.ledger.kept.keep(name, [Keep("a", f"a of {name}".encode())])
        made.ledger.hints.add(name, ["a"])
        made.ledger.rhythms.keep(name, [Rhythm("a", 1.0, 1.0, 1.0)])
        assert made.ledger.turns.take(name)
    made.ledger.documents.hold([made.document_ids()["0.md"]], "for a test")
    made.ledger.sources.let_go([SOURCE], -1.0)
    return made


@pytest.fixture
def clock(database: Database) -> ShiftedClock:
    made = ShiftedClock()
    made.lead(database)
    return made


@pytest.fixture
def settings(tmp_path: object) -> Settings:
    return load(arguments={"daemon.data": str(tmp_path)}, environ={})


def names(rig: Rig, table: sa.Table) -> set[str]:
    with rig.ledger.database.read() as connection:
        return set(connection.execute(sa.select(table.c.source)).scalars())


def assert_gone(rig: Rig) -> None:
    """Nothing of it is left but tombstones, and nothing of the other one is touched."""
    rig.sweep()
    rig.ledger.kept.sweep(rig.clock.now() + 60)
    with rig.ledger.database.read() as connection:
        held = connection.execute(sa.select(sa.func.count()).select_from(bodies)).scalar_one()
        there = sa.select(documents.c.source).where(documents.c.standing != "retired")
        served = set(connection.execute(there).scalars())
    assert served == {SOURCE}
    assert [state.name for state in rig.ledger.sources.all()] == [SOURCE]
    for table in (kept, hints, rhythms, turns, punctuality):
        assert names(rig, table) == {SOURCE}, table.name
    assert rig.index.count(rig.edition.name) == NUMBER
    assert len(rig.passages()) == NUMBER
    assert held == 1


def test_it_goes_with_everything(rig: Rig, settings: Settings) -> None:
    assert removing.removable(rig.ledger, settings, OTHER) == removing.Removable(OTHER, True, NUMBER)
    assert removing.remove(rig.ledger, settings, OTHER) == NUMBER
    assert_gone(rig)
    assert removing.removable(rig.ledger, settings, OTHER) == removing.Removable(OTHER, False, 0)
    assert removing.remove(rig.ledger, settings, OTHER) == 0


def test_every_table_that_names_sources_is_thought_of() -> None:
    about = {table.name for table in metadata.tables.values() if "source" in table.c}
    assert about == {table.name for table in (documents, kept, hints, rhythms, turns, punctuality)}


def test_whenever_it_is_interrupted_it_can_be_finished(
    rig: Rig, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt is killed one transaction later than the one before, and what is begun is rolled back."""

    class Killed(BaseException):
        pass

    write = rig.ledger.database.write

    def counted(left: list[int]) -> Callable[[], object]:
        def begin() -> object:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return write()

        return begin

    killed = 0
    for transactions in itertools.count():
        monkeypatch.setattr(rig.ledger.database, "write", counted([transactions]))
        try:
            removing.remove(rig.ledger, settings, OTHER)
            break
        except Killed:
            killed += 1
            assert any(state.name == OTHER for state in rig.ledger.sources.all()), "so that it is found"
        finally:
            monkeypatch.setattr(rig.ledger.database, "write", write)
    assert killed >= 4
    assert_gone(rig)


def test_it_may_come_back_as_another(rig: Rig, settings: Settings) -> None:
    removing.remove(rig.ledger, settings, OTHER)
    rig.recover()
    rig.sync(OTHER)
    assert len(rig.passages()) == 2 * NUMBER
    rig.sweep()
    assert rig.index.count(rig.edition.name) == 2 * NUMBER
