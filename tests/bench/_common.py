"""What the benchmarks of the whole program share: the program in its own process, asked over HTTP.

Every wait has a deadline: a benchmark ends with a figure or with TimeoutError and the program's last
lines, never hanging.
"""

from __future__ import annotations

import contextlib
import datetime
import gzip
import json
import os
import platform
import random
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[2]
HISTORY = ROOT / "../shared/data/rust-book-history"
HEADWATER = (str(Path(sys.executable).with_name("headwater")),)
HASHING = "hashing"
REAL = "all-MiniLM-L6-v2"

Found = TypeVar("Found")


def until(
    look: Callable[[], Found | None],
    deadline_s: float,
    what: str,
    pause_s: float = 0.01,
    *,
    pause_share: float = 0.1,
) -> Found:
    """The first truthy answer. Raises TimeoutError.

    The longer it takes the rarer it looks, each ``pause_share`` of the time so far: a look takes the cores
    from what it waits for.
    """
    started = time.monotonic()
    ends = started + deadline_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > ends:
            raise TimeoutError(f"not within {deadline_s:.0f} s: {what}")
        time.sleep(max(pause_s, min(0.1, pause_share * (time.monotonic() - started))))


class Asked:
    """What answers searches over HTTP. ``said`` is for the error of a wait that is over."""

    client: httpx.Client

    def said(self) -> str:
        raise NotImplementedError

    def get(self, path: str) -> Any:
        return self.client.get(path).raise_for_status().json()

    def search(self, query: str, top_k: int = 10) -> list[dict[str, Any]]:
        answer = self.client.post("/v1/search", json={"query": query, "top_k": top_k})
        hits: list[dict[str, Any]] = answer.raise_for_status().json()["hits"]
        return hits

    def reasons(self) -> str | None:
        """Why it is not ready yet; None once it is."""
        answer = self.client.get("/readyz")
        return None if answer.status_code == 200 else str(answer.json()["detail"])

    def until(
        self, look: Callable[[], Found | None], deadline_s: float, what: str, pause_s: float = 0.005
    ) -> Found:
        """As the function of this name, with the end of the log in the error."""

        def alive() -> Found | None:
            try:
                return look()
            except httpx.TransportError as error:
                raise TimeoutError(f"no answer ({error}) while waiting for: {what}") from error

        try:
            return until(alive, deadline_s, what, pause_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}{self.said()}") from None

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        return total(self.client.get("/metrics").raise_for_status().text, name)


def total(metrics: str, name: str) -> float:
    """The sum of a metric over its labels, in what ``/metrics`` answers."""
    lines = metrics.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))


