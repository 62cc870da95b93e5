"""How soon the canary notices what has stopped, whether it is quiet otherwise, and what it costs.

    python -m tests.bench.canary [--model hashing] [--minutes 2] [--skip stopped]

Redis, PostgreSQL, Weaviate and a process for each role. With the settings of every user (a round every 30 s,
20 s for a step) watcher, workers and index are stopped in turn (SIGSTOP: nothing is closed, nobody is told),
right after a round has ended, which is the worst moment: until the next begins, nothing is tried. It is
noticed once the exporter's ``headwater_canary_success`` is 0, as a monitor would see it.

Then a round begins as soon as the one before has ended, while files are edited and questions asked: an hour
of ``every_s = 30`` is 120 rounds, and what differs is how long nothing happens in between. Last, one daemon
with nothing to do, with rounds and without: the difference in processor time is what a round costs.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.bench._common import (
    HASHING,
    REAL,
    begin,
    row,
    save,
    service,
    small_files,
    workplace,
    write_all,
)
from tests.bench._stack import ROLES, Servers, Stack, serving, stack

FILES = 200
NOTICED_S = 60.0
EXPORTER = ("exporter",)
SUCCESS = "headwater_canary_success"
EDITS_PER_S, SEARCHES_PER_S = 5.0, 5.0
HOUR_ROUNDS = 120
IDLE_S = 30.0
PARTS = ("stopped", "quiet", "cost")


def main(model: str, minutes: float, skipped: list[str]) -> None:
    begin("The canary")
    with workplace() as place:
        notes = place / "notes"
        write_all(notes, small_files(FILES))
        with serving(place) as servers:
            if "stopped" not in skipped:
                with deployed(place / "stopped", notes, servers, model, {}) as one:
                    notice(one)
            if "quiet" not in skipped:
                often = {"HEADWATER_CANARY__EVERY_S": "0.5"}
                with deployed(place / "quiet", notes, servers, model, often) as one:
                    be_quiet(one, notes, minutes)
        if "cost" not in skipped:
            cost(place, notes, model)


@contextmanager
def deployed(
    place: Path, notes: Path, servers: Servers, model: str, environ: dict[str, str]
) -> Iterator[Stack]:
    """Once everything is indexed and the canary has sung."""
    settings = {"HEADWATER_CANARY__EVERY_S": "30", "HEADWATER_CANARY__FOLDER": str(place / "canary")}
    roles = (*ROLES, EXPORTER)
    with stack([notes], place, servers, roles=roles, model=model, environ={**settings, **environ}) as one:
        one.until_open()
        one.until_settled(300, documents=FILES)
        one.until(lambda: shown(one) == 1.0, 300, "the canary sings", pause_s=0.5)
        yield one


def notice(one: Stack) -> None:
    """Each is stopped right after a round, and goes on once that was noticed."""
    weaviate = one.servers.weaviate.server
    assert weaviate is not None
    roles = {name: role.process.pid for name, role in one.roles.items()}
    workers = [pid for name, pid in roles.items() if name.startswith("worker-")]
    for what, pids in {
        "the watcher": [roles["watch"]],
        "all workers": workers,
        "Weaviate": [weaviate.pid],
    }.items():
        after_round(one)
        with stopped(pids):
            noticed_s = took(one, 0.0)
            (last,) = one.ledger.canaries.latest()
        again_s = took(one, 1.0)
        row(f"{what} stopped: noticed after", f"{noticed_s:.1f} s", f"<= {NOTICED_S:g} s")
        row("  it said", last.detail[:100])
        row("  goes on: sings again after", f"{again_s:.1f} s")
        assert noticed_s <= NOTICED_S, what


def be_quiet(one: Stack, notes: Path, minutes: float) -> None:
    """Rounds that follow one another while others work, too."""
    over = threading.Event()
    answered: list[float] = []
    loads = [
        threading.Thread(target=paced, args=(lambda: edit(notes), EDITS_PER_S, over), daemon=True),
        threading.Thread(target=paced, args=(lambda: ask(one, answered), SEARCHES_PER_S, over), daemon=True),
    ]
    before = rounds(one)
    for load in loads:
        load.start()
    time.sleep(60 * minutes)
    over.set()
    for load in loads:
        load.join()
    sung, failed = rounds(one) - before, one.metric("headwater_canary_failures_total")
    row(
        f"quiet for {minutes:g} min, {EDITS_PER_S:g} edits/s: rounds",
        f"{sung:.0f}",
        f"an hour's: {HOUR_ROUNDS}",
    )
    row("  of them failed", f"{failed:.0f}", "0")
    row(f"  searches beside it: {len(answered)}", f"p50 {statistics.median(answered) * 1000:.0f} ms")
    for step in ("write", "edit", "delete"):
        labels = f'{{kind="files",step="{step}"}}'
        number = one.metric(f"headwater_canary_seconds_count{labels}")
        mean_s = one.metric(f"headwater_canary_seconds_sum{labels}") / number
        row(f"  {step}, mean", f"{mean_s:.3f} s")
    assert failed == 0


def cost(place: Path, notes: Path, model: str) -> None:
    spent: dict[str, float] = {}
    sung = 0.0
    for every_s in ("0", "1"):
        environ = {"HEADWATER_CANARY__EVERY_S": every_s}
        with service([notes], place / f"data-{every_s}", model=model, environ=environ) as one:
            one.until_ready(300)
            time.sleep(5)
            began = one.processor_s(), one.metric("headwater_canary_seconds_count")
            time.sleep(IDLE_S)
            spent[every_s] = one.processor_s() - began[0]
            sung = (one.metric("headwater_canary_seconds_count") - began[1]) / 3
    a_round_s = (spent["1"] - spent["0"]) / sung
    row(f"a daemon with nothing to do, {IDLE_S:g} s: processor time", f"{spent['0']:.2f} s")
    row(f"  with {sung:.0f} rounds", f"{spent['1']:.2f} s")
    row("  a round costs", f"{a_round_s * 1000:.0f} ms")
    row("  of one core, at one every 30 s", f"{a_round_s / 30:.2%}")


def after_round(one: Stack) -> None:
    """Return when one has just ended."""
    (before,) = one.ledger.canaries.latest()
    one.until(
        lambda: one.ledger.canaries.latest()[0].finished_at > before.finished_at, 120, "a round", pause_s=0.05
    )


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def took(one: Stack, wanted: float) -> float:
    """Seconds until the exporter shows it."""
    began = time.perf_counter()
    one.until(lambda: shown(one) == wanted, 180, f"{SUCCESS} is {wanted:g}", pause_s=0.5)
    return time.perf_counter() - began


def shown(one: Stack) -> float | None:
    """What the exporter shows of the last round; None before one."""
    text = one.client.get(f"http://127.0.0.1:{one.ports['exporter']}/metrics").text
    found = [line for line in text.splitlines() if line.startswith(f"{SUCCESS}{{")]
    return float(found[0].rsplit(" ", 1)[1]) if found else None


def rounds(one: Stack) -> float:
    return one.metric('headwater_canary_seconds_count{kind="files",step="delete"}')


def paced(act: Callable[[], object], per_s: float, over: threading.Event) -> None:
    while not over.wait(1 / per_s):
        act()


def edit(notes: Path) -> None:
    number = random.randrange(FILES)
    save(notes / f"{number // 100:04d}/{number}.md", f"# Note\n\nSome words and {random.random()}.\n")


def ask(one: Stack, answered: list[float]) -> None:
    began = time.perf_counter()
    with httpx.Client(base_url=one.client.base_url, timeout=30, trust_env=False) as client:
        hits = client.post("/v1/search", json={"query": "some words of a note"}).raise_for_status().json()
    assert all(not hit["source"].startswith("_") for hit in hits["hits"])
    answered.append(time.perf_counter() - began)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--model", choices=[HASHING, REAL], default=REAL)
    arguments.add_argument("--minutes", type=float, default=2.0)
    arguments.add_argument("--skip", choices=PARTS, action="append", default=[])
    given = arguments.parse_args()
    main(given.model, given.minutes, given.skip)
