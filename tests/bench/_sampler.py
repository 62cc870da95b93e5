"""Where a process of the program spends its processor time, part by part, while it works.

Runs inside the process, started by ``sampled/sitecustomize.py``: a thread looks a hundred times a second
which code every thread is in, and adds the processor time that this thread has used since the last look to
the part that the code belongs to. Threads that are not Python's, as gRPC's, are what is left of the
process's time. It costs a few percent, so what it looks at is not what a rate is taken from.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType

LOOK_S = 0.01
TELL_S = 0.5
OTHER = "other Python code (imports)"
NATIVE = "threads of libraries (gRPC)"
LOOKING = "the sampler itself"
# What a path holds, innermost frame first. The flow and Celery are only reached where nothing else is.
PARTS = {
    "ledger (SQL)": (
        "/sqlalchemy/",
        "/psycopg",
        "/ingestion/ledger/",
        "/ingestion/database",
        "/ingestion/postgres",
    ),
    "index client": ("/retrieval/index/", "/grpc/", "/google/protobuf/"),
    "embedder": ("/retrieval/embedding/",),
    "list, read, parse, chunk": (
        "/ingestion/",
        "/workers/drafting",
        "/workers/reconcile",
        "/workers/watcher",
    ),
    "the flow around them": ("/workers/refresh", "/workers/staging", "/workers/diffing", "/workers/work.py"),
    "progress, log, metrics": ("/ops/printing", "/ops/progress", "/ops/exporter", "/prometheus_client/"),
    "Celery": ("/celery/", "/kombu/", "/redis/", "/billiard/", "/vine/", "/workers/", "/ops/workshop"),
}


def start(folder: str) -> None:
    """In ``folder`` a file of this process's name says what was seen so far."""
    target = Path(folder) / f"{os.getpid()}.json"
    threading.Thread(target=_run, args=(target,), name="sampler", daemon=True).start()


def told(folder: Path, pid: int) -> Mapping[str, float]:
    """Processor seconds by part so far; none where the process has told nothing."""
    try:
        seconds: dict[str, float] = json.loads((folder / f"{pid}.json").read_text())
    except OSError:
        return {}
    return seconds


def _run(target: Path) -> None:
    seconds: dict[str, float] = {}
    before: dict[int, float] = {}
    told_at = time.monotonic()
    while True:
        time.sleep(LOOK_S)
        before = _look(seconds, before)
        if time.monotonic() - told_at >= TELL_S:
            told_at = time.monotonic()
            _tell(target, {**seconds, NATIVE: time.process_time() - sum(seconds.values())})


def _look(seconds: dict[str, float], before: Mapping[int, float]) -> dict[int, float]:
    """Adds what each thread has used to the part that it is in; returns what each has used in all."""
    now: dict[int, float] = {}
    for thread, frame in sys._current_frames().items():
        used = now[thread] = time.clock_gettime(time.pthread_getcpuclockid(thread))
        since = used - before.get(thread, 0.0)
        if since > 0:
            part = LOOKING if thread == threading.get_ident() else _part(frame)
            seconds[part] = seconds.get(part, 0.0) + since
    return now


def _part(frame: FrameType) -> str:
    for path in _paths(frame):
        for part, places in PARTS.items():
            if any(place in path for place in places):
                return part
    return OTHER


def _paths(frame: FrameType) -> Iterator[str]:
    at: FrameType | None = frame
    while at is not None:
        yield at.f_code.co_filename
        at = at.f_back


def _tell(target: Path, seconds: Mapping[str, float]) -> None:
    beside = target.with_suffix(".new")
    beside.write_text(json.dumps(seconds))
    beside.replace(target)
