"""Real children, and parsers that misbehave in them."""

from __future__ import annotations

import dataclasses
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ingestion.errors import DocumentUnparsable, Interrupted, NotIndexable
from ingestion.parsing.sandbox import Limits, NoRoom, Sandbox, TakesLong
from ingestion.parsing.sandbox.child import KEPT_BYTES
from ingestion.records import Block, BlockKind, Mark, Parsed
from tests.documents import docx, zipped

MISBEHAVING = "tests.unit.ingestion.parsing.sandbox.misbehaving"
PATIENT = Limits(wall_s=60.0, cpu_s=1, memory_bytes=2**29, answer_bytes=2**20)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    one = Sandbox(MISBEHAVING, PATIENT)
    yield one
    one.close()


@pytest.fixture
def hasty() -> Iterator[Sandbox]:
    one = Sandbox(MISBEHAVING, dataclasses.replace(PATIENT, wall_s=0.5))
    yield one
    one.close()


def children() -> set[int]:
    return {one.pid for one in psutil.Process().children(recursive=True)}


def gone(pids: set[int], within_s: float = 30.0) -> bool:
    deadline = time.monotonic() + within_s
    while any(psutil.pid_exists(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(psutil.pid_exists(pid) for pid in pids)


def test_a_document_comes_back_as_it_was_parsed(sandbox: Sandbox) -> None:
    assert sandbox.parse("echo", "größer 中".encode()) == Parsed(
        "größer 中", [Block(BlockKind.TABLE, 0, 8, ("Top",))], marks=[Mark(0, "sheet A", "row", 2)]
    )


def test_no_child_before_the_first_document_and_then_one_for_many(sandbox: Sandbox) -> None:
    before = children()
    assert sandbox.parse("pid", b"").text == sandbox.parse("pid", b"").text
    assert len(children() - before) == 1


def test_a_child_is_replaced_after_its_share_of_documents() -> None:
    sandbox = Sandbox(MISBEHAVING, dataclasses.replace(PATIENT, documents=2))
    pids = [sandbox.parse("pid", b"").text for _ in range(4)]
    sandbox.close()
    assert pids[0] == pids[1] != pids[2] == pids[3]


def test_an_idle_child_ends_and_the_next_document_finds_another() -> None:
    sandbox = Sandbox(MISBEHAVING, dataclasses.replace(PATIENT, idle_s=0.05))
    first = int(sandbox.parse("pid", b"").text)
    ended = psutil.Process(first)
    deadline = time.monotonic() + 30
    while ended.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.02)
    assert int(sandbox.parse("pid", b"").text) != first
    sandbox.close()


@pytest.mark.parametrize(
    ("parser", "reason"),
    [
        ("spin", "it takes more than 1 s of processor time; it was tried twice"),
        ("eat", "it takes more than 512 MiB of memory; it was tried twice"),
        ("crash", "its parser crashed (SIGSEGV); it was tried twice"),
        ("oom", "its parser was killed, as the system does where memory is short; it was tried twice"),
        ("leave", "its parser ended by itself (exit status 3); it was tried twice"),
        ("nonsense", "its parser answered nonsense; it was tried twice"),
        ("endless", "its text takes more than 1 MiB; it was tried twice"),
    ],
)
def test_a_limit_is_named_and_costs_nobody_else(sandbox: Sandbox, parser: str, reason: str) -> None:
    with pytest.raises(DocumentUnparsable) as failed:
        sandbox.parse(parser, b"x")
    assert failed.value.message == reason
    assert sandbox.parse("echo", b"well").text == "well"


def test_a_document_that_hangs_is_given_up_with_all_it_started(hasty: Sandbox) -> None:
    before = children()
    for parser in ("sleep", "family"):
        with pytest.raises(DocumentUnparsable, match=r"more than 0\.5 s"):
            hasty.parse(parser, b"")
    assert gone(children() - before)


def test_who_is_impatient_learns_that_it_takes_long(sandbox: Sandbox) -> None:
    with pytest.raises(TakesLong):
        sandbox.parse("sleep", b"", patience_s=0.2)
    assert sandbox.parse("echo", b"well", patience_s=60).text == "well"


def test_others_do_not_wait_for_one_that_hangs(sandbox: Sandbox) -> None:
    hanging = [threading.Thread(target=_ended_by_the_test, args=(sandbox,)) for _ in range(3)]
    for thread in hanging:
        thread.start()
    assert sandbox.parse("echo", b"well", patience_s=60, urgent=True).text == "well"
    assert all(thread.is_alive() for thread in hanging)
    sandbox.close()
    for thread in hanging:
        thread.join(30)
    assert not any(thread.is_alive() for thread in hanging)


def test_of_those_who_have_no_time_one_thread_always_comes_back(sandbox: Sandbox) -> None:
    hanging = [threading.Thread(target=_ended_by_the_test, args=(sandbox, True)) for _ in range(3)]
    for thread in hanging:
        thread.start()
    deadline = time.monotonic() + 30
    while sandbox._urgent._value and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(NoRoom):
        sandbox.parse("echo", b"well", patience_s=60, urgent=True)
    assert sandbox.parse("echo", b"well").text == "well"
    sandbox.close()
    for thread in hanging:
        thread.join(30)


def _ended_by_the_test(sandbox: Sandbox, urgent: bool = False) -> None:
    with pytest.raises(Interrupted):
        sandbox.parse("sleep", b"", urgent=urgent)


def test_what_a_parser_raises_is_told_by_its_type_alone(sandbox: Sandbox) -> None:
    with pytest.raises(DocumentUnparsable) as failed:
        sandbox.parse("fail", b"word")
    assert str(failed.value) == "its parser failed (ValueError)"
    with pytest.raises(NotIndexable, match="it holds no text"):
        sandbox.parse("skip", b"")


def test_what_is_too_much_to_be_taken_over_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(DocumentUnparsable, match="its text has more than 500,000 parts"):
        sandbox.parse("crumbs", b"")


def test_what_a_parser_prints_goes_nowhere(sandbox: Sandbox) -> None:
    assert sandbox.parse("chatter", b"").text == "heard"


def test_a_child_has_no_environment_no_files_and_no_network(sandbox: Sandbox, tmp_path: Path) -> None:
    assert set(eval(sandbox.parse("environment", b"").text)) <= {"LC_CTYPE"}  # which Python itself sets
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1]).encode()
        for parser, body in (
            ("read_file", b""),
            ("write_file", str(tmp_path / "file").encode()),
            ("connect", port),
            ("run", b""),
        ):
            with pytest.raises(DocumentUnparsable, match="OSError"):
                sandbox.parse(parser, body)
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_where_memory_is_short_the_child_goes_and_not_its_parent(sandbox: Sandbox) -> None:
    child = sandbox.parse("pid", b"").text
    assert Path(f"/proc/{child}/oom_score_adj").read_text().strip() == "1000"


