"""Every format in a real child, where nothing can be opened or loaded: the same as in this process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import pytest

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
        "a.docx": "adca63a7",
        "a.pptx": "08b4e201",
        "a.xlsx": "28d8a468",
        "a.odt": "e9661444",
        "a.odp": "4f6c968d",
        "a.epub": "7b0bdde9",
        "a.eml": "e3dccae2",
        "a.json": "16b1198d",
        "a.csv": "00ad3e3c",
    }


def test_every_format_is_among_these() -> None:
    found = {one.name for name, body in BODIES.items() if (one := document_of(body, name)) is not None}
    assert found == {one.name for one in DOCUMENTS} - {"old Office document"}
