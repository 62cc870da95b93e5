"""Somebody asks all the while somebody else writes: no gap, no mix, nothing that comes back."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.program import Json, Program, running

PAGES = 6
SECTIONS = 8
WRITES_S = 8.0
SOAK_S = 300.0
DELETIONS = 12
TOP_K = 60  # more than there are passages with the word that is asked for
WORD = "thermocline"
CONSTANT = "The bedrock beneath the thermocline never changes."


def page(name: str, revision: int) -> str:
    """Every paragraph says which revision of which page it is; one passage never changes."""
    sections = [
        f"# Part {part} of {name}\n\nThe {WORD} of {name}, revision {revision:06d}, part {part}.\n"
        for part in range(SECTIONS)
    ]
    return "\n".join([f"# Bedrock of {name}\n\n{CONSTANT}\n", *sections])


def revisions(hits: list[Json]) -> dict[int, set[str]]:
    """The revisions that an answer shows, by document."""
    shown: dict[int, set[str]] = {}
    for hit in hits:
        if "revision " in hit["text"]:
            shown.setdefault(hit["document_id"], set()).add(hit["text"].split("revision ")[1][:6])
    return shown


class Reader:
    """Asks in a thread of its own, and keeps what was wrong with each answer."""

    def __init__(self, program: Program, judge: Callable[[float, list[Json]], Iterator[str]]) -> None:
        self._program = program
        self._judge = judge
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.faults: list[str] = []
        self.answers = 0

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join(timeout=30.0)
        assert not self._thread.is_alive()
        assert not self.faults, self.faults[:5]

    def _run(self) -> None:
        while not self._stop.is_set() and not self.faults:
            began = time.time()
            try:
                self.faults += self._judge(began, self._program.search(WORD, top_k=TOP_K))
            except Exception as error:  # noqa: BLE001 - whatever it is, the test must say it
                self.faults.append(repr(error))
            self.answers += 1


def write_for(seconds: float, notes: Path) -> int:
    """Edit every page again and again, rename some; returns the last revision."""
    dice, revision, ends = random.Random(7), 0, time.monotonic() + seconds
    names = {number: f"page-{number}" for number in range(PAGES)}
    while time.monotonic() < ends:
        revision += 1
        number = dice.randrange(PAGES)
        path = notes / f"{names[number]}.md"
        if dice.random() < 0.25:
            names[number] = f"page-{number}-{revision}"
            path.rename(notes / f"{names[number]}.md")
        else:
            written = notes / ".being-written"
            written.write_text(page(f"page {number}", revision))
            written.replace(path)
        time.sleep(dice.random() * 0.08)
    for number in range(PAGES):
        (notes / f"{names[number]}.md").write_text(page(f"page {number}", revision + 1))
    return revision + 1


class Whole:
    """Judges answers while pages are edited and renamed: every one is there, whole, unmixed, no older."""

    def __init__(self) -> None:
        self._newest: dict[int, str] = {}

    def __call__(self, _began: float, hits: list[Json]) -> Iterator[str]:
        bedrocks = {hit["heading_path"][0] for hit in hits if CONSTANT in hit["text"]}
        if len(bedrocks) != PAGES:
            yield f"only these unchanged passages: {sorted(bedrocks)}"
        parts: dict[int, list[str]] = {}
        for hit in hits:
            parts.setdefault(hit["document_id"], []).append(hit["heading_path"][0])
        for document_id, shown in parts.items():
            if len(shown) != len(set(shown)) or len(shown) != SECTIONS + 1:
                yield f"document {document_id} is not whole, or has passages twice: {sorted(shown)}"
        for document_id, shown_revisions in revisions(hits).items():
            if len(shown_revisions) != 1:
                yield f"document {document_id} mixes {sorted(shown_revisions)}"
            newest = self._newest.setdefault(document_id, "")
            self._newest[document_id] = max(shown_revisions)
            if min(shown_revisions) < newest:
                yield f"document {document_id} went back from {newest} to {min(shown_revisions)}"


def read_while_writing(tmp_path: Path, notes: Path, seconds: float) -> None:
    for number in range(PAGES):
        (notes / f"page-{number}.md").write_text(page(f"page {number}", 0))
    with running(tmp_path / "data", notes) as program:
        reader = Reader(program, Whole())
        with reader.reading():
            last = write_for(seconds, notes)
            program.settles(notes)
        assert reader.answers > 3 * seconds
        shown = revisions(program.search(WORD, top_k=TOP_K))
        assert [*shown.values()] == [{f"{last:06d}"}] * PAGES


def test_no_gap_and_no_mix_while_pages_are_edited_and_renamed(tmp_path: Path, notes: Path) -> None:
    read_while_writing(tmp_path, notes, WRITES_S)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_no_gap_and_no_mix_for_minutes(tmp_path: Path, notes: Path) -> None:
    read_while_writing(tmp_path, notes, SOAK_S)


class NeverBack:
    """Judges answers while a page is deleted and written anew: what is gone once is gone for ever."""

    def __init__(self) -> None:
        self.gone_at: dict[str, float] = {}
        self._shown: set[str] = set()

    def is_gone(self, revision: str) -> None:
        self.gone_at.setdefault(revision, time.time())

    def __call__(self, began: float, hits: list[Json]) -> Iterator[str]:
        shown = set().union(*revisions(hits).values())
        for revision in shown:
            if began > self.gone_at.get(revision, float("inf")):
                yield f"revision {revision} was shown again by a search that began after it was gone"
        for revision in self._shown - shown:
            self.is_gone(revision)
        self._shown |= shown


def test_a_deleted_passage_never_comes_back(tmp_path: Path, notes: Path) -> None:
    """Not after an answer was without it, and not after the ledger said that its document is retired."""
    for number in range(20):
        (notes / f"stays-{number}.md").write_text(f"# Stays {number}\n\nIt stays, number {number}.\n")
    (notes / "page.md").write_text(page("page", 0))
    judge = NeverBack()
    with running(tmp_path / "data", notes) as program:
        reader = Reader(program, judge)
        with reader.reading():
            for revision in range(1, DELETIONS + 1):
                (notes / "page.md").unlink()
                program.until(lambda: program.documents(state="retired"), what="the ledger knows it")
                judge.is_gone(f"{revision - 1:06d}")
                (notes / "page.md").write_text(page("page", revision))
                program.settles(notes)
        assert reader.answers > DELETIONS
        assert len(judge.gone_at) == DELETIONS