def test_a_parser_gets_the_modules_that_it_needs_late(sandbox: Sandbox) -> None:
    assert sandbox.parse("late", b"").text == "colorsys wsgiref.util _lsprof"
    with pytest.raises(DocumentUnparsable, match="ModuleNotFoundError"):
        sandbox.parse("lazy", b"")


def test_an_interrupted_sandbox_starts_nothing_more(sandbox: Sandbox) -> None:
    child = int(sandbox.parse("pid", b"").text)
    sandbox.close()
    assert gone({child})
    with pytest.raises(Interrupted):
        sandbox.parse("echo", b"x")


PARENT = f"""
import sys, threading
from ingestion.parsing.sandbox import Sandbox
sandbox = Sandbox({MISBEHAVING!r})
print(sandbox.parse("pid", b"").text, flush=True)  # it is idle from now on
threading.Thread(target=sandbox.parse, args=("sleep", b""), daemon=True).start()
threading.Thread(target=sandbox.parse, args=("spin", b""), daemon=True).start()
sys.stdin.read()
"""


def test_nothing_is_left_of_a_parent_that_was_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert parent.stdout is not None
    assert parent.stdin is not None
    assert parent.stdout.readline()
    deadline = time.monotonic() + 60
    while not _both_at_work(parent.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    theirs = {one.pid for one in psutil.Process(parent.pid).children()}
    assert len(theirs) == 2
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()
    assert gone(theirs, 10)


def _both_at_work(parent: int) -> bool:
    """Both children are behind their start, which takes less of the processor than spinning does."""
    both = psutil.Process(parent).children()
    return len(both) == 2 and any(sum(one.cpu_times()[:2]) > 0.5 for one in both)


@pytest.mark.skipif(sys.platform != "linux", reason="the C library is asked for it there")
def test_what_a_large_document_took_is_given_back() -> None:
    run = "<w:r><w:rPr><w:b/></w:rPr><w:t>{}</w:t></w:r>"
    paragraphs = ("".join(run.format(100 * n + i) for i in range(100)) for n in range(4_000))
    entries = zipfile.ZipFile(io.BytesIO(docx([])))
    parts = {name: entries.read(name) for name in entries.namelist()}
    written = parts["word/document.xml"].decode()
    whole = "<w:body>" + "".join(f"<w:p>{one}</w:p>" for one in paragraphs)
    body = zipped({**parts, "word/document.xml": written.replace("<w:body>", whole)})
    before = children()
    one = Sandbox()
    try:
        assert len(one.parse("Office document", body).blocks) == 4_000
        (pid,) = children() - before
        child = psutil.Process(pid)
        deadline = time.monotonic() + 30.0
        while child.memory_info().rss > KEPT_BYTES and time.monotonic() < deadline:
            time.sleep(0.05)
        assert child.memory_info().rss <= KEPT_BYTES
    finally:
        one.close()
