"""Thousands of changes at once, and roots that come and go: nothing is lost, nothing embedded twice."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.acceptance.program import Program, expected, running

MANY = 3000


def write(folder: Path, number: int, revision: int) -> None:
    path = folder / f"{number % 30}" / f"{number}.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"# Note {number}\n\nRevision {revision} of note {number} of {folder.name}.\n")


def test_thousands_of_files_at_once(tmp_path: Path, notes: Path) -> None:
    (notes / "first.md").write_text("There before.\n")
    with running(tmp_path / "data", notes) as program:
        for number in range(MANY):
            write(notes, number, 0)
        program.settles(notes)
        assert program.texts_embedded() == MANY + 1
        for number in range(0, MANY, 2):
            write(notes, number, 1)
        program.settles(notes)
        assert program.texts_embedded() == MANY + 1 + MANY // 2
        generations = [one["generation"] for one in program.documents().values()]
        assert len(set(generations)) == MANY + 1


def test_many_files_renamed_with_their_folders(tmp_path: Path, notes: Path) -> None:
    for number in range(MANY // 3):
        write(notes, number, 0)
    with running(tmp_path / "data", notes) as program:
        ids = {uri: one["document_id"] for uri, one in program.documents().items()}
        texts = program.texts_embedded()
        (notes / "moved").mkdir()
        for name in range(30):
            (notes / f"{name}").rename(notes / "moved" / f"{name}")
        program.settles(notes)
        moved = {uri: one["document_id"] for uri, one in program.documents().items()}
        assert moved == {f"moved/{uri}": document_id for uri, document_id in ids.items()}
        assert program.texts_embedded() == texts


def test_a_root_deleted_and_made_again(tmp_path: Path, notes: Path) -> None:
    """What was in it stays searchable, comes back without being embedded again, and is watched again."""
    for number in range(40):
        write(notes, number, 0)
    whole = expected(notes)
    with running(tmp_path / "data", notes) as program:
        ids = {uri: one["document_id"] for uri, one in program.documents().items()}
        shutil.copytree(notes, tmp_path / "kept")
        shutil.rmtree(notes)
        program.until(lambda: program.source()["fault"], what="the missing root is noticed")
        assert program.passages() == whole
        assert program.search("revision 0 of note 7")
        os.rename(tmp_path / "kept", notes)  # noqa: PTH104 - as one step
        program.until(lambda: not program.source()["fault"], what="the root is found again")
        program.settles(notes)
        program.until(lambda: {one["state"] for one in program.documents().values()} == {"live"})
        assert {uri: one["document_id"] for uri, one in program.documents().items()} == ids
        assert program.texts_embedded() == 40
        write(notes, 7, 1)
        program.settles(notes)
        assert program.texts_embedded() == 41


def test_a_root_that_is_made_later(tmp_path: Path) -> None:
    notes = tmp_path / "later" / "notes"
    with Program(tmp_path / "data", notes) as program:
        program.start().listening()
        program.until(lambda: "cannot be looked at" in program.said(), what="the missing root is told")
        assert program.get("/readyz", codes=(503,)).json()["detail"]
        notes.mkdir(parents=True)
        (notes / "a.md").write_text("# Later\n\nIt was made after the start.\n")
        program.settles(notes)
        program.ready()
        assert program.source()["fault"] is None
        (notes / "b.md").write_text("# Watched\n\nAnd this later still.\n")
        program.settles(notes)
        assert program.texts_embedded() == 2
        program.until(lambda: "can be looked at again" in program.said(), what="its return is told")
