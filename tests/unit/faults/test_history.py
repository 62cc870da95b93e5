"""The judge of the fault runs finds what it is there to find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.faults.history import History, Known, Shown, Writer, section

DOCUMENT = "harbour0001"
FIRST: Shown = ((0, 1), (1, 1))
SECOND: Shown = ((0, 2), (1, 2))


def hits(uri: str, *sections: tuple[int, int]) -> list[dict[str, Any]]:
    return [{"uri": uri, "text": section(DOCUMENT, *one)} for one in sections]


def judged(history: History, found: list[dict[str, Any]], known: dict[str, Known]) -> list[str]:
    return list(history.judge(DOCUMENT, found, known))


def edited() -> tuple[History, dict[str, Known]]:
    """A document in two revisions, the second of which a reader has seen."""
    history = History()
    history.note(DOCUMENT, "a.md", FIRST)
    history.note(DOCUMENT, "a.md", SECOND)
    known: dict[str, Known] = {}
    assert judged(history, hits("a.md", (0, 2), (1, 2)), known) == []
    return history, known


def test_old_and_new_revisions_are_right_in_their_order() -> None:
    history = History()
    known: dict[str, Known] = {}
    history.note(DOCUMENT, "a.md", FIRST)
    history.note(DOCUMENT, "a.md", SECOND)
    assert judged(history, [], known) == []
    assert judged(history, hits("a.md", (1, 1), (0, 1)), known) == []
    assert judged(history, hits("a.md", (1, 2), (0, 2)), known) == []


def test_a_gap_is_found() -> None:
    history, known = edited()
    (fault,) = judged(history, [], known)
    assert "found nowhere" in fault


def test_a_mix_is_found() -> None:
    history, known = edited()
    (fault,) = judged(history, hits("a.md", (0, 1), (1, 2)), known)
    assert "never was" in fault


def test_a_missing_section_is_found() -> None:
    history, known = edited()
    (fault,) = judged(history, hits("a.md", (0, 2)), known)
    assert "never was" in fault


def test_a_duplicate_is_found() -> None:
    history, known = edited()
    (fault,) = judged(history, hits("a.md", (0, 2), (1, 2), (1, 2)), known)
    assert "never was" in fault


def test_a_replaced_revision_that_comes_back_is_found() -> None:
    history, known = edited()
    (fault,) = judged(history, hits("a.md", (0, 1), (1, 1)), known)
    assert "came back" in fault


def test_a_deleted_document_that_comes_back_is_found() -> None:
    history, known = edited()
    history.note(DOCUMENT, "a.md", None)
    assert judged(history, hits("a.md", (0, 2), (1, 2)), known) == []  # not known yet
    assert judged(history, [], known) == []
    assert judged(history, hits("a.md", (0, 2), (1, 2)), known)


def test_a_restored_document_may_be_found_again() -> None:
    history, known = edited()
    history.note(DOCUMENT, "a.md", None)
    assert judged(history, [], known) == []
    history.note(DOCUMENT, "a.md", SECOND)
    assert judged(history, hits("a.md", (0, 2), (1, 2)), known) == []


def test_a_rename_is_no_gap_and_leaves_none() -> None:
    history, known = edited()
    history.note(DOCUMENT, "b.md", SECOND)
    assert judged(history, hits("b.md", (0, 2), (1, 2)), known) == []
    assert judged(history, [], known)


def test_a_rename_may_show_the_revision_of_before_at_the_new_path() -> None:
    history = History()
    known: dict[str, Known] = {}
    history.note(DOCUMENT, "a.md", FIRST)
    history.note(DOCUMENT, "a.md", SECOND)
    history.note(DOCUMENT, "b.md", SECOND)
    assert judged(history, hits("b.md", (0, 1), (1, 1)), known) == []
    assert judged(history, hits("b.md", (0, 2), (1, 2)), known) == []
    (fault,) = judged(history, hits("a.md", (0, 2), (1, 2)), known)
    assert "not there any more" in fault


def test_a_rename_with_an_edit_is_another_document() -> None:
    history, known = edited()
    history.note(DOCUMENT, "b.md", SECOND)
    history.note(DOCUMENT, "b.md", FIRST)
    assert judged(history, [], known) == []
    assert judged(history, hits("b.md", (0, 1), (1, 1)), known) == []
    assert judged(history, [], known)


def test_a_writer_does_what_it_notes(tmp_path: Path) -> None:
    history = History()
    writer = Writer(tmp_path, history, seed=5)
    for _ in range(200):
        writer.step()
    lying = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.md")}
    assert lying == {path for path, content in history.current().values() if content is not None}
    assert max(writer.appeared.values()) > 1 and any(
        content is None for _, content in history.current().values()
    )
