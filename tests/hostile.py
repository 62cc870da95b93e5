"""Documents that somebody spoiled: those that are traps (see ``tests.traps``), and real ones of every format
with bytes changed, cut, doubled and crossed, and lengths that lie.

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
from itertools import islice

from ingestion.errors import DocumentUnparsable, NotIndexable
from ingestion.parsing import parse
from ingestion.parsing.sandbox import Limits, Sandbox
from tests.documents import docx, epub, odp, odt, pdf, pptx, scanned_pdf, xlsx
from tests.traps import SECTIONS, TABLE, Trap, changed_parts, traps

SEED = 5
SECRET = "what the file says"
LIMITS = Limits(wall_s=10.0, cpu_s=5, memory_bytes=2**29)


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
        "a.html": b"<html><title>Page</title><body><h1>A</h1><table><tr><td>b<td>c</table><p>Text.</body>",
        "a.md": b"# Title\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n> said\n" * 9,
        "a.mhtml": b"Subject: Page\nContent-Type: multipart/related; boundary=b\n\n--b\n"
        b"Content-Type: text/html\n\n<h1>A</h1><p>Text.</p>\n--b--\n",
        "a.ipynb": json.dumps({"cells": [{"cell_type": "markdown", "source": "# A"}] * 9}).encode(),
    }


def spoiled(number: int, seed: int, file: str, port: int, *, every: int = 1) -> Iterator[Trap]:
    """So many: the traps first, or every so manieth, then real documents with something done to them."""
    pick = random.Random(seed)
    whole = list(real().items())
    made = 0
    for trap in islice(traps(file, port), seed % every, number * every, every):
        yield trap
        made += 1
    for _ in range(number - made):
        name, body = pick.choice(whole)
        yield name, _spoil(pick, body, pick.choice(whole)[1])


def parse_all(number: int, seed: int = SEED, *, every: int = 1) -> Counter[str]:
    """What became of them. Raises whatever a worker would not survive, and AssertionError where something was
    reached."""
    became = Counter[str]()
    sandbox = Sandbox(limits=LIMITS)
    with tempfile.NamedTemporaryFile("w") as file, socket.create_server(("127.0.0.1", 0)) as server:
        file.write(SECRET)
        file.flush()
        for name, body in spoiled(number, seed, file.name, server.getsockname()[1], every=every):
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
        match pick.randrange(7):
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
            case 5:
                size = pick.choice((1, 2, 4, 8))
                spoilt[at : at + size] = pick.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * size
            case 6 if pick.random() < 0.2:
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
    return changed_parts(body, {name: bytes(part)})


if __name__ == "__main__":
    print(told(parse_all(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)))
    print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB here")
