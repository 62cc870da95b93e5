"""Every way in which a folder changes, while no program runs: the next start finds all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.program import Passage, Program
from tests.acceptance.scenarios import SCENARIOS, Before, Scenario, check, look, place_of, prepare


@dataclass(frozen=True, slots=True)
class Restarted:
    """A program that was stopped, and started again after everything had changed."""

    program: Program
    notes: Path
    before: dict[str, Before]
    passages_before: list[Passage]


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restarted]:
    notes = tmp_path_factory.mktemp("stopped") / "notes"
    prepare(notes, SCENARIOS)
    with Program(notes.parent / "data", notes) as program:
        program.start().ready()
        before = look(program, *SCENARIOS)
        passages = program.passages()
        program.stop()
        for scenario in SCENARIOS:
            scenario.change(place_of(scenario, notes))
        program.start().ready()
        yield Restarted(program, notes, before, passages)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_end_state_is_that_of_the_folder(restarted: Restarted, scenario: Scenario) -> None:
    check(restarted.program, scenario, restarted.notes, restarted.before[scenario.name])


def test_only_new_texts_were_embedded(restarted: Restarted) -> None:
    known = {(one.heading_path, one.text) for one in restarted.passages_before}
    now = {(one.heading_path, one.text) for one in restarted.program.passages()}
    assert restarted.program.texts_embedded() == len(now - known)


def test_nothing_else_changed(restarted: Restarted) -> None:
    restarted.program.settles(restarted.notes)
    documents = restarted.program.documents()
    assert {one["state"] for one in documents.values()} == {"live"}
    assert len(documents) == sum(path.is_file() for path in restarted.notes.rglob("*"))
