"""A child of the sandbox, from inside: sets its limits, then parses one document after another.

Started as ``python -I -m ingestion.parsing.sandbox.child PARSERS LIMITS`` with an empty environment, where
PARSERS names a module with ``load(name)``, which gives the parser of that name. It ends with its parent:
between documents because its input ends, and during one because the end of the pipe is a signal then.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import gc
import importlib
import importlib.util
import itertools
import json
import os
import resource
import select
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

from ingestion.parsing.sandbox.answers import Answer, refusal_of, to_answer
from ingestion.parsing.sandbox.limits import Limits
from ingestion.records import Parsed

LENGTHS = struct.Struct(">QQ")
"""Before a request: of the parser's name and the document. Before an answer: of its JSON and its text."""
HELLO = b"headwater"
COLLECT_AFTER = 20  # documents
KEPT_BYTES = 128 * 2**20  # while it waits
OPEN_FILES = 64  # while a parser is being loaded
SPARE_S = 2.0  # the parent's clock goes first, and says more

Parse = Callable[[bytes], Parsed]


class Parsers(Protocol):
    def load(self, name: str) -> Parse: ...


def main(parsers: str, limits: Limits) -> None:
    asked, answered = _own_pipes()
    _limit(limits)
    _tell_of_the_end(asked)
    known = cast("Parsers", importlib.import_module(parsers))
    loaded: dict[str, Parse] = {}
    gc.disable()  # memory has its limit, and documents their end
    _write(answered, HELLO)
    for number in itertools.count(1):
        request = _request(asked, limits.idle_s)
        if request is None:
            return
        name, body = request
        if name not in loaded:
            loaded[name] = known.load(name)
            gc.freeze()  # what was loaded stays, and need not be looked through
        _write(answered, _framed(_answer(loaded[name], body, _Confinement(asked, answered, limits)), limits))
        del request, body
        if number % COLLECT_AFTER == 0:
            gc.collect()
        _give_back()


def _give_back() -> None:
    """To the system, what a large document took: the C library would keep it for the next one."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # on Linux alone
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        if resident > KEPT_BYTES:
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)


def _framed(answer: Answer, limits: Limits) -> bytes:
    """One that is too long is told by its lengths alone: the parent refuses it."""
    lengths = LENGTHS.pack(*map(len, answer))
    return lengths if sum(map(len, answer)) > limits.answer_bytes else b"".join((lengths, *answer))


def _own_pipes() -> tuple[int, int]:
    """The two ends, out of reach of whatever a library prints."""
    asked, answered = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)
    return asked, answered


def _limit(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    with contextlib.suppress(ValueError, OSError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    with contextlib.suppress(OSError):  # Linux: where memory is short, this one is to go, and not its parent
        Path("/proc/self/oom_score_adj").write_text("1000")
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)


class _Confinement:
    """What one document may use. While it is entered, nothing can be opened, and the end of the parent, or of
    a limit, ends this process, whatever holds the interpreter."""

    def __init__(self, asked: int, answered: int, limits: Limits) -> None:
        self._asked = asked
        self._most_files = max(asked, answered) + 1
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = int(used.ru_utime + used.ru_stime) + 1 + limits.cpu_s
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, resource.RLIM_INFINITY))
        signal.setitimer(signal.ITIMER_REAL, limits.wall_s + SPARE_S)

    def __enter__(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_NOFILE, (self._most_files, OPEN_FILES))
        signal.signal(signal.SIGIO, signal.SIG_DFL)
        if _ended(self._asked):
            sys.exit(0)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _tell_of_the_end(pipe: int) -> None:
    """A signal when the parent closes its end, or dies; on Linux it ends whoever does not ignore it."""
    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)


def _ended(pipe: int) -> bool:
    looking = select.poll()
    looking.register(pipe, 0)
    return bool(looking.poll(0))


def _answer(parse: Parse, body: bytes, confinement: _Confinement) -> Answer:
    """A parser that first needs a module when it can no longer open one is begun again with it."""
    tried: set[str] = set()
    try:
        while True:
            try:
                with confinement:
                    return to_answer(parse(body))
            except (OSError, ImportError) as error:
                module = _module_wanted(error)
                if module is None or module in tried:
                    raise
                tried.add(module)
                if importlib.util.find_spec(module) is not None:
                    importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 - whatever a parser raises, the document is the reason
        return refusal_of(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _module_wanted(error: OSError | ImportError) -> str | None:
    """The name of the module that could not be loaded for want of a descriptor, if that is the error.

    Where a folder of modules could not be listed, that of one in it, whatever its name: looking for it has
    the folder listed.
    """
    if isinstance(error, ImportError):
        return error.name
    if error.errno != errno.EMFILE:
        return None
    path = str(error.filename)
    for folder in sorted(filter(None, sys.path), key=len, reverse=True):
        if path == folder or path.startswith(folder + os.sep):
            names = Path(path).relative_to(folder).parts
            if path.endswith(".py"):
                return ".".join(names).removesuffix(".py").removesuffix(".__init__")
            return ".".join([*names, "_"])
    return None


def _request(pipe: int, idle_s: float) -> tuple[str, bytes] | None:
    """The next document; None when there is none for long, or the parent is gone."""
    if not select.select([pipe], [], [], idle_s)[0]:
        return None
    lengths = _read(pipe, LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    of_name, of_body = LENGTHS.unpack(lengths)
    request = _read(pipe, of_name + of_body)
    if len(request) < of_name + of_body:
        return None
    return request[:of_name].decode(), bytes(memoryview(request)[of_name:])


def _read(pipe: int, length: int) -> bytearray:
    """So many bytes, or fewer where the input ends."""
    found = bytearray()
    while len(found) < length and (piece := os.read(pipe, length - len(found))):
        found += piece
    return found


def _write(pipe: int, answer: bytes) -> None:
    rest = memoryview(answer)
    while rest:
        rest = rest[os.write(pipe, rest) :]


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main(sys.argv[1], Limits(**json.loads(sys.argv[2])))
