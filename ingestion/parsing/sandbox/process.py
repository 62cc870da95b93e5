"""One child of the sandbox, from outside: started, asked, and ended with all it may have started."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import time

from ingestion.errors import ParserUnavailable
from ingestion.parsing.sandbox.child import HELLO, LENGTH
from ingestion.parsing.sandbox.limits import Limits

_START_S = 60.0
_END_S = 5.0
_PIECE_BYTES = 2**20


class Breach(Exception):
    """The child was, or is to be, ended; its argument says why, for people."""


class Child:
    """A process that parses. Not safe to share between threads, except for ``kill``."""

    def __init__(self, parsers: str, limits: Limits) -> None:
        """Returns at once. Raises OSError where no process can be started."""
        self._limits = limits
        self._greeted = False
        self.documents = 0
        self._process = subprocess.Popen(
            [
                sys.executable,
                *("-I", "-m", "ingestion.parsing.sandbox.child"),
                *(parsers, json.dumps(dataclasses.asdict(limits))),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            bufsize=0,
            start_new_session=True,  # a group of its own, and no Ctrl-C of the terminal's
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._to, False)
        os.set_blocking(self._from, False)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, parser: str, body: bytes, wall_s: float) -> bytes:
        """The answer of a parser. Raises Breach, after which the child is to be ended, and ParserUnavailable
        where it never began."""
        self._greet()
        deadline = time.monotonic() + wall_s
        self.documents += 1
        name = parser.encode()
        for piece in (LENGTH.pack(len(name)) + name + LENGTH.pack(len(body)), body):
            self._write(piece, deadline)
        (length,) = LENGTH.unpack(self._read(LENGTH.size, deadline))
        if length > self._limits.answer_bytes:
            raise Breach(f"its text takes more than {self._limits.answer_bytes // 2**20} MiB")
        return self._read(length, deadline)

    def _greet(self) -> None:
        """Wait until it reads: what it needs to start is no document's time."""
        if self._greeted:
            return
        try:
            self._greeted = self._read(len(HELLO), time.monotonic() + _START_S) == HELLO
        except Breach as breach:
            raise unavailable(str(breach)) from breach

    def kill(self) -> None:
        """At once, with whatever it started. Idempotent."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill, and wait until it is gone."""
        self.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()

    def _write(self, piece: bytes, deadline: float) -> None:
        rest = memoryview(piece)
        while rest:
            self._wait(self._to, select.POLLOUT, deadline)
            try:
                rest = rest[os.write(self._to, rest[:_PIECE_BYTES]) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise self._ended() from None

    def _read(self, length: int, deadline: float) -> bytes:
        found = bytearray()
        while len(found) < length:
            self._wait(self._from, select.POLLIN, deadline)
            try:
                piece = os.read(self._from, min(_PIECE_BYTES, length - len(found)))
            except BlockingIOError:
                continue
            if not piece:
                raise self._ended()
            found += piece
        return bytes(found)

    def _wait(self, pipe: int, event: int, deadline: float) -> None:
        looking = select.poll()
        looking.register(pipe, event)
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not looking.poll(left_s * 1000):
            raise Breach(self._over_time())

    def _ended(self) -> Breach:
        try:
            code = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            return Breach("its parser closed the connection")
        if code == -signal.SIGXCPU:
            return Breach(f"it takes more than {self._limits.cpu_s} s of processor time")
        if code == -signal.SIGALRM:
            return Breach(self._over_time())
        if code == -signal.SIGKILL:
            return Breach("its parser was killed, as the system does where memory is short")
        if code < 0:
            return Breach(f"its parser crashed ({signal.Signals(-code).name})")
        return Breach(f"its parser ended by itself (exit status {code})")

    def _over_time(self) -> str:
        return f"it takes more than {self._limits.wall_s:g} s"


def unavailable(reason: str) -> ParserUnavailable:
    return ParserUnavailable(
        f"No process for parsers could be started ({reason}).",
        hint="The document is tried again. See whether the machine is short of memory or processes.",
    )
