"""Twenty thousand small files, without a model's part: first index, restart, edits, idling, memory.

    python -m tests.bench.small_files [--files 20000]

Files of 600 bytes, one chunk each, hashing embedder. The floor, in the same run and like the program from
the start of its process, is ``_small_files_floor``: the same reading, parsing, chunking and embedding, and
the same rows in one transaction. Targets: issue 3, figure 3.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.bench._common import (
    ROOT,
    Service,
    as_a_user,
    begin,
    edit_lag,
    row,
    service,
    small_files,
    spread,
    workplace,
    write_all,
)

FEW = 200
EDITS = 30
IDLE_S = 20.0


def main(number: int) -> None:
    begin(f"{number} files of 600 bytes, hashing embedder")
    with workplace() as place:
        many, few = place / "many", place / "few"
        write_all(many, small_files(number))
        write_all(few, small_files(FEW))
        floor_s = floor(many, place / "floor")
        row("floor: read, parse, chunk, embed, one transaction", f"{floor_s:.2f} s")
        first_index(many, place / "data", number, floor_s)
        restart(many, place / "data")
        with service([few], place / "data-few") as one:
            one.until_ready(60)
            lag_few = edits(one, few)
        with service([many], place / "data") as one:
            one.until_ready(60)
            lag_many = edits(one, many)
            row(f"an edit searchable, {FEW} files", spread(lag_few))
            row(f"an edit searchable, {number} files", spread(lag_many), "median <= 0.1 s, as with few")
            idle(one)
            now, peak = one.memory_mb()
            row("memory, resident after the edits", f"{now:.0f} MB, peak {peak:.0f} MB", "<= 300 MB")


def floor(folder: Path, data: Path) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "tests.bench._small_files_floor", str(folder), str(data)],
        check=True,
        cwd=ROOT,
        env=as_a_user(),
        timeout=300,
    )
    return time.perf_counter() - began


def first_index(folder: Path, data: Path, number: int, floor_s: float) -> None:
    with service([folder], data) as one:
        took = one.until_ready(300)
        chunks = one.metric("headwater_texts_embedded_total")
        now, peak = one.memory_mb()
    row("first index, from the start of the process", f"{took:.2f} s", "<= 15 s")
    row("  of the floor", f"{took / floor_s:.2f} x", "<= 2.5 x")
    row("  texts embedded", f"{chunks:.0f} of {number}")
    row("  memory, resident after it", f"{now:.0f} MB, peak {peak:.0f} MB", "<= 300 MB")


def restart(folder: Path, data: Path) -> None:
    took = []
    for _ in range(3):
        with service([folder], data) as one:
            took.append(one.until_ready(60))
    row("restart, nothing changed, until /readyz", f"{statistics.median(took):.2f} s", "<= 2 s")


def edits(one: Service, folder: Path) -> list[float]:
    """Lags of edits of one file, at moments that have nothing to do with the service's clocks."""
    lags = []
    for number in range(EDITS):
        time.sleep(0.1 + 0.037 * (number % 7))
        lags.append(edit_lag(one, folder / "0000/7.md", f"xylophone{number}"))
    return lags


def idle(one: Service) -> None:
    time.sleep(3)
    before, began = one.processor_s(), time.perf_counter()
    time.sleep(IDLE_S)
    share = (one.processor_s() - before) / (time.perf_counter() - began)
    row(f"processor when idle, over {IDLE_S:.0f} s", f"{100 * share:.1f} % of a core", "<= 2 %")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--files", type=int, default=20_000)
    main(arguments.parse_args().files)
