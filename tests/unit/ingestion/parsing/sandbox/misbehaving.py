"""Parsers that do what parsers do when somebody wants them to. Loaded in children of the sandbox only."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ingestion.errors import NotIndexable
from ingestion.records import Block, BlockKind, Mark, Parsed

Parse = Callable[[bytes], Parsed]


def lazy(body: bytes) -> Parsed:
    import module_of_nobody  # type: ignore[import-not-found] # noqa: F401

    return said("loaded")


def late(body: bytes) -> Parsed:
    """Needs modules that nobody loaded so far: of Python, of a package, and one in C."""
    import _lsprof
    import colorsys
    import wsgiref.util

    return said(f"{colorsys.__name__} {wsgiref.util.__name__} {_lsprof.__name__}")


def load(name: str) -> Parse:
    """For a name of the registry's, the parser that the document itself names behind its signature."""
    return PARSERS.get(name, lambda body: PARSERS[body[5:].decode()](body))


def echo(body: bytes) -> Parsed:
    text = body.decode()
    return Parsed(
        text, [Block(BlockKind.TABLE, 0, len(text), ("Top",))], marks=[Mark(0, "sheet A", "row", 2)]
    )


def pid(body: bytes) -> Parsed:
    return said(str(os.getpid()))


def environment(body: bytes) -> Parsed:
    return said(repr(sorted(os.environ)))


def sleep(body: bytes) -> Parsed:
    time.sleep(3600)
    return said("awake")


def spin(body: bytes) -> Parsed:
    while True:
        pass


def eat(body: bytes) -> Parsed:
    eaten = []
    while True:
        eaten.append(bytearray(2**24))


def crash(body: bytes) -> Parsed:
    ctypes.string_at(0)
    return said("alive")


def oom(body: bytes) -> Parsed:
    """As the system does."""
    os.kill(os.getpid(), signal.SIGKILL)
    return said("alive")


def leave(body: bytes) -> Parsed:
    os._exit(3)


def fail(body: bytes) -> Parsed:
    raise ValueError("secret: " + body.decode())


def skip(body: bytes) -> Parsed:
    raise NotIndexable("it holds no text")


def chatter(body: bytes) -> Parsed:
    print("nonsense", flush=True)
    os.write(1, b"\0" * 64)
    sys.stderr.write("more of it")
    return said("heard")


def nonsense(body: bytes) -> Parsed:
    return Parsed("short", [Block(BlockKind.PARAGRAPH, 0, 99, ())])


def endless(body: bytes) -> Parsed:
    return said("x" * 2**21)


def crumbs(body: bytes) -> Parsed:
    blocks = [Block(BlockKind.TABLE, at, at + 1) for at in range(600_000)]
    return Parsed("x" * 600_000, blocks)


def read_file(body: bytes) -> Parsed:
    return said(Path("/etc/hostname").read_text())


def write_file(body: bytes) -> Parsed:
    Path(body.decode()).write_text("was here")
    return said("wrote")


def connect(body: bytes) -> Parsed:
    socket.create_connection(("127.0.0.1", int(body)), timeout=5).close()
    return said("connected")


def run(body: bytes) -> Parsed:
    return said(subprocess.run(["id"], capture_output=True, text=True, check=True).stdout)


def family(body: bytes) -> Parsed:
    """Leaves a child of its own behind and hangs; tells both numbers through the file in its body."""
    child = os.fork()
    if child == 0:
        time.sleep(3600)
    os.kill(child, 0)
    time.sleep(3600)
    return said("never")


def said(text: str) -> Parsed:
    return Parsed(text, [Block(BlockKind.PARAGRAPH, 0, len(text), ())])


PARSERS: dict[str, Parse] = {
    one.__name__: one
    for one in (
        *(
            echo,
            pid,
            environment,
            sleep,
            spin,
            eat,
            crash,
            oom,
            leave,
            fail,
            skip,
            chatter,
            nonsense,
            endless,
        ),
        *(endless, crumbs, read_file, write_file, connect, run, family, lazy, late),
    )
}
