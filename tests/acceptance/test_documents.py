"""Documents that are no text, in the program as people start it: found, edited, cleared away."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from tests.acceptance.program import Program, running
from tests.documents import Section, endless_pdf, pdf, pptx, scanned_pdf, xlsx

WORDS = "The quick brown fox jumps over the lazy dog near the river bank while the sun goes down. "
PAGES = 12
ROWS = 300


def paper(changed: str = "") -> bytes:
    last = [f"Number {n}. {changed if n == 5 else ''}" for n in range(PAGES)]
    return pdf([[(f"Chapter {n}", [WORDS * 4, last[n]])] for n in range(PAGES)])


def slides(more: Sequence[Section] = (), changed: str = "") -> bytes:
    return pptx([*more, *((f"Slide {n}", [WORDS, changed if n == 5 else "as it was"]) for n in range(PAGES))])


def prices(*, changed: str = "", more: int = 0) -> bytes:
    rows = [[f"chair {n}", n * 1.5, changed if n == 150 else "in stock"] for n in range(ROWS)]
    return xlsx({"Prices": [["Item", "Price", "Note"], *[["stool", 1, "new"]] * more, *rows]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents") / "papers"
    folder.mkdir()
    (folder / "note.md").write_text("# Note\n\nA first word.\n")
    (folder / "paper.pdf").write_bytes(paper())
    (folder / "slides.pptx").write_bytes(slides())
    (folder / "prices.xlsx").write_bytes(prices())
    (folder / "scan.pdf").write_bytes(scanned_pdf())
    (folder / "locked.pdf").write_bytes(pdf([[("Secret", ["x"])]], password="secret"))
    (folder / "bomb.docx").write_bytes(b"PK\x03\x04 and nothing more")
    return folder


@pytest.fixture(scope="module")
def program(folder: Path) -> Iterator[Program]:
    with running(folder.parent / "data", folder) as one:
        yield one.ready()


def test_each_is_found_where_it_stands_or_says_why_not(program: Program) -> None:
    for question, uri, place in (
        ("Chapter 5", "paper.pdf", "page 6"),
        ("Slide 7", "slides.pptx", "slide 8"),
        ("chair 150", "prices.xlsx", "sheet Prices, row"),
    ):
        hit = next(one for one in program.search(question) if one["uri"] == uri)
        assert place in hit["place"], hit
    documents = program.documents()
    assert documents["scan.pdf"]["reason"] == (
        "scanned: 1 page of pictures, and no text; install tesseract and set parsing.ocr to have it read"
    )
    assert documents["locked.pdf"]["reason"] == "encrypted: the PDF asks for a password"
    assert documents["bomb.docx"]["state"] == "failed"
    assert "it is a damaged archive" in documents["bomb.docx"]["error"]


@pytest.mark.parametrize(
    ("name", "edited", "word"),
    [
        ("paper.pdf", paper("Marzipan."), "marzipan"),
        ("slides.pptx", slides(changed="Nougat."), "nougat"),
        ("prices.xlsx", prices(changed="Truffle."), "truffle"),
    ],
)
def test_an_edit_embeds_its_neighbourhood_only(
    program: Program, folder: Path, name: str, edited: bytes, word: str
) -> None:
    before = program.texts_embedded()
    (folder / name).write_bytes(edited)
    program.until(lambda: word in str(program.search(word)[:1]).lower(), what=f"{word} is found")
    assert 1 <= program.texts_embedded() - before <= 3
    program.settles(folder)


def test_what_is_inserted_moves_places_and_embeds_itself(program: Program, folder: Path) -> None:
    before = program.texts_embedded()
    (folder / "slides.pptx").write_bytes(slides([("Marble", ["a first slide"])], changed="Nougat."))
    (folder / "prices.xlsx").write_bytes(prices(changed="Truffle.", more=2))
    program.settles(folder)
    assert program.search("nougat")[0]["place"] == "slide 7"
    assert "slides.pptx (slide 7)  Slide 5" in program.command("search", "nougat").stdout
    assert program.texts_embedded() - before <= 6


def test_nobody_waits_for_documents_that_hang(program: Program, folder: Path) -> None:
    """More of them than any lane leaves to such documents. They take minutes."""
    many = folder / "more"
    many.mkdir()
    hanging = [f"more/a{n}.pdf" for n in range(3)]
    for name in hanging:
        (folder / name).write_bytes(endless_pdf())
    time.sleep(1.0)  # they are being parsed, most probably; if not, the test is only easier to pass
    (folder / "note.md").write_text("# Note\n\nA word about pistachios.\n")
    (folder / "paper.pdf").write_bytes(paper("Persimmon."))
    program.until(lambda: "pistachio" in str(program.search("pistachios")[:1]), what="the edit is found")
    program.until(lambda: "Persimmon" in str(program.search("persimmon")[:1]), what="the paper is found")
    states = {name: one["state"] for name, one in program.documents().items()}
    assert {states.get(name, "pending") for name in hanging} == {"pending"}


def test_nothing_is_left_of_a_program_that_was_killed(program: Program) -> None:
    children = psutil.Process(program.pid).children()
    assert children
    program.kill()
    deadline = time.monotonic() + 20
    while any(map(psutil.pid_exists, (one.pid for one in children))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [one for one in children if psutil.pid_exists(one.pid)]


def test_a_first_index_goes_on_beside_documents_that_hang(tmp_path: Path) -> None:
    folder = tmp_path / "papers"
    folder.mkdir()
    for number in range(3):
        (folder / f"a{number}.pdf").write_bytes(endless_pdf())
    well = {f"b{number}.pdf" for number in range(8)} | {f"c{number}.md" for number in range(8)}
    for name in well:
        text = f"All about {name}."
        body = text.encode() if name.endswith("md") else pdf([[("Title", [text])]])
        (folder / name).write_bytes(body)
    with Program(tmp_path / "data", folder) as program:
        program.start().listening()

        def live() -> set[str]:
            documents = program.documents()
            assert "failed" not in {one["state"] for one in documents.values()}
            return {name for name, one in documents.items() if one["state"] == "live"}

        program.until(lambda: live() == well, what="all that is well is live")
