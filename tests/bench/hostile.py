"""Documents that mean harm, in the running program: what they cost and reach, and what becomes of them.

    python -m tests.bench.hostile [--documents 2400] [--seed 5]

``headwater up`` gets a folder of them (see ``tests.hostile`` and ``tests.traps``), with the hashing embedder
and the embedded index; some end at limits of time only. Meanwhile a well-behaved note is edited all the time.
Outside the folder lies a file that nobody is to open, and a server listens to which nobody is to connect.
Ends with 1 where something is not as it must be.
"""

from __future__ import annotations

import argparse
import itertools
import re
import socket
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from watchdog.events import FileOpenedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from ingestion.parsing.sandbox import Limits
from tests import hostile
from tests.bench import _common
from tests.traps import endless

DEADLINE_S = 1_800
EDIT_EVERY_S = 1.0
LOOK_S = 0.1
MOST_LAG_S = 1.0
MOST_HERE_MB = 800
HUGE_BYTES = 3 * 2**30  # of holes, which take no room
NAMED = ("live", "skipped", "failed")


class Tripwire(FileSystemEventHandler):
    """A file and a server. ``reached``: what was."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "secret.txt"
        self.file.write_text(hostile.SECRET)
        self.reached: list[str] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._observer = Observer()
        self._observer.schedule(self, str(folder))
        self._observer.start()
        threading.Thread(target=self._listen, daemon=True).start()

    def on_any_event(self, event: FileSystemEvent) -> None:
        if isinstance(event, FileOpenedEvent) and event.src_path == str(self.file):
            self.reached.append("the file was opened")

    def holds(self) -> bool:
        """Whether it would notice; to be asked last."""
        before = len(self.reached)
        self.file.read_text()
        socket.create_connection(("127.0.0.1", self.port)).close()
        deadline = time.monotonic() + 10
        while len(set(self.reached[before:])) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        return len(set(self.reached[before:])) == 2

    def close(self) -> None:
        self._observer.stop()
        self._observer.join()
        self._server.close()

    def _listen(self) -> None:
        while True:
            try:
                self._server.accept()[0].close()
            except OSError:
                return
            self.reached.append("somebody connected")


class Memory:
    """What a process and its children take at most, in MB of 10^6 bytes."""

    def __init__(self, pid: int) -> None:
        self.here = self.of_a_child = self.of_all_children = 0.0
        self.children: set[int] = set()
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    @contextmanager
    def watched(self) -> Iterator[None]:
        self._thread.start()
        yield
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(LOOK_S):
            try:
                self.here = max(self.here, self._process.memory_info().rss / 1e6)
                sizes = [self._size(one) for one in self._process.children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
            self.of_a_child = max(self.of_a_child, *sizes, 0.0)
            self.of_all_children = max(self.of_all_children, sum(sizes))

    def _size(self, child: psutil.Process) -> float:
        try:
            self.children.add(child.pid)
            return float(child.memory_info().rss / 1e6)
        except psutil.NoSuchProcess:
            return 0.0


def write_all(folder: Path, number: int, seed: int, wire: Tripwire) -> int:
    """The documents, so many and a few; returns how many there are."""
    more = itertools.chain(hostile.spoiled(number, seed, str(wire.file), wire.port), endless())
    names = []
    for position, (name, body) in enumerate(more):
        target = folder / f"{position // 200:02d}" / f"{position:04d}-{name}"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(body)
        names.append(target)
    for name in ("huge.pdf", "huge.txt"):
        with (folder / name).open("wb") as file:
            file.truncate(HUGE_BYTES)
        names.append(folder / name)
    (folder / "link.txt").symlink_to(wire.file)
    return len(names)


def documents(one: _common.Asked) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    cursor: str | None = "0"
    while cursor is not None:
        page = one.get(f"/v1/documents?limit=1000&cursor={cursor}")
        found |= {each["uri"]: each for each in page["documents"]}
        cursor = page["next_cursor"]
    return found


def edit_lag(one: _common.Service, note: Path, number: int) -> float:
    """Seconds from saving the note to a search that finds it. By several words: among so much noise some is
    the same as any single one, to the hashing embedder."""
    words = " ".join(f"{word}{number}" for word in ("quince", "marmalade", "lantern", "harbour"))
    _common.save(note, f"# Note\n\nOf {words}.\n")
    saved = time.perf_counter()
    one.until(lambda: any(words in hit["text"] for hit in one.search(words, 10)), 60, words, pause_s=0.002)
    return time.perf_counter() - saved


def edited_until_done(one: _common.Service, note: Path, number: int) -> list[float]:
    """Seconds from each edit to its being found, until no document waits."""
    lags: list[float] = []
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        lags.append(edit_lag(one, note, len(lags)))
        time.sleep(EDIT_EVERY_S)
        waiting = one.metric("headwater_pending")
        if not waiting and len(documents(one)) > number:
            return lags
    raise TimeoutError(f"documents still wait after {DEADLINE_S} s{one.said()}")


def reason_of(document: Mapping[str, Any]) -> str:
    """What is said of it, without names and numbers."""
    said = str(document.get("reason") or document.get("error") or "")
    said = re.sub(r"^.*?Could not read \S+ as ([^:]+): ", r"\1: ", said).split(". ")[0]
    return re.sub(r"\d[\d,]*", "N", re.sub(r"its part .* is", "its part X is", said))[:100]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--documents", type=int, default=2_400)
    asked.add_argument("--seed", type=int, default=hostile.SEED)
    options = asked.parse_args()
    _common.begin("Documents that mean harm")
    with _common.workplace() as place:
        folder, data, outside = place / "papers", place / "data", place / "outside"
        for one in (folder, outside):
            one.mkdir()
        wire = Tripwire(outside)
        number = write_all(folder, options.documents, options.seed, wire)
        with _common.service([folder], data) as program:
            memory = Memory(program.process.pid)
            began = time.monotonic()
            with memory.watched():
                lags = edited_until_done(program, folder / "note.md", number)
            took_s = time.monotonic() - began
            found = documents(program)
            survived = program.process.poll() is None
        told = "".join(text for *_, text in _common.exported(data))
        faults = report(number, found, memory, lags, took_s)
        faults += [] if survived else ["the program ended"]
        faults += [*wire.reached, *(["a file was read"] if hostile.SECRET in told else [])]
        faults += [] if wire.holds() else ["the tripwire would not have noticed"]
        wire.close()
    _common.row("what must not be", ", ".join(faults) or "nothing", "nothing")
    sys.exit(bool(faults))


def report(
    number: int, found: Mapping[str, Mapping[str, Any]], memory: Memory, lags: list[float], took_s: float
) -> list[str]:
    """The table; returns what is not as it must be."""
    states = Counter(str(one["state"]) for name, one in found.items() if name != "note.md")
    unnamed = [one for one in found.values() if one["state"] not in NAMED]
    silent = [one for one in found.values() if one["state"] in ("skipped", "failed") and not reason_of(one)]
    most_child = Limits().memory_bytes / 1e6
    _common.row("documents; in all", f"{number}; {took_s:.0f} s")
    _common.row("became", ", ".join(f"{count} {state}" for state, count in states.most_common()))
    for reason, count in Counter(map(reason_of, found.values())).most_common():
        if reason:
            _common.row(f"    {reason}"[:58], str(count))
    _common.row("in no named state, or without a reason", str(len(unnamed) + len(silent)), "0")
    _common.row("memory of the program", f"{memory.here:.0f} MB", f"<= {MOST_HERE_MB} MB")
    _common.row("of one child; of all at once", f"{memory.of_a_child:.0f}; {memory.of_all_children:.0f} MB")
    _common.row("children started", str(len(memory.children)))
    said = f"{statistics.median(lags):.3f} s, p90 {_common.percentile(lags, 90):.3f}, most {max(lags):.3f}"
    _common.row(f"the note, edited {len(lags)} times, found after", said, f"p90 <= {MOST_LAG_S:g} s")
    checks = {
        "documents are missing": states.total() != number,
        "documents without a named state or a reason": bool(unnamed or silent),
        "too much memory here": memory.here > MOST_HERE_MB,
        "too much memory in a child": memory.of_a_child > most_child,
        "edits waited": _common.percentile(lags, 90) > MOST_LAG_S,
    }
    return [fault for fault, is_so in checks.items() if is_so]


if __name__ == "__main__":
    main()
