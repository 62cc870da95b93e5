"""The program with the embedding model it comes with, loaded in the background."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ingestion.errors import ModelMissing
from ops.settings import Settings
from retrieval.embedding.models import find_model
from tests.acceptance.program import Program

HANDBOOK = Path(__file__).resolve().parents[2] / "ops" / "handbook"
MODEL = Settings().embedding.model
LOADED_S = 90.0


@pytest.fixture
def handbook(tmp_path: Path) -> Path:
    try:
        find_model(MODEL)
    except ModelMissing as error:
        pytest.skip(str(error))
    return Path(shutil.copytree(HANDBOOK, tmp_path / "handbook"))


def test_meaning_is_found_and_edits_are_searchable(tmp_path: Path, handbook: Path) -> None:
    """The question shares no word with its answer: words alone would not find it."""
    with Program(tmp_path / "data", handbook, model=MODEL) as program:
        program.start().listening()
        assert program.get("/healthz")
        program.ready(LOADED_S)
        assert "maternity" not in "".join(one.text for one in program.passages())
        answer = program.answer("maternity", top_k=1)
        assert answer["mode"] == "hybrid"
        assert answer["hits"][0]["heading_path"][-1] == "Parental leave"
        leave = handbook / "people" / "leave.md"
        leave.write_text(leave.read_text().replace("27 days", "30 days"))
        program.until(
            lambda: "30 days of paid leave" in program.search("days of holiday a year", top_k=1)[0]["text"]
        )
        assert program.history("people/leave.md")[-1]["embedded"] == 1
        program.stop()


def test_a_signal_while_the_model_is_being_loaded(tmp_path: Path, handbook: Path) -> None:
    """By the runtime that takes long enough to be caught at it."""
    with Program(tmp_path / "data", handbook, model=MODEL) as program:
        program.environment["HEADWATER_EMBEDDING__RUNTIME"] = "sentence-transformers"
        program.start().listening()
        program.until(lambda: "loading the embedding model" in program.said(), what="it is being loaded")
        assert program.answer("days of leave")["mode"] == "text"
        program.stop()
