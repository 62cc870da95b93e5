"""Scanned PDF documents, read by the real tesseract; and programs in its place that mean no good."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ingestion.errors import DocumentUnparsable, Misconfigured, NotIndexable
from ingestion.parsing import parse, readable, version_of, versions
from ingestion.parsing.documents import Ocr
from ingestion.parsing.ocr import Scans, make_scans
from ingestion.parsing.sandbox import Limits, Sandbox
from ingestion.records import Parsed
from tests.documents import pdf, photographed, scanned_pdf, shown
from tests.servers.tesseract import tesseract
from tests.unit.ingestion.parsing.sandbox.test_sandbox import gone

PAPER = pdf(
    [
        [("Days of leave", ["Employees have thirty days of leave in every year. " * 3])],
        [("Chairs", ["All chairs are blue, and the tables are made of wood. " * 3])],
    ],
    table=[["Name", "Price"], ["Chair", "12.50"], ["Stool", "9.00"]],
)
HEADER = "level\tpage\tblock\tpar\tline\tword\tleft\ttop\twidth\theight\tconf\ttext"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    one = Sandbox()
    yield one
    one.close()


@pytest.fixture
def scans() -> Iterator[Scans]:
    tesseract()
    one = make_scans("eng")
    yield one
    one.sandbox.close()


def read(body: bytes, sandbox: Sandbox, scans: Scans | None) -> Parsed:
    def apart(name: str, body: bytes) -> Parsed:
        where = scans.sandbox if scans and name == scans.ocr.parser else sandbox
        return where.parse(name, body)

    return parse(body, "a.pdf", apart=apart, ocr=scans.ocr if scans else None)


def test_scanned_pages_are_read_with_headings_tables_and_numbers(sandbox: Sandbox, scans: Scans) -> None:
    found = shown(read(photographed(PAPER), sandbox, scans))
    assert ("Days of leave", "Employees have thirty days of leave in every year.", "page 1") in [
        (path, text[:50], place) for path, text, place in found
    ]
    assert [text for _, text, place in found if place == "page 2"][-2:] == ["Chair | 12.50", "Stool | 9.00"]


def test_without_it_a_scanned_document_says_what_to_do(sandbox: Sandbox) -> None:
    with pytest.raises(NotIndexable) as skipped:
        read(scanned_pdf(2), sandbox, None)
    assert skipped.value.message == (
        "scanned: 2 pages of pictures, and no text; install tesseract and set parsing.ocr to have it read"
    )


def test_pictures_without_words_are_a_document_without_text(sandbox: Sandbox, scans: Scans) -> None:
    with pytest.raises(NotIndexable, match="without text"):
        read(scanned_pdf(), sandbox, scans)


def test_a_document_of_text_is_read_as_ever(sandbox: Sandbox) -> None:
    nobody = Scans(Ocr("eng", "/there/is/none"), sandbox)
    assert read(PAPER, sandbox, nobody) == read(PAPER, sandbox, None)


def test_it_changes_the_fingerprint_of_what_it_may_change() -> None:
    ocr, other = Ocr("eng", "/a/tesseract"), Ocr("eng+deu", "/a/tesseract")
    assert len({version_of(PAPER, "a.pdf", ocr=one) for one in (None, ocr, other)}) == 3
    assert len({readable(one) for one in (None, ocr, other)}) == 3
    assert version_of(PAPER, "a.pdf", ocr=ocr) in versions(ocr)
    assert versions(ocr) - versions() == {version_of(PAPER, "a.pdf", ocr=ocr)}
    assert version_of(b"text", "a.md", ocr=ocr) == version_of(b"text", "a.md")


def test_what_is_not_installed_is_said_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    tesseract()
    with pytest.raises(Misconfigured, match="has not: tlh, xyz"):
        make_scans("eng+xyz+tlh")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Misconfigured, match="there is no tesseract here"):
        make_scans("eng")


def in_its_place(tmp_path: Path, program: str, limits: Limits | None = None) -> Scans:
    """``program``: Python, to which ``say`` answers as tesseract does."""
    file = tmp_path / "tesseract"
    say = f"def say(text): print({HEADER!r}); print(*'5111111191', 9, text, sep='\\t')"
    file.write_text(f"#!{sys.executable} -I\n{say}\n{program}\n")
    file.chmod(0o755)
    return Scans(Ocr("eng", str(file)), Sandbox(limits=limits or Limits()))


def test_one_that_hangs_ends_with_its_document(tmp_path: Path, sandbox: Sandbox) -> None:
    scans = in_its_place(tmp_path, "import time; time.sleep(3600)", Limits(wall_s=1.5))
    with pytest.raises(DocumentUnparsable, match=r"more than 1\.5 s; it was tried twice"):
        read(scanned_pdf(), sandbox, scans)
    left = {
        one.pid
        for one in psutil.process_iter(["cmdline"])
        if str(tmp_path / "tesseract") in (one.info["cmdline"] or ())
    }
    assert gone(left)
    scans.sandbox.close()


def test_one_that_fails_costs_its_document_and_names_the_page(tmp_path: Path, sandbox: Sandbox) -> None:
    scans = in_its_place(tmp_path, "raise SystemExit(3)")
    with pytest.raises(DocumentUnparsable, match=r"as PDF: tesseract could not .* page 1 \(exit status 3\)"):
        read(scanned_pdf(), sandbox, scans)
    scans.sandbox.close()


def test_it_holds_no_more_than_it_needs(tmp_path: Path, sandbox: Sandbox) -> None:
    program = f"""
import os, resource
say("ENV " + ",".join(sorted(os.environ)))
try:
    with open({str(tmp_path / "written")!r}, "w") as file:
        file.write("x" * 9)
    say("WROTE")
except OSError:
    say("REFUSED")
say("MEMORY " + str(resource.getrlimit(resource.RLIMIT_AS)[0]))
"""
    scans = in_its_place(tmp_path, program, Limits(memory_bytes=2**29))
    text = read(scanned_pdf(), sandbox, scans).text
    scans.sandbox.close()
    assert set(text.split("ENV ")[1].split()[0].split(",")) <= {"LC_CTYPE", "OMP_THREAD_LIMIT"}
    assert "REFUSED" in text
    assert "WROTE" not in text
    assert f"MEMORY {2**29}" in text


def _may_have_no_network() -> bool:
    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None)
        os._exit(0 if libc.unshare(0x50000000) == 0 or libc.unshare(0x40000000) == 0 else 1)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_where_the_system_allows_it_there_is_no_network(tmp_path: Path, sandbox: Sandbox) -> None:
    if not _may_have_no_network():
        pytest.skip("this system lets nobody leave its network")
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = f"""
import socket
try:
    socket.create_connection(("127.0.0.1", {server.getsockname()[1]}), 5)
    say("CONNECTED")
except OSError:
    say("ALONE")
"""
        scans = in_its_place(tmp_path, program)
        assert read(scanned_pdf(), sandbox, scans).text == "ALONE"
        scans.sandbox.close()
