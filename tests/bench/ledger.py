"""What the ledger costs: 20,000 one-chunk documents from first sight to live, and the reads that follow.

Run: ``python tests/bench/ledger.py [--documents 20000] [--profile]``. Prints a table; the floor in the
same run writes the same rows with the bare driver, one transaction for all.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sqlite3
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.ledger.documents import Change
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.sources import SourceRow
from ingestion.ledger.values import Claim, Edition, Look, Placed, Publishing, Staging, Work
from ingestion.records import Lane, Seen

WANT_BATCH = 2000
WORK_BATCH = 128
Element = TypeVar("Element")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--documents", type=int, default=20_000)
    arguments.add_argument("--profile", action="store_true")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report("floor: the same rows, bare driver", timed(lambda: floor(Path(folder), given.documents)))
        ledger = Ledger(Database.file(Path(folder) / "ledger.db"), SystemClock())
        ledger.sources.configure([SourceRow("bench", "files", "/bench")])
        edition = ledger.sources.edition("0" * 64, 384, "bench")
        profile = cProfile.Profile()
        if given.profile:
            profile.enable()
        load(ledger, edition, given.documents)
        profile.disable()
        reads(ledger, edition)
        singles(ledger, edition)
        fairness(ledger, edition)
        ledger.database.close()
        if given.profile:
            pstats.Stats(profile).sort_stats("cumulative").print_stats(45)


def load(ledger: Ledger, edition: Edition, number: int) -> None:
    """The whole ledger part of a first index, and the longest that one publish took in it."""
    took = dict.fromkeys(("want", "take_due", "claim", "manifests", "stage", "publish"), 0.0)
    longest = 0.0
    began, began_cpu = time.perf_counter(), time.process_time()
    for some in slices(range(number), WANT_BATCH):
        changes = [change(f"notes/{key // 100}/{key}.md") for key in some]
        with counted(took, "want"):
            ledger.documents.want("bench", changes, Lane.BULK, sent=False)
    batches = []
    while True:
        with counted(took, "take_due"):
            due = ledger.claims.take_due(edition, Lane.BULK, limit=2048, batch=WORK_BATCH, resend_s=60)
        if not due:
            break
        for batch in due:
            batches.append(batch)
            with counted(took, "claim"):
                claims = ledger.claims.claim(edition, batch.document_ids)
            with counted(took, "manifests"):
                ledger.publications.manifests(claims)
            stagings = [staging(claim) for claim in claims]
            with counted(took, "stage"):
                ledger.publications.stage(stagings)
            revisions = [publishing(one) for one in stagings]
            started = time.perf_counter()
            with counted(took, "publish"):
                ledger.publications.publish(revisions)
            longest = max(longest, time.perf_counter() - started)
    for name, seconds in took.items():
        report(f"  {name}", seconds)
    report(f"{number} documents: all of the ledger", sum(took.values()))
    report("  wall", time.perf_counter() - began)
    report("  processor", time.process_time() - began_cpu)
    report(f"  longest publish of {WORK_BATCH}", longest)


def reads(ledger: Ledger, edition: Edition) -> None:
    """With every document live and nothing pending."""
    claims, views = ledger.claims, ledger.views
    report("entries of all", median(lambda: ledger.documents.entries("bench"), 5))
    report("lags", median(views.lags, 5))
    report("lanes", median(views.lanes))
    report("unfinished", median(lambda: views.unfinished("bench", 10**9)))
    report("oldest_pending, nothing pending", median(views.oldest_pending))
    report(
        "take_due, nothing pending",
        median(lambda: claims.take_due(edition, Lane.FRESH, limit=512, batch=128, resend_s=60)),
    )
    report("reap, nothing leased", median(claims.reap))
    report("fence.horizon", median(ledger.fence.horizon))
    report("fence.behind, nothing pending", median(lambda: ledger.fence.behind(10**9)))
    ids = [one.chunk_id for one in islice(ledger.audits.live(edition), 100)]
    horizon = ledger.fence.horizon()
    report("fence.admit of 100", median(lambda: ledger.fence.admit(ids, horizon)))
    report("export of all", median(lambda: list(views.export()), 3))
    report("trim_history", median(ledger.publications.trim_history, 3))


def singles(ledger: Ledger, edition: Edition, number: int = 200) -> None:
    """One edited document at a time, with all others live."""
    took: dict[str, list[float]] = {name: [] for name in ("want", "claim", "manifests", "stage", "publish")}
    for key in range(number):
        (document_id,) = noted(
            took["want"],
            lambda key=key: ledger.documents.want(  # type: ignore[misc]
                "bench", [change(f"notes/{key // 100}/{key}.md")], Lane.FRESH, sent=True
            ),
        )
        claims = noted(took["claim"], lambda one=document_id: ledger.claims.claim(edition, [one]))  # type: ignore[misc]
        noted(took["manifests"], lambda claims=claims: ledger.publications.manifests(claims))  # type: ignore[misc]
        one = staging(claims[0])
        noted(took["stage"], lambda one=one: ledger.publications.stage([one]))  # type: ignore[misc]
        noted(took["publish"], lambda one=one: ledger.publications.publish([publishing(one)]))  # type: ignore[misc]
    for name, seconds in took.items():
        report(f"one document: {name}, median", statistics.median(seconds))
        report(f"one document: {name}, longest", max(seconds))


def fairness(ledger: Ledger, edition: Edition, number: int = 100) -> None:
    """Fresh publishes while another thread writes bulk transactions back to back."""
    ending = threading.Event()
    transactions: list[float] = []

    def bulk() -> None:
        changes = [change(f"bulk/{key}.md") for key in range(500)]
        while not ending.is_set():
            noted(transactions, lambda: ledger.documents.want("bench", changes, Lane.BULK, sent=True))

    thread = threading.Thread(target=bulk)
    thread.start()
    waits: list[float] = []
    try:
        for key in range(number):
            (document_id,) = ledger.documents.want(
                "bench", [change(f"notes/{key // 100}/{key}.md")], Lane.FRESH, sent=True
            )
            one = staging(ledger.claims.claim(edition, [document_id])[0])
            ledger.publications.stage([one])
            noted(waits, lambda one=one: ledger.publications.publish([publishing(one)]))  # type: ignore[misc]
    finally:
        ending.set()
        thread.join()
    report("bulk transactions back to back: median of one", statistics.median(transactions))
    report("  a fresh publish beside them, median", statistics.median(waits))
    report("  a fresh publish beside them, longest", max(waits))


def floor(folder: Path, number: int) -> None:
    """The rows of a first index and nothing else, by the bare driver."""
    with sqlite3.connect(folder / "floor.db") as connection:
        connection.executescript(
            """CREATE TABLE d (id INTEGER PRIMARY KEY, source, uri, look, at, UNIQUE (source, uri));
            CREATE TABLE p (d, e, state, digest, at, PRIMARY KEY (d, e));
            CREATE TABLE c (id TEXT PRIMARY KEY, d, e, digest, place);
            CREATE TABLE a (id INTEGER PRIMARY KEY, d, at);"""
        )
        now = time.time()
        keys = range(1, number + 1)
        connection.executemany(
            "INSERT INTO d VALUES (?, 'bench', ?, 'look', ?)", ((k, f"{k}.md", now) for k in keys)
        )
        connection.executemany("INSERT INTO p VALUES (?, 1, 'live', 'digest', ?)", ((k, now) for k in keys))
        connection.executemany(
            "INSERT INTO c VALUES (?, ?, 1, 'digest', '[]')", ((uuid.uuid4().hex, k) for k in keys)
        )
        connection.executemany("INSERT INTO a (d, at) VALUES (?, ?)", ((k, now) for k in keys))
    connection.close()


def change(uri: str) -> Change:
    now = time.time()
    return Change(Seen(uri, uuid.uuid4().hex, uuid.uuid4().hex, 600, now, now), now)


def staging(claim: Claim) -> Staging:
    return Staging(claim, Placed(uuid.uuid4().hex, 0, 0, 600, ("Notes", "One")), uuid.uuid4().hex)


def publishing(one: Staging) -> Publishing:
    look = Look(uuid.uuid4().hex, uuid.uuid4().hex, 600, time.time(), False)
    return Publishing(one.claim, one.digest, "parser 1", look, added=[one.placed], work=Work(1, 1))


def slices(elements: Sequence[Element], size: int) -> Iterator[Sequence[Element]]:
    for start in range(0, len(elements), size):
        yield elements[start : start + size]


class counted:  # noqa: N801
    """Adds what a block took to a sum."""

    def __init__(self, sums: dict[str, float], name: str) -> None:
        self._sums, self._name = sums, name

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._sums[self._name] += time.perf_counter() - self._began


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def noted(seconds: list[float], call: Callable[[], Element]) -> Element:
    began = time.perf_counter()
    result = call()
    seconds.append(time.perf_counter() - began)
    return result


def median(call: Callable[[], object], number: int = 50) -> float:
    call()
    return statistics.median(timed(call) for _ in range(number))


def report(what: str, seconds: float) -> None:
    print(f"{what:<55} {seconds * 1000:10.2f} ms", flush=True)


if __name__ == "__main__":
    main()