@dataclass
class Service(Asked):
    """A daemon in its own process. ``started`` is when it was started, on ``time.perf_counter``."""

    process: subprocess.Popen[bytes]
    log: Path
    started: float
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30))

    def until_ready(self, deadline_s: float) -> float:
        """Seconds from the start of the process until ``/readyz`` said so."""
        self.until(lambda: self.reasons() is None, deadline_s, "ready", pause_s=0.05)
        return time.perf_counter() - self.started

    def said(self) -> str:
        ended = f"; it ended with {self.process.poll()}" if self.process.poll() is not None else ""
        return f"{ended}\n{tail(self.log)}"

    def processor_s(self) -> float:
        spent = psutil.Process(self.process.pid).cpu_times()
        return float(spent.user + spent.system)

    def memory_mb(self) -> tuple[float, float]:
        """Resident now, and at most so far, in MB of 10^6 bytes."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Vm")}
        return kilobytes["VmRSS"] * 1024 / 1e6, kilobytes["VmHWM"] * 1024 / 1e6

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()


@contextlib.contextmanager
def service(
    folders: Sequence[Path | str],
    data: Path,
    *,
    model: str = HASHING,
    command: Sequence[str] = HEADWATER,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Service]:
    """``headwater up`` with these folders or other words, answering; stopped, or killed, at the end."""
    data.mkdir(parents=True, exist_ok=True)
    log = data.with_name(f"{data.name}.log")
    started = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "up", *map(str, folders), "--data", str(data), "--port", "0"],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=data,
            env={
                **as_a_user(),
                "HEADWATER_DAEMON__LOG_FORMAT": "text",
                "HEADWATER_EMBEDDING__MODEL": model,
                "PYTHONPATH": str(ROOT),
                **(environ or {}),
            },
        )
    one = Service(process, log, started)
    try:
        one.client.base_url = one.until(lambda: _address(data, process), 60, "an address", pause_s=0.002)
        yield one
    finally:
        one.stop()


def _address(data: Path, process: subprocess.Popen[bytes]) -> str | None:
    """Where the daemon answers, by the note that it leaves; a note of a killed one is not its."""
    if process.poll() is not None:
        raise TimeoutError("the program did not start")
    try:
        note = json.loads((data / "daemon.json").read_text())
    except (OSError, ValueError):
        return None
    return f"http://{note['host']}:{note['port']}" if note["pid"] == process.pid else None


def as_a_user() -> dict[str, str]:
    """This environment, with the interpreter's cache of compiled modules as it is by default.

    Without it, as in some containers, every start compiles the libraries again: half a second. And without a
    canary, whose texts would be among those that are counted.
    """
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {"HEADWATER_CANARY__EVERY_S": "0", **usual}


def headwater(*arguments: str, environ: Mapping[str, str] | None = None) -> str:
    """What a command prints. Raises CalledProcessError."""
    done = subprocess.run(
        [*HEADWATER, *arguments],
        check=True,
        capture_output=True,
        timeout=120,
        cwd=tempfile.gettempdir(),
        env={**as_a_user(), **(environ or {})},
    )
    return done.stdout.decode("utf-8", "replace")


def exported(data: Path) -> list[tuple[str, int, int, str]]:
    """Every live chunk by place and text: what two equal indexes have in common."""
    lines = [json.loads(line) for line in headwater("export", "--data", str(data)).splitlines()]
    return sorted((line["uri"], line["start"], line["end"], line["text"]) for line in lines)


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A temporary folder, removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="headwater-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def book() -> dict[str, str]:
    """The base of the Rust book: text by path."""
    files: dict[str, str] = json.loads(gzip.decompress((HISTORY / "base.json.gz").read_bytes()))["files"]
    return files


def write_all(folder: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="")


def save(target: Path, text: str) -> None:
    """As editors and git do: written beside it, then renamed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.tmp")
    beside.write_text(text, encoding="utf-8", newline="")
    beside.replace(target)


def small_files(number: int, *, seed: int = 7, size: int = 600) -> dict[str, str]:
    """Notes of ``size`` bytes, one chunk each: a heading and words of a small vocabulary."""
    pick = random.Random(seed)
    words = ["".join(pick.choices("bcdfglmnprstaeiou", k=pick.randint(3, 9))) for _ in range(5000)]
    files = {}
    for key in range(number):
        text = f"# Note {seed}.{key}\n\n" + " ".join(pick.choices(words, k=size // 4))
        files[f"{key // 100:04d}/{key}.md"] = text[: size - 1] + "\n"
    return files


def edit_lag(one: Asked, file: Path, word: str, deadline_s: float = 30) -> float:
    """Seconds from saving a file with a new word in it to a search that returns the word."""
    save(file, f"# Note\n\nOne line with {word} in it, and some more words around it.\n")
    saved = time.perf_counter()
    one.until(
        lambda: any(word in hit["text"] for hit in one.search(word, 3)), deadline_s, word, pause_s=0.002
    )
    return time.perf_counter() - saved


def machine() -> str:
    """The line that belongs beside every figure."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(
            (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model
        )
    cores = len(os.sched_getaffinity(0))
    today = datetime.datetime.now(datetime.UTC).date()
    load = os.getloadavg()[0]
    return (
        f"{model}, {cores} cores, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"{platform.system()}, {today}; load before the start {load:.1f}"
    )


def begin(title: str) -> None:
    """The head of the table. From here on SIGTERM, as Ctrl-C, leaves no service and no folder behind."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    print(f"{title}\n{machine()}", flush=True)


def row(what: str, measured: str, wanted: str = "") -> None:
    """A line of the table."""
    print(f"  {what:<58} {measured:>24}  {wanted}".rstrip(), flush=True)


def spread(seconds: Sequence[float]) -> str:
    """Median and 90th percentile."""
    return f"{statistics.median(seconds):.3f} s, p90 {percentile(seconds, 90):.3f}"


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest rank: a value that was measured."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
