"""A child that was taken over costs the document that did it, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestion.errors import DocumentUnparsable, ParserUnavailable
from ingestion.parsing.sandbox import Limits, Sandbox, process
from tests.unit.ingestion.parsing.sandbox import subverted
from tests.unit.ingestion.parsing.sandbox.test_sandbox import children, gone

LIMITS = Limits(wall_s=20.0, answer_bytes=2**20)
NONSENSE = "its parser answered nonsense"
REASONS = {
    "too much": "its text takes more than 1 MiB",
    "text too long": "its text takes more than 1 MiB",
    "no lengths": "its text takes more than 1 MiB",
    "noise": "its text takes more than 1 MiB",
    "no text": NONSENSE,
    "cut off": "its parser ended by itself (exit status 0)",
    "closed": "its parser closed the connection",
    "without end": NONSENSE,
    "drop by drop": "it takes more than 0.5 s",
}
SORTS = sorted({*subverted.ANSWERS, *REASONS} - {"well"})


def of_subverted_ones(monkeypatch: pytest.MonkeyPatch, limits: Limits) -> Sandbox:
    monkeypatch.setattr(process, "_PROGRAM", ("-I", subverted.__file__))
    monkeypatch.setattr(process, "_END_S", 0.5)  # for what one that is to be killed says by its end
    return Sandbox(limits=limits)


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    one = of_subverted_ones(monkeypatch, LIMITS)
    yield one
    one.close()


@pytest.mark.parametrize("sort", [sort for sort in SORTS if sort != "drop by drop"])
def test_each_sort_of_nonsense_is_one_dead_letter(sandbox: Sandbox, sort: str) -> None:
    others = children()  # of this process, from other tests
    assert sandbox.parse("any", b"well").text == "well"
    mine = children() - others
    assert mine
    with pytest.raises(DocumentUnparsable) as failed:
        sandbox.parse("any", sort.encode())
    assert failed.value.message == f"{REASONS.get(sort, NONSENSE)}; it was tried twice"
    assert gone(mine)
    assert sandbox.parse("any", b"well").text == "well"


def test_an_answer_that_never_comes_to_its_end_is_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = of_subverted_ones(monkeypatch, Limits(wall_s=0.5))
    with pytest.raises(DocumentUnparsable, match=r"more than 0\.5 s"):
        sandbox.parse("any", b"drop by drop")
    sandbox.close()


def test_what_greets_otherwise_is_no_child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text("import time\nprint('HEADWATERS', flush=True)\ntime.sleep(3600)\n")
    monkeypatch.setattr(process, "_PROGRAM", ("-I", str(other)))
    sandbox = Sandbox()
    with pytest.raises(ParserUnavailable):
        sandbox.parse("any", b"well")
    sandbox.close()
