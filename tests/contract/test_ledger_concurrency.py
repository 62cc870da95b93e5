"""Many hands on one ledger: nothing is lost, nothing goes backwards, nobody works beside another.

Workers claim, stage and publish while editors observe changes and others reap leases under them. Each
worker notes the order of what it published; the ledger's own history is compared with it afterwards.
"""

from __future__ import annotations

import itertools
import multiprocessing
import random
import threading
import uuid
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.ledger.documents import Change
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.sources import SourceRow
from ingestion.ledger.values import Claim, Edition, Look, Placed, Publishing, Staging
from ingestion.records import Lane, Seen
from tests.servers.postgres import Postgres

SOURCE = "notes"
URIS = [f"{number}.md" for number in range(6)]


def opened(database: Database) -> tuple[Ledger, Edition]:
    ledger = Ledger(database, SystemClock(), lease_s=30.0)
    ledger.sources.configure([SourceRow(SOURCE, "files", "/notes")])
    return ledger, ledger.sources.edition("f" * 64, 8, "a model")


def test_eight_threads(database: Database) -> None:
    ledger, edition = opened(database)
    faults: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 (told to the test)
            faults.append(error)

    hands = [lambda seed=seed: edit(ledger, 40, seed) for seed in range(2)]
    hands += [lambda seed=seed: labour(ledger, edition, 60, seed) for seed in range(6)]
    threads = [threading.Thread(target=guarded, args=(hand,)) for hand in hands]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    settle(ledger, edition)
    check(ledger, edition)


def test_four_processes_on_a_file(tmp_path: Path) -> None:
    database = Database.file(tmp_path / "headwater.db")
    _in_processes(database, 4)
    database.close()


@pytest.mark.timeout(300)
def test_eight_processes_on_a_server(postgres: Postgres) -> None:
    database = Database(postgres.fresh())
    _in_processes(database, 8)
    database.close()


def _in_processes(database: Database, number: int) -> None:
    ledger, edition = opened(database)
    spawn = multiprocessing.get_context("spawn")
    hands = [(_hand, seed) for seed in range(number - 1)] + [(_dispatch, number)]
    done = spawn.Event()
    url = database.url.render_as_string(hide_password=False)
    processes = [spawn.Process(target=hand, args=(url, seed, done)) for hand, seed in hands]
    for process in processes:
        process.start()
    for process in processes[:-1]:
        process.join()
    done.set()
    processes[-1].join()
    assert [process.exitcode for process in processes] == [0] * number
    settle(ledger, edition)
    check(ledger, edition)


def _hand(url: str, seed: int, _done: Event) -> None:
    ledger, edition = opened(Database(url))
    for _ in range(8):
        edit(ledger, 5, seed)
        labour(ledger, edition, 8, seed)
    ledger.database.close()


def _dispatch(url: str, _seed: int, done: Event) -> None:
    """What upkeep and dispatchers do meanwhile; nothing is sent twice within a moment."""
    ledger, edition = opened(Database(url))
    while not done.wait(0.02):
        for lane in Lane:
            batches = ledger.claims.take_due(edition, lane, limit=100, batch=2, resend_s=0.0)
            sent = [document_id for batch in batches for document_id in batch.document_ids]
            assert len(sent) == len(set(sent))
        ledger.claims.boost([1, 2, 3])
        ledger.publications.trim_history()
    ledger.database.close()


def test_a_claim_is_given_to_one_of_many(database: Database) -> None:
    ledger, edition = opened(database)
    for _ in range(10):
        (document_id,) = ledger.documents.want(SOURCE, [change("a.md")], Lane.FRESH, sent=True)
        got: list[Claim] = []
        start = threading.Barrier(8)

        def ask(
            document_id: int = document_id, got: list[Claim] = got, start: threading.Barrier = start
        ) -> None:
            start.wait()
            got += ledger.claims.claim(edition, [document_id])

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (claim,) = got
        assert publish(ledger, claim)


def edit(ledger: Ledger, number: int, seed: int) -> None:
    """Observe changes; now and then a deletion, which the next change revives."""
    chance = random.Random(seed)
    for _ in range(number):
        uri = chance.choice(URIS)
        (document_id,) = ledger.documents.want(SOURCE, [change(uri)], Lane.FRESH, sent=False)
        if chance.random() < 0.1:
            ledger.documents.retire({document_id: "gone"})


