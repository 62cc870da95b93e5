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
from ingestion.parsing.sandbox.answers import Answer
from ingestion.parsing.sandbox.child import HELLO, LENGTHS
from ingestion.parsing.sandbox.limits import Limits

_PROGRAM = ("-I", "-m", "ingestion.parsing.sandbox.child")
_START_S = 60.0
_END_S = 5.0
_PIECE_BYTES = 2**16  # what a pipe holds; more would be mapped and unmapped for every answer


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
                *_PROGRAM,
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

    def ask(self, parser: str, body: bytes, wall_s: float) -> Answer:
        """The answer of a parser. Raises Breach, after which the child is to be ended, and ParserUnavailable
        where it never began."""
        self._greet()
        deadline = time.monotonic() + wall_s
        self.documents += 1
        name = parser.encode()
        self._write(b"".join((LENGTHS.pack(len(name), len(body)), name, body)), deadline)
        found = self._read(LENGTHS.size, bytearray(), deadline)
        of_json, of_text = LENGTHS.unpack_from(found)
        if of_json + of_text > self._limits.answer_bytes:
            raise Breach(f"its text takes more than {self._limits.answer_bytes // 2**20} MiB")
        text_at = LENGTHS.size + of_json
        found = self._read(text_at + of_text, found, deadline)
        if len(found) > text_at + of_text:  # it would be taken for the answer to the next document
            raise Breach("its parser answered nonsense")
        whole = bytes(found)
        return whole[LENGTHS.size : text_at], whole[text_at:]

    def _greet(self) -> None:
        """Wait until it reads: what it needs to start is no document's time. Whatever else it says, unasked,
        would be taken for an answer."""
        if self._greeted:
            with contextlib.suppress(BlockingIOError):
                raise Breach("its parser answered nonsense") if os.read(self._from, 1) else self._ended()
            return
        try:
            self._greeted = self._read(len(HELLO), bytearray(), time.monotonic() + _START_S) == HELLO
        except Breach as breach:
            raise unavailable(str(breach)) from breach
        if not self._greeted:
            raise unavailable("what was started is none")

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

    def _write(self, request: bytes, deadline: float) -> None:
        rest = memoryview(request)
        while rest:
            try:
                rest = rest[os.write(self._to, rest[:_PIECE_BYTES]) :]
            except BlockingIOError:
                self._wait(self._to, select.POLLOUT, deadline)
            except BrokenPipeError:
                raise self._ended() from None

    def _read(self, length: int, found: bytearray, deadline: float) -> bytearray:
        """What was found and so much more that it is so long; longer where more was said than asked for."""
        while len(found) < length:
            self._wait(self._from, select.POLLIN, deadline)
            try:
                piece = os.read(self._from, _PIECE_BYTES)
            except BlockingIOError:
                continue
            if not piece:
                raise self._ended()
            found += piece
        return found

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
        if code == -signal.SIGABRT:  # what libraries in Rust and C do where they get no memory
            most = self._limits.memory_bytes // 2**20
            return Breach(
                f"its parser gave up (SIGABRT), most often as it takes more than {most} MiB of memory"
            )
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
