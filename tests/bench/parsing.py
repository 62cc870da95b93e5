"""What the sandbox costs: documents parsed in its children against the same parsers in this process.

    python -m tests.bench.parsing [--documents 200]

For every format that is parsed apart, generated documents of some pages; the two ways take turns, a tenth of
the documents each time. Then the lag of an edit of a one-page PDF in the running program, beside that of the
same text as Markdown.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from ingestion.parsing import at_hand
from ingestion.parsing.documents import document_of
from ingestion.parsing.sandbox import Sandbox
from ingestion.records import Parsed
from ops.wiring import BULK_THREADS
from tests.bench import _common
from tests.documents import Section, docx, epub, odt, pdf, pptx, xlsx

TURNS = 10
EDITS = 15
PICK = random.Random(11)
WORDS = ["".join(PICK.choices("bcdfglmnprstaeiou", k=PICK.randint(3, 9))) for _ in range(3000)]


def sentence(words: int = 12) -> str:
    return " ".join(PICK.choices(WORDS, k=words)).capitalize() + "."


def sections(number: int) -> list[Section]:
    return [(sentence(4), [" ".join(sentence() for _ in range(6)) for _ in range(4)]) for _ in range(number)]


def message() -> bytes:
    text = "\r\n\r\n".join(" ".join(sentence() for _ in range(6)) for _ in range(6))
    return f"Subject: {sentence(5)}\r\nFrom: a@example.com\r\nContent-Type: text/plain\r\n\r\n{text}".encode()


def workbook() -> bytes:
    rows: list[list[object]] = [["Name", "Number", "Note"]]
    rows += [[sentence(2), PICK.random() * 100, sentence(4)] for _ in range(200)]
    return xlsx({"One": rows, "Two": rows[:50]})


FORMATS: dict[str, Callable[[], bytes]] = {
    "a.pdf": lambda: pdf([sections(2) for _ in range(5)], table=[["Name", "Number"], ["one", "1"]]),
    "a.docx": lambda: docx(sections(10), title=sentence(3), table=[["Name", "Number"], ["one", "1"]]),
    "a.pptx": lambda: pptx(sections(12), notes=sentence()),
    "a.xlsx": workbook,
    "a.odt": lambda: odt(sections(10)),
    "a.epub": lambda: epub(sentence(3), sections(10)),
    "a.eml": message,
}


def rates(name: str, bodies: Sequence[bytes]) -> tuple[float, float, float]:
    """Documents a second, all warm: in this process, in the sandbox, and in the sandbox from two threads."""
    format_ = document_of(bodies[0], name)
    assert format_ is not None
    sandbox = Sandbox()
    spent = [0.0, 0.0, 0.0]
    size = max(1, len(bodies) // TURNS)
    with ThreadPoolExecutor(BULK_THREADS) as threads:
        ways: tuple[Callable[[Sequence[bytes]], list[Parsed]], ...] = (
            lambda some: [at_hand(format_.name, body) for body in some],
            lambda some: [sandbox.parse(format_.name, body) for body in some],
            lambda some: list(threads.map(partial(sandbox.parse, format_.name), some)),
        )
        for way in ways:
            way(bodies[: 2 * BULK_THREADS])
        for start in range(0, len(bodies), size):
            for number, way in enumerate(ways):
                began = time.perf_counter()
                way(bodies[start : start + size])
                spent[number] += time.perf_counter() - began
    sandbox.close()
    bare, apart, by_two = (len(bodies) / seconds for seconds in spent)
    return bare, apart, by_two


def lags(folder: Path, data: Path) -> tuple[list[float], list[float]]:
    """Seconds from a saved edit to a search that finds it: of a one-page PDF, and of the same as Markdown."""
    folder.mkdir()
    times: tuple[list[float], list[float]] = ([], [])
    with _common.service([folder], data) as one:
        one.until_ready(60)
        for number in range(EDITS):
            for kind, name in enumerate(("page.pdf", "page.md")):
                word = f"word{kind}x{number}"
                title, paragraphs = sections(1)[0]
                body = pdf([[(title, [*paragraphs, word])]])
                if kind:
                    body = "\n\n".join([f"# {title}", *paragraphs, word]).encode()
                beside = folder / f".{name}.tmp"
                beside.write_bytes(body)
                saved = time.perf_counter()
                beside.replace(folder / name)
                one.until(partial(_is_found, one, word), 30, word)
                times[kind].append(time.perf_counter() - saved)
    return times[0][1:], times[1][1:]  # the first ones are new documents


def _is_found(one: _common.Asked, word: str) -> bool:
    return any(word in hit["text"] for hit in one.search(word, 3))


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--documents", type=int, default=200)
    options = asked.parse_args()
    _common.begin("Documents parsed in the sandbox")
    for name, make in FORMATS.items():
        bare, apart, by_two = rates(name, [make() for _ in range(options.documents)])
        measured = f"{bare:.0f}/s; {apart / bare:.0%}; {by_two / bare:.0%}"
        _common.row(f"{name[2:]}: in this process; of that apart; from two threads", measured, ">= 80 %")
    with _common.workplace() as place:
        of_pdf, of_text = lags(place / "papers", place / "data")
    _common.row("edit of a one-page PDF to found", _common.spread(of_pdf))
    _common.row("the same text as Markdown", _common.spread(of_text))
    more = statistics.median(of_pdf) - statistics.median(of_text)
    _common.row("more", f"{more:+.3f} s", "<= 0.3 s")


if __name__ == "__main__":
    main()
