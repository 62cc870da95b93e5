"""The live view: what is drawn, in how much room, and how it ends."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from ingestion.clock import SystemClock
from ingestion.errors import LedgerUnavailable
from ingestion.ledger.views import LatestView
from ops import live
from ops.latest import LOOKED_AT, Rates, changes, errors, rates
from ops.live import Seen, frame
from ops.settings import load
from ops.status import status_report
from tests.unit.ops.books import START, Books, SetClock
from tests.unit.ops.conftest import Run

DEADLINE_S = 60.0
SHOW_CURSOR, LEAVE_SCREEN = "\x1b[?25h", "\x1b[?1049l"


def drawn(seen: Seen, *, width: int = 80, height: int = 40) -> list[str]:
    console = Console(
        file=io.StringIO(), width=width, height=height, markup=False, highlight=False, emoji=False
    )
    with console.capture() as captured:
        console.print(frame(seen, height))
    return captured.get().splitlines()


def source(name: str, **more: Any) -> dict[str, Any]:
    counts = {"live": 3, "pending": 0, "failed": 0, "held": 0}
    return {
        "name": name,
        "active": True,
        "index_lag_s": 0.0,
        "fault": None,
        "documents": counts | more.pop("documents", {}),
        **more,
    }


def seen(
    *sources: dict[str, Any], latest: tuple[LatestView, ...] = (), canaries: tuple[dict[str, Any], ...] = ()
) -> Seen:
    lanes = [
        {"lane": "fresh", "pending": 0, "oldest_age_s": None},
        {"lane": "bulk", "pending": 1234, "oldest_age_s": 250.0},
    ]
    report = {"version": "0.1.0", "fresh_as_of": None, "sources": list(sources), "lanes": lanes}
    return Seen({**report, "canaries": list(canaries)}, latest, START)


def step(name: str = "a.md", outcome: str = "published", ago_s: float = 1.0, **more: Any) -> LatestView:
    at = START - ago_s
    values: dict[str, Any] = {"changed_at": at - 0.25, "embedded": 2, "detail": "", **more}
    return LatestView("handbook", name, outcome, finished_at=at, **values)


def test_the_view_tells_of_sources_lanes_rates_changes_and_errors() -> None:
    failed = step("bad.pdf", "dead", 30.0, embedded=0, detail="handbook/bad.pdf no text could be made of it.")
    lines = drawn(seen(source("handbook"), latest=(step(), step("b.md"), failed)))
    text = "\n".join(lines)
    assert re.search(r"^handbook +0\.00 s +3 +0 +0 +0 +- +-", text, re.MULTILINE)
    assert "bulk   1,234 waiting, the oldest change 4 min 10 s ago" in text
    assert "rates  0.1 documents/s, 0.1 texts/s in the last minute" in text
    assert re.search(r"newest changes\n\S+ handbook/a\.md +published +after 250 ms *\n", text)
    assert re.search(r"newest errors\n\S+ handbook/bad\.pdf +dead +no text could be made of it\.", text)


def test_a_canary_is_told_of_where_it_fails() -> None:
    failing = {"silent": False, "failed": "write", "detail": "No watcher has seen it."}
    lines = drawn(
        seen(source("handbook"), canaries=({"silent": False, "failed": None, "detail": ""}, failing))
    )
    assert [line.rstrip() for line in lines if "canary" in line] == [
        "canary: its write failed. No watcher has seen it."
    ]


def test_verdicts_and_budgets_are_shown_where_the_report_has_them() -> None:
    kept = {"last_hour": {"changes": {"number": 9, "p95_s": 0.4}}, "error_budget_left": 0.98}
    lines = drawn(
        seen(
            source("notes", verdict="current", reason="all is searchable", **kept),
            source("wiki", verdict="stuck", reason="Nothing was finished for 4 min.", index_lag_s=300.0),
        )
    )
    rows = [line for line in lines if line.startswith(("notes ", "wiki "))]
    assert [row.split()[:2] for row in rows] == [["wiki", "stuck"], ["notes", "current"]]
    assert rows[1].split()[-3:] == ["ms", "98", "%"]
    assert "wiki: Nothing was finished for 4 min." in [line.rstrip() for line in lines]
    assert "all is searchable" not in "\n".join(lines)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 50), (60, 24)])
def test_it_fits_whatever_the_names_and_however_many(width: int, height: int) -> None:
    long = "x" * 300 + "\x1b[2J\u202e\u65e5\u672c[red]"
    sources = [
        source(f"{long}{number}", fault=long, index_lag_s=number, documents={"live": 10**7})
        for number in range(100)
    ]
    latest = tuple(step(long, "failed" if n % 2 else "published", detail=long) for n in range(LOOKED_AT))
    lines = drawn(seen(*sources, latest=latest), width=width, height=height)
    assert max(map(cell_len, lines)) <= width
    assert not any("\x1b[2J" in line or "\u202e" in line for line in lines)
    assert any("more" in line for line in lines)
    assert len(lines) <= height


def test_the_rate_is_that_of_the_last_minute_or_of_what_is_looked_at() -> None:
    assert rates([], START) == Rates(0.0, 0.0)
    old = [step(ago_s=61.0)]
    assert rates([step(ago_s=1.0), step(ago_s=59.0), *old], START) == Rates(2 / 60, 4 / 60)
    busy = [step(ago_s=number / 100) for number in range(LOOKED_AT)]
    assert rates(busy, START).documents == pytest.approx(100, rel=0.01)
    assert rates([step(ago_s=-5.0)], START).documents > 0  # a clock that is ahead


def test_changes_and_errors_are_kept_apart() -> None:
    steps = [step("a"), step("b", "failed"), step("c", "retired"), step("d", "dead"), step("e")]
    assert [one.uri for one in changes(steps, 2)] == ["a", "c"]
    assert [one.uri for one in errors(steps, 9)] == ["b", "d"]


def test_the_ledger_tells_what_happened_last(books: Books) -> None:
    first, second = books.want("handbook", "first.md", "second.md")
    books.publish(first)
    books.fail(second, "no text.")
    latest = books.ledger.views.latest(10)
    assert [(one.name, one.outcome) for one in latest] == [
        ("handbook/second.md", "dead"),
        ("handbook/first.md", "published"),
    ]
    assert latest[1].embedded == 1
    assert len(books.ledger.views.latest(1)) == 1


def test_a_real_report_is_drawn(filed: Books, data: Path, handbook: Path) -> None:
    filed.listed("handbook")
    filed.publish(filed.want("handbook", "leave.md")[0])
    settings = load(
        arguments={"daemon.data": data, "sources": [handbook], "embedding.model": "hashing"}, environ={}
    )
    report = status_report(settings, filed.ledger, SystemClock())
    text = "\n".join(drawn(Seen(report, filed.ledger.views.latest(LOOKED_AT), filed.clock.now())))
    assert "handbook/leave.md" in text


def test_a_ledger_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    looks: Iterator[Seen | BaseException] = iter(
        [LedgerUnavailable("The disk is full.\x1b[2J"), seen(source("handbook")), KeyboardInterrupt()]
    )

    def look() -> Seen:
        found = next(looks)
        if isinstance(found, BaseException):
            raise found
        return found

    live.watch(look, console, pause=lambda seconds: None)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    assert "The disk is full." in written
    assert "handbook" in written
    assert LEAVE_SCREEN in written


class Terminal:
    """A command in a terminal of its own, 80 columns wide."""

    def __init__(self, words: list[str], cwd: Path) -> None:
        self._own, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "HEADWATER_EMBEDDING__MODEL": "hashing"}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ops.cli", *words], stdin=theirs, stdout=theirs, stderr=theirs,
            cwd=cwd, env=environment, start_new_session=True, preexec_fn=_take_terminal,
        )  # fmt: skip
        os.close(theirs)
        self.written = ""

    def until(self, words: str) -> None:
        ends = time.monotonic() + DEADLINE_S
        while words not in self.written:
            assert time.monotonic() < ends, self.written[-2000:]
            self._read(0.1)

    def press(self, key: bytes) -> int:
        """Press a key that ends it; the exit code."""
        os.write(self._own, key)
        return self.ended()

    def ended(self) -> int:
        ends = time.monotonic() + DEADLINE_S
        while self.process.poll() is None:
            assert time.monotonic() < ends, "it does not end"
            self._read(0.1)
        self._read(0.0)
        return self.process.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._own)

    def _read(self, timeout_s: float) -> None:
        while select.select([self._own], [], [], timeout_s)[0]:
            with contextlib.suppress(OSError):  # nobody has the other end any more
                self.written += os.read(self._own, 65536).decode("utf-8", "replace")
                continue
            return


def _take_terminal() -> None:
    ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def watching(filed: Books, data: Path, tmp_path: Path) -> Iterator[Terminal]:
    filed.listed("handbook")
    filed.publish(filed.want("handbook", "leave.md")[0])
    terminal = Terminal(["status", "--watch", "--data", str(data)], tmp_path)
    yield terminal
    terminal.close()


def test_in_a_terminal_it_goes_on_until_ctrl_c(watching: Terminal, filed: Books) -> None:
    watching.until("handbook/leave.md")
    filed.publish(filed.want("handbook", "new\x1b[2J.md")[0])
    watching.until("handbook/new\\x1b[2J.md")
    assert watching.press(b"\x03") == 0
    assert watching.written.rindex(LEAVE_SCREEN) > watching.written.rindex("Ctrl-C ends")
    assert SHOW_CURSOR in watching.written[watching.written.rindex("Ctrl-C ends") :]
    assert "Traceback" not in watching.written
    assert "Aborted" not in watching.written


def test_sigterm_leaves_the_terminal_as_it_was(watching: Terminal) -> None:
    watching.until("handbook/leave.md")
    watching.process.send_signal(signal.SIGTERM)
    assert watching.ended() == 0
    assert LEAVE_SCREEN in watching.written


def test_without_a_terminal_it_is_said_once(filed: Books, run: Run) -> None:
    filed.listed("handbook")
    once = run("status --watch").output
    assert "\x1b" not in once
    lines = [line for line in once.splitlines() if " ago" not in line]
    assert lines == [line for line in run("status").output.splitlines() if " ago" not in line]
    assert "leave --watch out" in run("status --watch --json", code=2).stderr
    assert json.loads(run("status --json").output)["sources"]


def test_the_clock_of_a_view_may_be_anything() -> None:
    assert live._time_of_day(1e30) == "--:--:--"
    assert SetClock().now() == START
