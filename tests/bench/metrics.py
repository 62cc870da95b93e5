"""What being observed costs: a scrape of a large ledger, and the pipeline with and without.

    python -m tests.bench.metrics [--documents 100000] [--sources 100] [--files 20000] [--pairs 5]

The first part asks ``headwater exporter`` every 15 s about a ledger in which every source was busy on every
day of a month, and in every minute of two hours. The second indexes small files, in turns as the program is
(scraped every 15 s) and with nothing counted. Targets: issue 6, figures 1 and 2.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil

from tests.bench._common import (
    HEADWATER,
    ROOT,
    as_a_user,
    begin,
    row,
    service,
    small_files,
    until,
    workplace,
    write_all,
)
from tests.bench._many_documents import fill
from tests.servers.process import free_port

EVERY_S = 15.0
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
PROGRAM = (sys.executable, "-m", "tests.bench._observed")


def main(number: int, sources: int, scrapes: int, files: int, pairs: int) -> None:
    begin(f"{number} documents in {sources} sources; {files} small files")
    with workplace() as place:
        if scrapes:
            fill(place / "states", number, sources)
            states(place / "states", scrapes)
        if pairs:
            write_all(place / "files", small_files(files))
            cost(place, pairs)


def states(data: Path, scrapes: int) -> None:
    with exporter(data) as (process, client):
        client.get("/metrics").raise_for_status()  # what is imported and compiled once
        took, before, began = [], spent_s(process), time.perf_counter()
        for _ in range(scrapes):
            time.sleep(EVERY_S)
            asked = time.perf_counter()
            answer = client.get("/metrics", headers={"Accept": OPENMETRICS}).raise_for_status()
            took.append(time.perf_counter() - asked)
            assert "headwater_exporter_up 1.0" in answer.text
        share = (spent_s(process) - before) / (time.perf_counter() - began)
    lines = sum(not line.startswith("#") for line in answer.text.splitlines())
    row("a scrape, median", f"{statistics.median(took) * 1000:.0f} ms", "<= 100 ms")
    row("  longest", f"{max(took) * 1000:.0f} ms")
    row("  series", f"{lines}")
    row(f"processor at a scrape every {EVERY_S:.0f} s", f"{100 * share:.2f} % of a core", "<= 1 %")


@contextlib.contextmanager
def exporter(data: Path) -> Iterator[tuple[psutil.Process, httpx.Client]]:
    port = free_port()
    process = subprocess.Popen(
        [*HEADWATER, "exporter", "--data", str(data), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        cwd=data,
        env={**as_a_user(), "HEADWATER_EMBEDDING__MODEL": "hashing", "PYTHONPATH": str(ROOT)},
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            until(lambda: is_ready(client), 60, "the exporter answers")
            yield psutil.Process(process.pid), client
    finally:
        process.terminate()
        process.wait(30)


def is_ready(client: httpx.Client) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return client.get("/metrics").status_code == 200
    return False


def spent_s(process: psutil.Process) -> float:
    spent = process.cpu_times()
    return float(spent.user + spent.system)


def cost(place: Path, pairs: int) -> None:
    """Processor seconds of a first index, in interleaved pairs."""
    ratios = []
    for number in range(pairs):
        without = indexed(place / "files", place / f"without-{number}", observed=False)
        observed = indexed(place / "files", place / f"with-{number}", observed=True)
        ratios.append(observed / without)
        row(f"  pair {number + 1}: with, without", f"{observed:.2f} s, {without:.2f} s")
    row("what being observed adds, median", f"{100 * (statistics.median(ratios) - 1):.1f} %", "<= 5 %")


def indexed(folder: Path, data: Path, *, observed: bool) -> float:
    """Processor seconds until everything is indexed."""
    command = (*PROGRAM, "with" if observed else "without")
    with service([folder], data, command=command) as one, contextlib.ExitStack() as running:
        if observed:
            running.enter_context(scraping(str(one.client.base_url)))
        one.until_ready(600)
        return one.processor_s()


@contextlib.contextmanager
def scraping(url: str) -> Iterator[None]:
    """A monitor that asks every 15 s, from its first look on."""
    ending = threading.Event()

    def run() -> None:
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            while not ending.wait(EVERY_S):
                client.get("/metrics", headers={"Accept": OPENMETRICS}).raise_for_status()

    thread = threading.Thread(target=run, name="monitor", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join(60)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--documents", type=int, default=100_000)
    arguments.add_argument("--sources", type=int, default=100)
    arguments.add_argument("--scrapes", type=int, default=12)
    arguments.add_argument("--files", type=int, default=20_000)
    arguments.add_argument("--pairs", type=int, default=5)
    given = arguments.parse_args()
    main(given.documents, given.sources, given.scrapes, given.files, given.pairs)