def labour(ledger: Ledger, edition: Edition, number: int, seed: int) -> None:
    """Claim and publish; now and then crash, fail, hand back, or lose the lease to another."""
    chance = random.Random(seed)
    ids = {entry.document_id for entry in ledger.documents.entries(SOURCE).values()}
    for _ in range(number):
        ids |= {entry.document_id for entry in ledger.documents.entries(SOURCE).values()}
        some = chance.sample(sorted(ids), min(len(ids), chance.choice((1, 1, 3))))
        for claim in ledger.claims.claim(edition, some):
            match chance.choice(("publish", "publish", "publish", "release", "fail", "crash")):
                case "publish":
                    publish(ledger, claim)
                case "release":
                    ledger.claims.release([claim], "away", delay_s=0.0)
                case "fail":
                    ledger.claims.fail(claim, "broken", terminal=False)
                case _:
                    ledger.claims.reap(all_leases=True)
                    publish(ledger, claim)  # late: another may have claimed it since


def publish(ledger: Ledger, claim: Claim) -> bool:
    """One chunk whose digest names the token, published as what the claim read."""
    staging = Staging(claim, Placed(uuid.uuid4().hex, 0, 0, 9, ()), f"token {claim.token}")
    if ledger.publications.stage([staging]):
        return False
    look = Look(f"look at {claim.wanted}", None, 1, claim.changed_at, False)
    revision = Publishing(claim, f"content {claim.token}", "parser", look, added=[staging.placed])
    return not ledger.publications.publish([revision])[0].superseded


def settle(ledger: Ledger, edition: Edition) -> None:
    """Carry out what is left, without faults."""
    ledger.claims.reap(all_leases=True)
    ledger.claims.replay()
    ids = [entry.document_id for entry in ledger.documents.entries(SOURCE).values()]
    with ledger.database.write() as connection:  # no delays
        connection.exec_driver_sql("UPDATE publications SET not_before = 0")
    for document_id in ids:
        for claim in ledger.claims.claim(edition, [document_id]):
            assert publish(ledger, claim)


def check(ledger: Ledger, edition: Edition) -> None:
    """What must hold however the hands were interleaved."""
    entries = ledger.documents.entries(SOURCE)
    rows = query(
        ledger,
        "SELECT d.uri, d.standing, d.wanted, p.state, p.live_generation, p.digest, p.token, p.lease_until "
        "FROM documents d JOIN publications p ON p.document_id = d.id",
    )
    assert {row[0] for row in rows} == set(entries) and rows
    for uri, standing, wanted, state, live, digest, token, lease in rows:
        assert (token == 0 or standing == "retired") and lease is None, uri
        if standing == "present":
            assert (state, live) == ("live", wanted), uri
        else:
            assert (standing, state, live, digest) == ("retired", "withdrawn", None, None), uri
    every_document_has_one_revision(ledger, entries.keys())
    nothing_went_backwards(ledger)
    numbers_are_unique(ledger)


def every_document_has_one_revision(ledger: Ledger, uris: object) -> None:
    live = query(
        ledger,
        "SELECT c.document_id, count(*) FROM chunks c WHERE c.born IS NOT NULL AND c.died IS NULL "
        "GROUP BY c.document_id",
    )
    assert all(number == 1 for _, number in live)
    (present,) = query(ledger, "SELECT count(*) FROM documents WHERE standing = 'present'")[0]
    assert len(live) == present
    (staged,) = query(ledger, "SELECT count(*) FROM chunks WHERE born IS NULL AND died IS NULL")[0]
    assert staged == 0
    digests = query(
        ledger,
        "SELECT c.digest, p.digest FROM chunks c JOIN publications p ON p.document_id = c.document_id "
        "WHERE c.born IS NOT NULL AND c.died IS NULL",
    )
    for chunk, content in digests:  # the chunk that is live is the one of the attempt that is live
        assert chunk.split()[1] == content.split()[1]


def nothing_went_backwards(ledger: Ledger) -> None:
    history = query(
        ledger,
        "SELECT document_id, generation FROM attempts WHERE outcome IN ('published', 'retired') ORDER BY id",
    )
    for _, steps in itertools.groupby(sorted(history, key=lambda row: row[0]), key=lambda row: row[0]):
        generations = [generation for _, generation in steps]
        assert generations == sorted(generations)
        assert len(set(generations)) == len(generations)  # each change is published once


def numbers_are_unique(ledger: Ledger) -> None:
    """A lost update of a counter would give one number to two."""
    births = query(ledger, "SELECT born FROM chunks WHERE born IS NOT NULL")
    assert len(set(births)) == len(births)
    wanted = query(ledger, "SELECT wanted FROM documents")
    assert len(set(wanted)) == len(wanted)
    (generation,) = query(ledger, "SELECT value FROM counters WHERE name = 'generation'")[0]
    assert generation >= max(row[0] for row in wanted)


def query(ledger: Ledger, statement: str) -> list[tuple[Any, ...]]:
    with ledger.database.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(statement)]


def change(uri: str) -> Change:
    now = SystemClock().now()
    return Change(Seen(uri, uuid.uuid4().hex, None, 1, now, now), now)
