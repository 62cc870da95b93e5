"""Documents that somebody spoiled: real ones of every format with bytes changed, cut, doubled and crossed,
archives that blow up, XML that reaches out, and nesting without end.

``python -m tests.hostile [NUMBER]`` parses so many in a real sandbox and says what became of them.
"""

from __future__ import annotations

import io
import json
import random
import resource
import socket
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping

from ingestion.errors import DocumentUnparsable, NotIndexable
from ingestion.parsing import parse
from ingestion.parsing.sandbox import Limits, Sandbox
from tests.documents import Section, docx, epub, odp, odt, pdf, pptx, scanned_pdf, xlsx, zipped

SEED = 5
SECRET = "what the file says"
LIMITS = Limits(wall_s=10.0, cpu_s=5, memory_bytes=2**29)
SECTIONS: list[Section] = [(f"Title {n}", ["Some words of text.", "And more."]) for n in range(5)]
TABLE = [["Item", "Price"], ["Blue chair", "12.50"]]
ENTITIES = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {after} "{f"&{name};" * 10}">' for name, after in zip("abcdefgh", "bcdefghi", strict=True)
)


def real() -> dict[str, bytes]:
    """A document of every format."""
    paper = pdf([SECTIONS, SECTIONS], table=TABLE)
    mail = b"Subject: Terms\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nText.\n--b\n"
    mail += b"Content-Disposition: attachment; filename=a.pdf\n\n" + paper + b"\n--b--\n"
    return {
        "a.pdf": paper,
        "scan.pdf": scanned_pdf(),
        "locked.pdf": pdf([SECTIONS], password="secret"),
        "a.docx": docx(SECTIONS, title="Book", table=TABLE, items=["one"]),
        "a.pptx": pptx(SECTIONS, notes="Notes.", table=TABLE),
        "a.xlsx": xlsx({"A": [*TABLE, [1, 2.5]]}),
        "a.odt": odt(SECTIONS, table=TABLE),
        "a.odp": odp(SECTIONS),
        "a.epub": epub("Book", SECTIONS),
        "a.eml": mail,
        "a.json": json.dumps([{"name": "chair", "size": [1, {"deep": None}]}] * 20).encode(),
        "a.jsonl": b'{"a": 1}\n' * 20,
        "a.csv": b"Item;Price\nBlue chair;12.50\n" * 20,
        "a.ipynb": json.dumps({"cells": [{"cell_type": "markdown", "source": "# A"}] * 9}).encode(),
    }


def traps(file: str, port: int) -> Iterator[tuple[str, bytes]]:
    """Each made for its purpose. Some reach for a file, or for a server on this machine."""
    word = docx(SECTIONS)
    for reach in (f"file://{file}", f"http://127.0.0.1:{port}/x", file):
        for part in ("word/document.xml", "_rels/.rels", "[Content_Types].xml", "word/styles.xml"):
            yield "a.docx", _with(word, {part: f'<!DOCTYPE x [<!ENTITY f SYSTEM "{reach}">]><x>&f;</x>'})
    for body, part in ((word, "word/document.xml"), (odt(SECTIONS), "content.xml")):
        yield "a.docx", _with(body, {part: f"{ENTITIES}]><x>&i;</x>"})
        yield "a.docx", _with(body, {part: "<a>" * 10**6 + "</a>" * 10**6})
        yield "a.docx", _with(body, {part: b"\0" * 2**27})
        yield "a.docx", _with(body, {part: f"<x>{'y' * 2**24}</x>"})
        yield "a.docx", _with(body, {part: f"<x {'y' * 2**20}='z'/>"})
    for body in (xlsx({"A": TABLE}), pptx(SECTIONS), epub("Book", SECTIONS)):
        for part in zipfile.ZipFile(io.BytesIO(body)).namelist():
            yield "a.xlsx", _with(body, {part: f"{ENTITIES}]><x>&i;</x>"})
            yield "a.xlsx", _with(body, {part: ""})
            yield "a.xlsx", _with(body, {part: "<a>" * 10_000})
    inner = word
    for _ in range(5):
        inner = zipped({"word/document.xml": inner, "a.zip": inner})
        yield "a.docx", inner
    yield "a.xlsx", _with(xlsx({"A": TABLE}), {"xl/worksheets/sheet1.xml": _far_cells()})
    yield "a.docx", zipped({str(number): "" for number in range(20_000)})
    yield "a.pdf", b"%PDF-1.7\n" + b"[" * 10**6
    yield "a.pdf", b"%PDF-1.7\n1 0 obj\n" + b"<<" * 10**6
    yield "a.pdf", pdf([SECTIONS]).replace(b"/Count 1", b"/Count 999999999")
    yield "a.eml", b"Content-Type: multipart/mixed; boundary=b\n\n--b\n" * 5_000
    yield "a.eml", b"Subject: " + b"=?utf-8?q?a?= " * 50_000 + b"\n\nx"
    yield "a.eml", b"To: " + b"(" * 100_000 + b"\n\nx"
    yield "a.json", b"[" * 2**21
    yield "a.json", b"[" + b"[]," * 2**21 + b"[]]"
    yield "a.csv", b'"' + b"a," * 2**20
    yield "a.ipynb", b'{"cells": [' + b"{}," * 2**18 + b"{}]}"


