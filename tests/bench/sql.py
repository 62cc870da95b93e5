"""Rows of a PostgreSQL table: first index, finding few changed rows among many, and the trigger.

    python -m tests.bench.sql [--rows 100000]

Rows of 600 bytes, one chunk each, hashing embedder, embedded index. The floor, in the same run and like the
program from the start of its process, is ``_sql_floor``: the same reading, parsing, chunking and embedding,
and the same rows in one transaction. Targets: issue 7, figure 3.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import sqlalchemy as sa

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.ledger.ledger import Ledger
from ingestion.sources.settling import Dirty
from ops.kinds.base import Means
from ops.kinds.sql import SqlSettings
from ops.settings import load
from tests.bench._common import (
    HASHING,
    ROOT,
    Service,
    as_a_user,
    begin,
    headwater,
    row,
    service,
    small_files,
    spread,
    workplace,
)
from tests.bench._sql_floor import TEXT
from tests.servers.postgres import as_text, connected, own

QUERY = "SELECT id, name, about, changed FROM items"
SETTINGS = '''
[[sources]]
name = "shop"
kind = "sql"
url = "{url}"
query = "{query}"
key = ["id"]
changed = "changed"
text = """{text}"""
'''
CHANGED = 100
EDITS = 40


def main(number: int) -> None:
    begin(f"{number} rows of 600 bytes in PostgreSQL, hashing embedder, embedded index")
    # As it comes, and not as for tests: what a commit costs is a part of the lag.
    with own(fsync="on", full_page_writes="on") as server, workplace() as place:
        url = server.empty()
        fill(url, number)
        config = place / "headwater.toml"
        config.write_text(SETTINGS.format(url=as_text(url), query=QUERY, text=TEXT))
        environ = {"HEADWATER_CONFIG": str(config)}
        floors = [floor(url, place / "floor-before")]
        taken = first_index(place / "data", environ, number)
        floors.append(floor(url, place / "floor-after"))
        report(number, taken, floors)
        changes(url, config, place / "data", number)
        headwater("sql", "install", "shop", "--data", str(place / "data"), environ=environ)
        with service([], place / "data", environ=environ) as one:
            one.until_ready(120)
            lags(one, url)


def fill(url: sa.URL, number: int) -> None:
    texts = small_files(number).values()
    with connected(url) as connection:
        connection.execute(
            "CREATE TABLE items (id bigint PRIMARY KEY, name text, about text,"
            " changed timestamptz NOT NULL DEFAULT now() - random() * interval '1 year')"
        )
        with connection.cursor().copy("COPY items (id, name, about) FROM STDIN") as copy:
            for key, text in enumerate(texts):
                heading, about = text.split("\n\n", 1)
                copy.write_row((key, heading.removeprefix("# "), about))
        connection.execute("CREATE INDEX ON items (changed)")
        connection.execute("ANALYZE items")


def floor(url: sa.URL, data: Path) -> tuple[float, float]:
    """How long it took, and how much of a processor."""
    began, before = time.perf_counter(), os.times()
    address = as_text(url).replace("postgresql://", "postgresql+psycopg://")
    subprocess.run(
        [sys.executable, "-m", "tests.bench._sql_floor", address, QUERY, str(data)],
        check=True,
        cwd=ROOT,
        env=as_a_user(),
        timeout=600,
    )
    after = os.times()
    spent_s = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - began, spent_s


def first_index(data: Path, environ: dict[str, str], number: int) -> tuple[float, float]:
    """How long it took, and how much of the processors."""
    with service([], data, environ=environ) as one:
        one.until(lambda: one.reasons() is None, 600, "ready", pause_s=1.0)  # a look counts what waits
        took_s = time.perf_counter() - one.started
        chunks = one.metric("headwater_texts_embedded_total")
        spent_s = one.processor_s()
        now, peak = one.memory_mb()
    row("texts embedded", f"{chunks:.0f} of {number}")
    row("memory, resident after it", f"{now:.0f} MB, peak {peak:.0f} MB")
    return took_s, spent_s


def report(number: int, taken: tuple[float, float], floors: list[tuple[float, float]]) -> None:
    """The better floor counts. On a busy machine, processor time is what can be compared."""
    floor_s, took_s = min(one[0] for one in floors), taken[0]
    row(
        "floor: read, parse, chunk, embed, one transaction",
        " and ".join(f"{one[0]:.1f} s" for one in floors),
        f"of a processor {min(one[1] for one in floors):.1f} s",
    )
    row(
        "first index, from the start of the process",
        f"{took_s:.1f} s, {number / took_s:,.0f} rows/s",
        f"of the processors {taken[1]:.1f} s",
    )
    row("  of the floor's rate", f"{100 * floor_s / took_s:.0f} %", ">= 50 %")


def changes(url: sa.URL, config: Path, data: Path, number: int) -> None:
    """What it costs to find few changed rows, by the change column and by a complete listing."""
    settings = load(config, arguments={"daemon.data": data, "embedding.model": HASHING}, environ={})
    (source_settings,) = settings.sources
    assert isinstance(source_settings, SqlSettings)
    ledger = Ledger(Database.file(data / "headwater.sqlite"), SystemClock())
    source = source_settings.source(Means(SystemClock(), ledger, data))
    began, spent = time.perf_counter(), time.process_time()
    listing = source.list()
    row(
        f"a listing of {len(listing.sightings)} unchanged rows",
        f"{time.perf_counter() - began:.2f} s, {time.process_time() - spent:.2f} s of a core",
    )
    with connected(url) as connection:
        connection.execute(
            "UPDATE items SET about = about || ' changed', changed = clock_timestamp()"
            f" WHERE id % {number // CHANGED} = 0"
        )
    began, spent = time.perf_counter(), time.process_time()
    dirty = source.asking()
    assert isinstance(dirty, Dirty)
    looks = source.looks(list(dirty.touched))
    row(
        f"{len(looks)} changed rows found and read",
        f"{time.perf_counter() - began:.3f} s, {time.process_time() - spent:.3f} s of a core",
        "<= 1 s",
    )
    source.close()
    ledger.database.close()


def lags(one: Service, url: sa.URL) -> None:
    """From a commit to a search that finds it, at moments that have nothing to do with any clock of ours."""
    found = []
    with psycopg.connect(as_text(url), autocommit=True) as connection:
        time.sleep(3)  # until it listens
        for number in range(EDITS):
            time.sleep(0.1 + 0.037 * (number % 7))
            word = f"xylophone{number}"
            connection.execute("UPDATE items SET about = %s WHERE id = 7", [f"One line with {word} in it."])
            committed = time.perf_counter()
            one.until(
                lambda word=word: any(word in hit["text"] for hit in one.search(word, 3)),  # type: ignore[misc]
                30,
                word,
                pause_s=0.002,
            )
            found.append(time.perf_counter() - committed)
    row("from a commit until it is found, with the trigger", spread(found), "p50 <= 0.3 s")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--rows", type=int, default=100_000)
    main(arguments.parse_args().rows)
