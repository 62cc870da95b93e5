"""A ledger of any size, written straight into its tables: for benchmarks of what is read from it."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.ledger.documents import Change
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.punctuality import DAY_S, MINUTE_S
from ingestion.ledger.sources import SourceRow
from ingestion.ledger.tables import documents, publications, punctuality
from ingestion.objectives import Kind
from ingestion.records import Lane, Seen
from ops.opening import DATA_FILE

DAYS = 30
PENDING_OF, FAILED_OF = 100, 1000  # one of so many


def fill(data: Path, number: int, sources: int) -> None:
    """So many documents over so many sources, one of a hundred pending, with a month of punctuality."""
    data.mkdir(parents=True, exist_ok=True)
    database, clock = Database.file(data / DATA_FILE), SystemClock()
    ledger = Ledger(database, clock)
    ledger.sources.edition("f" * 64, 384, "bench")
    names = [f"source-{one:04d}" for one in range(sources)]
    ledger.sources.configure([SourceRow(name, "files", f"/srv/{name}") for name in names])
    now = clock.now()
    for name in names:
        changes = [
            Change(Seen(f"{key // 100:04d}/{key}.md", f"look {key}", None, 600, now, now), now)
            for key in range(number // sources)
        ]
        ledger.documents.want(name, changes, Lane.FRESH, sent=True)
    with database.write() as connection:
        _settle(connection)
        _keep(connection, names, now)
    database.close()


def _settle(connection: sa.Connection) -> None:
    """Publish all but a few, and fail some of these."""
    done = sa.or_(publications.c.document_id % PENDING_OF != 0, publications.c.document_id % FAILED_OF == 0)
    state = sa.case((publications.c.document_id % FAILED_OF == 0, "failed"), else_="live")
    connection.execute(
        sa.update(publications).where(done).values(state=state, live_generation=1, digest="x", pipeline="p")
    )
    connection.execute(
        sa.update(documents).where(documents.c.id % PENDING_OF != 0).values(pending_since=None)
    )


def _keep(connection: sa.Connection, names: list[str], now: float) -> None:
    """Every source busy on every day of the month and every minute of the last two hours."""
    spans = [(DAY_S, DAYS + 1, (0,)), (MINUTE_S, 120, (-24, -16, 0))]
    for span_s, count, sizes in spans:
        connection.execute(
            sa.insert(punctuality),
            [
                {
                    "span_s": span_s,
                    "since": int(now // span_s - back) * span_s,
                    "source": name,
                    "kind": kind,
                    "took": size,
                    "met": 9,
                    "missed": 0,
                }
                for name in names
                for kind in (Kind.CHANGE.value, Kind.DELETION.value)
                for back in range(count)
                for size in sizes
            ],
        )
