"""Every format in a real child, where nothing can be opened or loaded: the same as in this process."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence

import pytest

from ingestion import parsing
from ingestion.parsing import at_hand, parse, version_of
from ingestion.parsing.documents import DOCUMENTS, document_of
from ingestion.parsing.sandbox import Sandbox
from ingestion.records import Parsed
from tests.documents import Section, docx, epub, odp, odt, pdf, pptx, xlsx

SECTIONS: list[Section] = [("Returns – Größe", ["Within ten days.", "中文"]), ("Prices", ["Below."])]
TABLE = [["Item", "Price"], ["Blue chair", "12.50"]]
BODIES = {
    "a.pdf": pdf([SECTIONS, SECTIONS], table=TABLE),
    "a.docx": docx(SECTIONS, title="Handbook", table=TABLE),
    "a.pptx": pptx(SECTIONS, notes="Notes.", table=TABLE),
    "a.xlsx": xlsx({"A": TABLE, "B": TABLE}),
    "a.odt": odt(SECTIONS, table=TABLE),
    "a.odp": odp(SECTIONS),
    "a.epub": epub("Book", SECTIONS),
    "a.eml": b"Subject: =?koi8-r?q?=CD=C9=D2?=\r\nContent-Type: text/plain; charset=koi8-r\r\n\r\n"
    + b"\xcd\xc9\xd2",
    "a.json": json.dumps([{"name": "x" * 100}] * 12_000).encode(),
    "a.csv": b"Item,Price\n" + (b"Blue chair " * 50 + b",12.50\n") * 2_000,
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    one = Sandbox()
    yield one
    one.close()


@pytest.mark.parametrize("name", BODIES)
def test_a_document_parsed_apart_is_the_same(sandbox: Sandbox, name: str) -> None:
    asked: list[str] = []

    def apart(parser: str, body: bytes) -> Parsed:
        asked.append(parser)
        return sandbox.parse(parser, body)

    parsed = parse(BODIES[name], name, apart=apart)
    assert parsed == parse(BODIES[name], name, apart=at_hand)
    assert parsed.blocks
    assert asked


def test_a_change_of_what_a_document_becomes_needs_a_new_version() -> None:
    digests = {}
    for name, body in BODIES.items():
        one = parse(body, name, apart=at_hand)
        said = repr((version_of(body, name), one.text, list(one.blocks), list(one.marks)))
        digests[name] = hashlib.sha256(said.encode()).hexdigest()[:8]
    assert digests == {
        "a.pdf": "3dff0091",
        "a.docx": "f71d255a",
        "a.pptx": "3167fcb6",
        "a.xlsx": "0e4ecea2",
        "a.odt": "c2edf27d",
        "a.odp": "57f7d0e3",
        "a.epub": "c723e047",
        "a.eml": "6be2e6ff",
        "a.json": "a5beef38",
        "a.csv": "b602ccf6",
    }


def test_every_format_is_among_these() -> None:
    found = {one.name for name, body in BODIES.items() if (one := document_of(body, name)) is not None}
    assert found == {one.name for one in DOCUMENTS} - {"old Office document"}


@pytest.mark.parametrize(
    ("within", "name", "others"),
    [
        ("PDF", "a.eml", ["a.docx"]),
        ("CSV", "a.eml", ["a.pdf"]),
        ("HTML", "a.eml", ["a.pdf"]),
        ("HTML", "a.epub", []),
    ],
)
def test_what_holds_others_changes_with_their_parsers(
    monkeypatch: pytest.MonkeyPatch, within: str, name: str, others: Sequence[str]
) -> None:
    before = {one: version_of(BODIES[one], one) for one in (name, *others)}
    for formats in ("DOCUMENTS", "FORMATS"):
        newer = tuple(
            dataclasses.replace(one, version="newer") if one.name == within else one
            for one in getattr(parsing, formats)
        )
        monkeypatch.setattr(parsing, formats, newer)
    changed = {one for one in before if version_of(BODIES[one], one) != before[one]}
    assert changed == {name}
    assert version_of(BODIES[name], name) in parsing.versions()
