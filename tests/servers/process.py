"""What the tests' real servers have in common: a port, a start, an end, and what a missing one means."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import platformdirs
import pytest

# The user's own cache, found before tests are given one that ends with them: a server that is built or
# installed once is there for the next run too.
CACHE = Path(platformdirs.user_cache_dir("headwater")) / "tests"
END_S = 10.0


class NotInstalled(Exception):
    """A server cannot be had on this machine; the message says what to do about it."""


def missing(fault: NotInstalled) -> None:
    """Skip on a developer's machine, with the reason; fail in CI, where every server must be there."""
    if os.environ.get("CI"):
        pytest.fail(f"in CI every server must be there: {fault}", pytrace=False)
    pytest.skip(str(fault))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Server:
    """A process of ours: started, awaited, killed and started again with the same command and data."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        answers: Callable[[], bool],
        start_s: float,
        environment: Mapping[str, str] | None = None,
        end_signal: int = signal.SIGTERM,
        as_user: int | None = None,
    ) -> None:
        """``answers`` is asked until it is true; errors of connecting are for it to catch."""
        self._command = command
        self._log = log
        self._answers = answers
        self._start_s = start_s
        self._environment = environment
        self._end_signal = end_signal
        self._as_user = as_user
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def revive(self) -> None:
        """Until it answers again: it may do so by itself, and is started where it ended."""
        ends = time.monotonic() + self._start_s
        while not self._answers():
            assert time.monotonic() < ends, f"the server did not come back within {self._start_s:.0f} s"
            if not self.runs:
                self.start()
            time.sleep(0.2)

    def start(self) -> None:
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._log.parent,
                env=None if self._environment is None else {**os.environ, **self._environment},
                user=self._as_user,
                group=self._as_user,
                extra_groups=None if self._as_user is None else [],
            )
        ends = time.monotonic() + self._start_s
        while not self._answers():
            said = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
            assert self.process.poll() is None, f"the server ended with {self.process.poll()}:\n{said}"
            assert time.monotonic() < ends, f"the server did not start within {self._start_s:.0f} s:\n{said}"
            time.sleep(0.05)

    def kill(self) -> None:
        """As a crash ends it. Returns when it is gone."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """Ended in order, or killed after ``END_S``. Idempotent."""
        try:
            self._signal(self._end_signal, END_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def pause(self) -> None:
        """Returns once all its threads have stopped: one may have answered meanwhile."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    @contextlib.contextmanager
    def running(self) -> Iterator[Server]:
        try:
            self.start()
            yield self
        finally:
            self.stop()

    def _signal(self, number: int, wait_s: float = END_S) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(number)
        if number != signal.SIGKILL:
            self.process.send_signal(signal.SIGCONT)  # one that is paused hears nothing else
        self.process.wait(wait_s)


def accepts(port: int) -> bool:
    """Whether somebody listens on this port of loopback."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
