"""How long people wait for the program itself: until it is alive, and for commands that embed nothing.

    python -m tests.bench.startup

Medians of seven, each from the start of a process to its end, or to the first answer of ``/healthz``, with
the real model configured. The floor is an interpreter that imports nothing. Targets: issue 3, figure 6.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench._common import (
    HEADWATER,
    REAL,
    as_a_user,
    begin,
    row,
    service,
    small_files,
    workplace,
    write_all,
)

TIMES = 7
FILES = 200


def main() -> None:
    begin("Start of the program and of its commands")
    with workplace() as place:
        folder, data = place / "notes", place / "data"
        write_all(folder, small_files(FILES))
        row("floor: an interpreter that does nothing", shown(lambda: run([sys.executable, "-c", "pass"])))
        row("/healthz, new data folder", shown(lambda: until_alive(folder, fresh(place))), "<= 2 s")
        with service([folder], data, model=REAL) as one:
            one.until_ready(300)
            report_commands("beside a running daemon", data)
        row("/healthz, an index is there", shown(lambda: until_alive(folder, data)), "<= 2 s")
        report_commands("without a daemon", data)


def report_commands(where: str, data: Path) -> None:
    row(
        f"headwater status, {where}",
        shown(lambda: run([*HEADWATER, "status", "--data", str(data)])),
        "<= 0.7 s",
    )
    row(f"headwater search --help, {where}", shown(lambda: run([*HEADWATER, "search", "--help"])), "<= 0.7 s")


def until_alive(folder: Path, data: Path) -> float:
    with service([folder], data, model=REAL) as one:
        one.until(lambda: one.client.get("/healthz").status_code == 200, 30, "/healthz", pause_s=0.002)
        alive = time.perf_counter() - one.started
        one.kill()  # the model is still being loaded: stopping in good order is not what is measured
    return alive


def fresh(place: Path) -> Path:
    """A data folder that was never used."""
    return place / f"data-{time.monotonic_ns()}"


def run(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60, env=as_a_user())
    return time.perf_counter() - began


def shown(measure: Callable[[], float]) -> str:
    took = [measure() for _ in range(TIMES)]
    return f"{statistics.median(took):.2f} s, worst {max(took):.2f}"


if __name__ == "__main__":
    main()
