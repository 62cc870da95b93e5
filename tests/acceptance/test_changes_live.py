"""Every way in which a folder changes, while the program watches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.program import Program, running
from tests.acceptance.scenarios import SCENARIOS, Scenario, check, look, place_of, prepare


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("live") / "notes"
    prepare(folder, SCENARIOS)
    return folder


@pytest.fixture(scope="module")
def program(notes: Path) -> Iterator[Program]:
    with running(notes.parent / "data", notes) as one:
        yield one


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_end_state_is_that_of_the_folder(program: Program, notes: Path, scenario: Scenario) -> None:
    place = place_of(scenario, notes)
    before, texts = look(program, scenario)[scenario.name], program.texts_embedded()
    scenario.change(place)
    program.settles(place.inside, f"{scenario.name}/")
    check(program, scenario, notes, before)
    if scenario.embeds_nothing:
        assert program.texts_embedded() == texts


def test_nothing_else_changed(program: Program, notes: Path) -> None:
    """After all of them: no document too many, none too few, nothing held, no change without an event."""
    program.settles(notes)
    documents = program.documents()
    assert {one["state"] for one in documents.values()} == {"live"}
    assert len(documents) == sum(path.is_file() for path in notes.rglob("*"))
    assert program.metric("headwater_scan_missed_changes_total") == 0
    done = program.command("sync", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    (foreseen,) = json.loads(done.stdout)["sources"]
    assert foreseen["texts"] == 0
    assert not [one for one in foreseen["decisions"] if one[0] == "retire"]
