"""What a reader gets who asks about documents that are being edited: nothing replaced, and nothing unmarked.

    python -m tests.bench.stale [--seconds 60] [--edits 10] [--model all-MiniLM-L6-v2] [--readers 2]

Each of the documents is one rule with the number of its revision; a writer edits one after the other, so
many a second, and readers ask without pause about those edited last. Before each question the reader reads
from the ledger which generation of every document is live, and which is wanted: so it is known, without any
clock, what the ledger knew. A hit of an older generation than the one that was live by then was replaced; one
of an older generation than was wanted by then has to be marked as stale. Target: issue 6, figure 4.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from ingestion.database import Database
from ingestion.ledger.tables import documents, editions, publications
from ops.opening import DATA_FILE
from tests.bench._common import REAL, Service, begin, percentile, row, save, service, spread, workplace

DOCUMENTS = 60
RECENT = 5  # of the documents edited last, one is asked about
TOP_K = 5
_KNOWN = (
    sa.select(documents.c.id, documents.c.wanted, publications.c.live_generation)
    .join(publications, publications.c.document_id == documents.c.id)
    .join(editions, editions.c.id == publications.c.edition_id)
    .where(editions.c.state == "live")
)

Json = dict[str, Any]


@dataclass
class Seen:
    """What one reader was given."""

    answers: int = 0
    hits: int = 0
    replaced: int = 0
    unmarked: int = 0
    stale_s: list[float] = field(default_factory=list)  # of each hit that was marked: since when

    def count(self, hits: list[Json], known: Mapping[int, tuple[int, int]]) -> None:
        self.answers += 1
        for hit in hits:
            wanted, live = known[hit["document_id"]]
            self.hits += 1
            self.replaced += hit["generation"] < live
            self.unmarked += hit["generation"] < wanted and not hit["stale"]
            if hit["stale"]:
                self.stale_s.append(hit["stale_for_s"])


def main(seconds: float, edits: float, model: str, readers: int) -> None:
    begin(f"{edits:g} edits a second for {seconds:g} s, {readers} readers, {DOCUMENTS} documents, {model}")
    with workplace() as place:
        rules = Rules(place / "rules")
        for number in range(DOCUMENTS):
            rules.edit(number)
        with service([rules.folder], place / "data", model=model) as one:
            one.until_ready(300)
            seen = ask_while_editing(one, place / "data", rules, seconds, edits, readers)
    tell(seen, rules, seconds)


class Rules:
    """The folder, and which of its documents were edited last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.revisions = [0] * DOCUMENTS
        self.recent: list[int] = []

    def edit(self, number: int) -> None:
        self.revisions[number] += 1
        text = f"# Rule {number}\n\nRule {number} allows {self.revisions[number]} days of leave a year.\n"
        save(self.folder / f"{number}.md", text)
        self.recent = [*self.recent, number][-RECENT:]


def ask_while_editing(
    one: Service, data: Path, rules: Rules, seconds: float, edits: float, readers: int
) -> list[Seen]:
    over = threading.Event()
    with ThreadPoolExecutor(readers) as threads:
        asking = [
            threads.submit(ask, str(one.client.base_url), data, rules, over, at) for at in range(readers)
        ]
        try:
            write(rules, seconds, edits)
        finally:
            over.set()
        return [each.result() for each in asking]


def write(rules: Rules, seconds: float, edits: float) -> None:
    pick, began = random.Random(1), time.monotonic()
    for turn in range(int(seconds * edits)):
        time.sleep(max(0.0, began + turn / edits - time.monotonic()))
        rules.edit(pick.randrange(DOCUMENTS))


def ask(url: str, data: Path, rules: Rules, over: threading.Event, reader: int) -> Seen:
    seen, pick = Seen(), random.Random(reader)
    database = Database.file(data / DATA_FILE)
    try:
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            while not over.is_set():
                known = what_is_known(database)
                body = {"query": f"leave by rule {pick.choice(rules.recent)}", "top_k": TOP_K}
                seen.count(client.post("/v1/search", json=body).raise_for_status().json()["hits"], known)
    finally:
        database.close()
    return seen


def what_is_known(database: Database) -> dict[int, tuple[int, int]]:
    """Which generation of each document is wanted, and which is live."""
    with database.read() as connection:
        return {key: (wanted, live or 0) for key, wanted, live in connection.execute(_KNOWN)}


def tell(seen: list[Seen], rules: Rules, seconds: float) -> None:
    hits = sum(one.hits for one in seen)
    stale_s = [since for one in seen for since in one.stale_s]
    row("edits written", f"{sum(rules.revisions) - DOCUMENTS}")
    row("answers, passages in them", f"{sum(one.answers for one in seen)}, {hits}")
    row("answers a second", f"{sum(one.answers for one in seen) / seconds:.0f}")
    row("passages of a revision that was replaced by then", f"{sum(one.replaced for one in seen)}", "0")
    row("passages of an outdated revision, not marked", f"{sum(one.unmarked for one in seen)}", "0")
    row("passages that were marked as stale", f"{len(stale_s)}, {len(stale_s) / max(1, hits):.1%}")
    if stale_s:
        row("  the newer revision known for", spread(stale_s))
        row("  at most", f"{percentile(stale_s, 100):.3f} s")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=60.0)
    arguments.add_argument("--edits", type=float, default=10.0)
    arguments.add_argument("--model", default=REAL)
    arguments.add_argument("--readers", type=int, default=2)
    given = arguments.parse_args()
    main(given.seconds, given.edits, given.model, given.readers)
