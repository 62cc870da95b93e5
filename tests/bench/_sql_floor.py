"""The floor of a first index of rows: reads, parses, chunks and embeds them with the program's code, one
after the other, and writes the same rows in one transaction. Nothing is kept, watched or claimed.

    python -m tests.bench._sql_floor URL QUERY DATA
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import sqlalchemy as sa

from ingestion.clock import SystemClock
from ingestion.records import Content, Seen
from ingestion.sources.sql.texts import Template
from ops.opening import data_file
from ops.settings import load
from ops.wiring import Parts, open_parts
from tests.bench._common import HASHING
from tests.bench._small_files_floor import Read, embedded, write
from workers.drafting import Drafter

TEXT = "# {name}\n\n{about}"


def main(url: str, query: str, data: Path) -> None:
    settings = load(
        None,
        arguments={"daemon.data": data, "embedding.model": HASHING, "canary.every_s": 0},
        environ={},
    )
    parts = open_parts(settings)
    rows = read(parts, url, query)
    chunks = [one for row in rows for one in row.chunks]
    indexed = embedded(parts, chunks)
    edition = parts.edition.name
    parts.close()
    write(data_file(settings), edition, rows, indexed)


def read(parts: Parts, url: str, query: str) -> list[Read]:
    drafter = Drafter(
        parts.embedder.max_tokens, parts.embedder.count_tokens, SystemClock(), sandbox=parts.sandbox
    )
    template, found = Template(TEXT), []
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        for row in connection.execution_options(yield_per=1000).exec_driver_sql(query).mappings():
            body = template.text(dict(row)).encode()
            seen = Seen(str(row["id"]), str(row["changed"]), None, len(body), None, time.time())
            chunks = drafter.chunks(Content(body, seen, "text/markdown"))
            found.append(Read(seen.uri, seen.fingerprint, None, seen.size_bytes, chunks))
    engine.dispose()
    return found


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
