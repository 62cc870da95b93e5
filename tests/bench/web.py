"""A look at ten thousand web pages of which none has changed, against a bare client.

    python -m tests.bench.web [--pages 10000] [--at-once 8] [--turns 3]

A server in a process of its own answers 304 to whoever has a page's ETag. The look is a listing as the
schedule makes it: sitemap, robots.txt, a conditional request for each page, the comparison with the ledger.
The floor is httpx with as many threads, which asks for the same URLs with the same headers and does nothing
else. They take turns, each in a fresh process, and each looks twice in it: the second time counts, with open
connections. Target: 70 % of the floor's rate, nothing read or embedded, 150 MB.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from tests.bench import _common
from tests.bench._pages import serving

SOURCE = "pages"


def resident_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))


def floor(place: str, number: int, at_once: int) -> dict[str, Any]:
    """The client alone."""
    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    with httpx.Client(limits=limits, trust_env=False) as client, ThreadPoolExecutor(at_once) as threads:

        def ask(page: int) -> int:
            return client.get(f"{place}/{page}", headers={"If-None-Match": f'"{page}"'}).status_code

        for _ in range(2):
            began, spent = time.perf_counter(), time.process_time()
            assert set(threads.map(ask, range(number))) == {304}
            took_s, spent_s = time.perf_counter() - began, time.process_time() - spent
    return {"took_s": took_s, "spent_s": spent_s, "memory_mb": resident_mb()}


def look(place: str, data: Path, at_once: int, times: int) -> dict[str, Any]:
    """Listings by the parts that the program looks with. The first one of all finds everything new."""
    from ingestion.clock import SystemClock
    from ingestion.database import Database
    from ingestion.ledger.ledger import Ledger
    from ingestion.ledger.sources import SourceRow
    from ops.kinds.base import Means
    from ops.kinds.web import WebSettings
    from workers.reconcile import Reconciler

    settings = WebSettings(
        name=SOURCE, sitemaps=(f"{place}/sitemap.xml",), per_host=at_once, allow_private_hosts=("127.0.0.1",)
    )
    clock = SystemClock()
    ledger = Ledger(Database.file(data), clock)
    ledger.sources.configure([SourceRow(SOURCE, "web", place)])
    source = settings.source(Means(clock, ledger, data.parent))
    reconciler = Reconciler(
        ledger,
        clock,
        listener=lambda outcome: None,
        send=lambda document_ids: None,
        missed=lambda name, missed: None,
    )
    for _ in range(times):
        began, spent = time.perf_counter(), time.process_time()
        listed = reconciler.list_source(source)
        took_s, spent_s = time.perf_counter() - began, time.process_time() - spent
    assert listed.fault is None, listed.fault
    return {
        "took_s": took_s,
        "spent_s": spent_s,
        "memory_mb": resident_mb(),
        "wanted": listed.wanted,
        "unchanged": listed.unchanged,
    }


def apart(*arguments: str) -> dict[str, Any]:
    """What a step of this module, in a process of its own, says of itself."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.web", *arguments],
        check=True,
        stdout=subprocess.PIPE,
        cwd=_common.ROOT,
        env=_common.as_a_user(),
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main(number: int, at_once: int, turns: int) -> None:
    _common.begin(f"A look at {number} unchanged web pages, {at_once} requests at once")
    with _common.workplace() as folder, serving(number) as place:
        asked = ["--place", place, "--pages", str(number), "--at-once", str(at_once)]
        first = apart("look", *asked, "--data", str(folder / "ledger.db"), "--times", "1")
        assert first["wanted"] == number, first
        _common.row("first look: all of them read and kept", f"{number / first['took_s']:.0f}/s")
        before = httpx.get(f"{place}/counts").json()
        floors, looks = [], []
        for _ in range(turns):
            floors.append(apart("floor", *asked))
            looks.append(apart("look", *asked, "--data", str(folder / "ledger.db"), "--times", "2"))
        after = httpx.get(f"{place}/counts").json()
    bare, ours = (number / statistics.median(one["took_s"] for one in some) for some in (floors, looks))
    _common.row("floor: a bare client", f"{bare:.0f}/s")
    _common.row("a look", f"{ours:.0f}/s; {ours / bare:.0%}", ">= 70 %")
    each = ", ".join(f"{number / one['took_s']:.0f}" for one in looks)
    _common.row("each of them", f"{each}/s")
    spent = [statistics.median(one["spent_s"] for one in some) * 1e6 / number for some in (floors, looks)]
    _common.row("processor time a page: the client; a look", f"{spent[0]:.0f} us; {spent[1]:.0f} us")
    wanted = sum(one["wanted"] for one in looks)
    _common.row("pages sent; documents to be read", f"{after['200'] - before['200']}; {wanted}", "0; 0")
    assert all(one["unchanged"] == number for one in looks)
    memory = max(one["memory_mb"] for one in looks)
    _common.row("memory, resident at most", f"{memory:.0f} MB", "<= 150 MB")
    _common.row("memory of the bare client", f"{max(one['memory_mb'] for one in floors):.0f} MB")


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("step", nargs="?", choices=["floor", "look"])
    asked.add_argument("--pages", type=int, default=10_000)
    asked.add_argument("--at-once", type=int, default=8)
    asked.add_argument("--turns", type=int, default=3)
    asked.add_argument("--place", default="")
    asked.add_argument("--data", type=Path, default=Path())
    asked.add_argument("--times", type=int, default=2)
    options = asked.parse_args()
    if options.step == "floor":
        print(json.dumps(floor(options.place, options.pages, options.at_once)))
    elif options.step == "look":
        print(json.dumps(look(options.place, options.data, options.at_once, options.times)))
    else:
        main(options.pages, options.at_once, options.turns)
