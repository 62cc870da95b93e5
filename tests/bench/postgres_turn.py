"""What taking turns costs on PostgreSQL: processes that claim, stage and publish document by document.

Once as it is, and once with claims that take the turn too. Durable commits are off (``fsync``), as in tests.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.ledger.ledger import Ledger
from ingestion.records import Lane
from tests.contract.test_ledger_concurrency import SOURCE, change, opened, publish
from tests.servers.postgres import Postgres, as_text, running

DOCUMENTS = 480
TRANSACTIONS = 3  # a document: claim, stage, publish


def main() -> None:
    with running() as server:
        print("processes  claims         documents/s  transactions/s  ms a claim")
        for processes in (1, 8):
            for serial in (False, True):
                rate, claim_s = _measured(server, processes, serial)
                how = "take the turn" if serial else "wait for none"
                print(
                    f"{processes:9}  {how:13}  {rate:11.0f}  {TRANSACTIONS * rate:14.0f}  "
                    f"{claim_s * 1e3:10.2f}"
                )
        server.close()


def _measured(server: Postgres, processes: int, serial: bool) -> tuple[float, float]:
    """Documents a second, and seconds a claim."""
    database = Database(server.fresh())
    ledger, _ = opened(database)
    changes = [change(f"{number}.md") for number in range(DOCUMENTS)]
    ids = ledger.documents.want(SOURCE, changes, Lane.FRESH, sent=True)
    spawn = multiprocessing.get_context("spawn")
    found: Queue[tuple[float, float]] = spawn.Queue()
    start = spawn.Barrier(processes)
    url = as_text(database.url)
    hands = [
        spawn.Process(target=_hand, args=(url, ids[number::processes], serial, start, found))
        for number in range(processes)
    ]
    for hand in hands:
        hand.start()
    measured = [found.get(timeout=300) for _ in hands]
    for hand in hands:
        hand.join()
    database.close()
    slowest = max(took for took, _ in measured)
    return DOCUMENTS / slowest, sum(claiming for _, claiming in measured) / DOCUMENTS


def _hand(
    url: str, ids: Sequence[int], serial: bool, start: Barrier, found: Queue[tuple[float, float]]
) -> None:
    database = Database(url)
    if serial:
        database.taking = database.write  # type: ignore[method-assign]
    ledger = Ledger(database, SystemClock())
    edition = ledger.sources.live_edition()
    assert edition is not None
    ledger.claims.claim(edition, [-1])
    start.wait()
    began, claiming = time.perf_counter(), 0.0
    for document_id in ids:
        asked = time.perf_counter()
        (claim,) = ledger.claims.claim(edition, [document_id])
        claiming += time.perf_counter() - asked
        assert publish(ledger, claim)
    found.put((time.perf_counter() - began, claiming))
    database.close()


if __name__ == "__main__":
    main()