def spoiled(number: int, seed: int, file: str, port: int) -> Iterator[tuple[str, bytes]]:
    """So many: the traps first, then real documents with something done to them."""
    pick = random.Random(seed)
    whole = list(real().items())
    made = 0
    for trap in traps(file, port):
        if made == number:
            return
        yield trap
        made += 1
    for _ in range(number - made):
        name, body = pick.choice(whole)
        yield name, _spoil(pick, body, pick.choice(whole)[1])


def parse_all(number: int, seed: int = SEED) -> Counter[str]:
    """What became of them. Raises whatever a worker would not survive, and AssertionError where something was
    reached."""
    became = Counter[str]()
    sandbox = Sandbox(limits=LIMITS)
    with tempfile.NamedTemporaryFile("w") as file, socket.create_server(("127.0.0.1", 0)) as server:
        file.write(SECRET)
        file.flush()
        for name, body in spoiled(number, seed, file.name, server.getsockname()[1]):
            became[_state(sandbox, name, body)] += 1
        sandbox.close()
        server.setblocking(False)
        try:
            server.accept()
        except BlockingIOError:
            return became
    raise AssertionError("a document reached a server")


def told(became: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in became.items())


def _state(sandbox: Sandbox, name: str, body: bytes) -> str:
    try:
        parsed = parse(body, name, apart=sandbox.parse)
    except NotIndexable:
        return "skipped"
    except DocumentUnparsable as error:
        return "given up at a limit" if "tried twice" in error.message else "refused"
    assert SECRET not in parsed.text
    assert all(parsed.text[block.start : block.end].strip() for block in parsed.blocks)
    return "read"


def _spoil(pick: random.Random, body: bytes, other: bytes) -> bytes:
    spoilt = bytearray(body)
    for _ in range(pick.randint(1, 8)):
        at, far = sorted(pick.randrange(len(spoilt) + 1) for _ in range(2))
        match pick.randrange(6):
            case 0:
                spoilt[at : at + 1] = pick.randbytes(1)
            case 1:
                del spoilt[at : min(far, at + 200)]
            case 2:
                spoilt[at:at] = pick.randbytes(pick.randint(1, 64))
            case 3:
                spoilt[at:at] = spoilt[at:far][:2000]
            case 4:
                spoilt[at : at + 400] = other[at : at + 400]
            case 5 if pick.random() < 0.2:
                del spoilt[at:]
        spoilt = spoilt or bytearray(b"x")
    # Archives are checked by sums, which would keep most changes out: those of single parts get in.
    if body.startswith(b"PK") and pick.random() < 0.5:
        return _with_part_spoiled(pick, body)
    return bytes(spoilt)


def _with_part_spoiled(pick: random.Random, body: bytes) -> bytes:
    archive = zipfile.ZipFile(io.BytesIO(body))
    part = bytearray(archive.read(pick.choice(archive.namelist())))
    name = pick.choice(archive.namelist())
    for _ in range(pick.randint(1, 5)):
        at = pick.randrange(len(part) + 1)
        part[at : at + pick.randint(0, 20)] = pick.choice(
            [b"", b"<", b"</a>", b"&a;", pick.randbytes(3), b"9" * 30]
        )
    return _with(body, {name: bytes(part)})


def _with(body: bytes, changed: Mapping[str, str | bytes]) -> bytes:
    archive = zipfile.ZipFile(io.BytesIO(body))
    entries: dict[str, str | bytes] = {name: archive.read(name) for name in archive.namelist()}
    return zipped(entries | dict(changed))


def _far_cells() -> str:
    """Two cells, as far from each other as a sheet goes: seventeen thousand million between them."""
    return (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
        "</sheetData></worksheet>"
    )


if __name__ == "__main__":
    print(told(parse_all(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)))
    print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB here")
