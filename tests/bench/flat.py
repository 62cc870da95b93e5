"""What more documents in the ledger cost one edit, an idle deployment, and a scan: on the whole stack.

    python -m tests.bench.flat [--sizes 1000 10000 100000] [--edits 15] [--idle-s 40]

For each number of documents a deployment of its own, every role a process, on the same Redis, Weaviate and
PostgreSQL. Its documents are notes of 200 bytes, one chunk each. They are not indexed by the roles, which
would take most of the time, but prepared before those start: the files are listed, wanted, claimed, staged
and published through the ledger's own methods, and the chunks upserted by the index's, 400 documents at a
time; the server then gathers its statistics (VACUUM ANALYZE), as it does by itself a minute later. The first
listing of the roles finds all of it unchanged.

Measured in this order: the processor of the idle roles, with no scan due; a scan, which the ledger asks of
the watching role and which finds everything unchanged, from its start until it is noted, and the processor of
the watching role and PostgreSQL meanwhile, less what they take when idle; edits, from saving a file to a
search over HTTP that returns the new word. Target: issue 5, figure 4.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench._common import begin, edit_lag, row, spread, until, workplace
from tests.bench._prepared import SOURCE, prepare_notes, settle
from tests.bench._stack import ROLES, Servers, Stack, serving, stack

SIZES = (1_000, 10_000, 100_000)
NO_SCAN_S = 3600
READY_S = 300.0
SETTLES_S = 5.0  # after the start, before anything is measured
SERVERS = ("postgres", "redis", "weaviate")
MOST = 1.2
PER_FILES = 10_000


@dataclass(frozen=True)
class Measured:
    """Seconds; of processors, seconds a second by process."""

    lags: Sequence[float]
    idle: Mapping[str, float]

    @property
    def lag(self) -> float:
        return statistics.median(self.lags)

    @property
    def idle_roles(self) -> float:
        return sum(share for name, share in self.idle.items() if name not in SERVERS)


def main(sizes: Sequence[int], edits: int, idle_s: float) -> None:
    begin("More documents in the ledger, on Redis, Weaviate and PostgreSQL")
    first: Measured | None = None
    with workplace() as place, serving(place) as servers:
        for size in sizes:
            one = measured(place / str(size), servers, size, edits, idle_s)
            first = first or one
            if one is not first:
                aim = f"<= {MOST:.2f} x"
                row(f"  an edit, of that with {sizes[0]} documents", f"{one.lag / first.lag:.2f} x", aim)
                share = one.idle_roles / first.idle_roles
                row(f"  roles when idle, of those with {sizes[0]}", f"{share:.2f} x", aim)


def measured(place: Path, servers: Servers, size: int, edits: int, idle_s: float) -> Measured:
    source = {"name": SOURCE, "root": str(place / SOURCE), "scan_every_s": NO_SCAN_S}
    environ = {"HEADWATER_SOURCES": json.dumps([source])}
    with stack([place / SOURCE], place, servers, roles=(), environ=environ) as one:
        began = time.perf_counter()
        prepare_notes(place, size, one.deployment.environment)
        settle(servers.postgres, one.database)
        row(f"{size} documents, prepared in", f"{time.perf_counter() - began:.0f} s")
        one.start(*ROLES)
        one.until_open(READY_S)
        one.until_ready(READY_S)
        assert (one.live(), one.pending()) == (size, 0), "the listing did not find everything unchanged"
        time.sleep(SETTLES_S)
        idle = when_idle(one, idle_s)
        scan(one, size, idle)
        lags = [an_edit(one, place / SOURCE, number) for number in range(edits)]
        row("  an edit searchable", spread(lags))
        return Measured(lags, idle)


def when_idle(one: Stack, seconds: float) -> dict[str, float]:
    """Processor seconds a second, by process."""
    before, began = one.processor_s(), time.perf_counter()
    time.sleep(seconds)
    after, took = one.processor_s(), time.perf_counter() - began
    shares = {name: (after[name] - before[name]) / took for name in after}
    roles = {name: share for name, share in shares.items() if name not in SERVERS}
    row(f"  processor of all roles when idle, over {seconds:.0f} s", percent(sum(roles.values())))
    row("    " + ", ".join(f"{name} {percent(share)}" for name, share in roles.items()), "")
    row("    beside it " + ", ".join(f"{name} {percent(shares[name])}" for name in SERVERS), "")
    return shares


def scan(one: Stack, size: int, idle: Mapping[str, float]) -> None:
    """Asks for a listing, and waits until the ledger has it."""
    state = one.ledger.sources.state(SOURCE)
    assert state is not None
    assert state.listed_at is not None
    listed_at = state.listed_at
    before, began = one.processor_s(), time.perf_counter()
    one.ledger.sources.ask_listing(SOURCE)
    wall_s = until(lambda: listed_since(one, listed_at), READY_S, "a listing")
    after, took = one.processor_s(), time.perf_counter() - began
    spent = {name: max(0.0, after[name] - before[name] - took * idle[name]) for name in ("watch", "postgres")}
    row("  a scan that finds nothing changed", f"{wall_s:.2f} s")
    row("    processor of watch, of postgres", " ".join(f"{one:.2f} s" for one in spent.values()))
    per = PER_FILES / size
    row(
        f"    per {PER_FILES} files: wall, processor",
        f"{per * wall_s:.2f} s {per * sum(spent.values()):.2f} s",
    )


def listed_since(one: Stack, listed_at: float) -> float | None:
    """How long the listing took that began after this one, once it is noted."""
    state = one.ledger.sources.state(SOURCE)
    if state is None or state.listed_at is None or state.listed_at <= listed_at:
        return None
    return time.time() - state.listed_at


def an_edit(one: Stack, folder: Path, number: int) -> float:
    """Of another file each time, at moments that have nothing to do with the roles' clocks."""
    time.sleep(0.5 + 0.137 * (number % 7))
    return edit_lag(one, folder / f"0000/{number}.md", f"xylophone{number}")


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    arguments.add_argument("--edits", type=int, default=15)
    arguments.add_argument("--idle-s", type=float, default=40.0)
    given = arguments.parse_args()
    main(given.sizes, given.edits, given.idle_s)
