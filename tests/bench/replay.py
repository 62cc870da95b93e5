"""The real edits of a documentation folder, replayed: how soon is each commit searchable, and at what cost.

    python -m tests.bench.replay [--commits 40] [--stack]

Each commit is written as git does it, files beside the old ones and renamed, and deleted files unlinked.
Its lag runs from the last write or deletion until a search returns a passage that the commit added.
The floor, in the same run, is one direct encode of the commit's new chunks with the same model.

Looking must not disturb: a search costs an embedding on the same cores. So the commit's documents are looked
up in the data file every 3 ms until the last one is published; then one search confirms it, and its time
counts. That everything else the commit added is found too is checked after the clock has stopped.
Targets: issue 3, figure 1, and issue 4, figure 4.

With ``--stack`` the same commits are then replayed on Redis, Weaviate and PostgreSQL, each role a process
of its own, from the same state on and in the same run. Target: issue 5, figure 1.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from ingestion.database import Database
from ops.opening import DATA_FILE
from tests.bench._commits import DEADLINE_S, Book, Commit, Documents, Passage, commits
from tests.bench._common import (
    REAL,
    Asked,
    begin,
    book,
    exported,
    percentile,
    row,
    save,
    service,
    spread,
    workplace,
    write_all,
)
from tests.bench._direct import Direct
from tests.bench._stack import Servers, serving, stack

EMBEDDED = "headwater_texts_embedded_total"
COUNTED_S = 2.0
PAUSE_S = 0.5  # between two commits: they are measured one by one


@dataclass
class Measured:
    lags: list[float] = field(default_factory=list)
    beyond: list[float] = field(default_factory=list)  # of the direct encode
    with_deletion: list[float] = field(default_factory=list)
    new_texts: int = 0
    embedded: float = 0.0


Chunks = list[tuple[str, int, int, str]]


def main(number: int, *, with_stack: bool) -> None:
    begin(f"Replay of {number} commits of the Rust book with {REAL}")
    direct, base = Direct(), book()
    with workplace() as place:
        embedded, replayed = on_one_machine(place, Book(direct, dict(base)), number)
        compare(replayed, from_scratch(place / "book", place))
        if with_stack:
            with serving(place) as servers:
                compare_stack(embedded, on_stack(place / "stack", Book(direct, dict(base)), number, servers))


def on_one_machine(place: Path, known: Book, number: int) -> tuple[Measured, Chunks]:
    """``headwater up`` with all its defaults."""
    folder, data = place / "book", place / "data"
    write_all(folder, known.files)
    with service([folder], data, model=REAL) as one:
        row("first index, from the start of the process", f"{one.until_ready(900):.1f} s")
        with contextlib.closing(Database.file(data / DATA_FILE)) as database:
            measured = replayed_on(one, folder, database, known, number)
    show(measured, "median <= 0.15 s, p90 <= 0.6 s")
    return measured, exported(data)


def on_stack(place: Path, known: Book, number: int, servers: Servers) -> Measured:
    """Every role with its defaults."""
    folder = place / "book"
    write_all(folder, known.files)
    with stack([folder], place / "roles", servers, model=REAL) as one:
        row("Redis, Weaviate, PostgreSQL: first index", f"{one.until_ready(900):.1f} s")
        one.until_open()
        measured = replayed_on(one, folder, one.database, known, number)
        show(measured)
        live = one.exported()
    with stack([folder], place / "scratch", servers, model=REAL) as scratch:
        scratch.until_ready(900)
        compare(live, scratch.exported())
    return measured


def from_scratch(folder: Path, place: Path) -> Chunks:
    with service([folder], place / "scratch", model=REAL) as scratch:
        scratch.until_ready(900)
    return exported(place / "scratch")


def compare(replayed: Chunks, made_anew: Chunks) -> None:
    same = "equal" if replayed == made_anew else f"{len(set(replayed) ^ set(made_anew))} DIFFER"
    row(f"{len(replayed)} live chunks against an index from scratch", same, "equal")


def compare_stack(embedded: Measured, on_servers: Measured) -> None:
    medians = [statistics.median(one.lags) for one in (on_servers, embedded)]
    p90s = [percentile(one.lags, 90) for one in (on_servers, embedded)]
    row("lag on the stack, of the embedded default's: median", f"{medians[0] / medians[1]:.2f} x", "<= 1.5 x")
    row("  p90", f"{p90s[0] / p90s[1]:.2f} x")


def replayed_on(one: Asked, folder: Path, database: Database, known: Book, number: int) -> Measured:
    before = texts_embedded(one)
    measured = replay(one, folder, Documents(database), known, number)
    measured.embedded = texts_embedded(one) - before
    return measured


def texts_embedded(one: Asked) -> float:
    """So far. A process may count one a moment after it is searchable: until two looks agree."""
    seen = one.metric(EMBEDDED)
    while True:
        time.sleep(COUNTED_S)
        last, seen = seen, one.metric(EMBEDDED)
        if seen == last:
            return seen


def replay(one: Asked, folder: Path, documents: Documents, known: Book, number: int) -> Measured:
    measured = Measured()
    for commit in islice(commits(), number):
        texts, passages = known.apply(commit)
        lag = apply(one, folder, documents, commit, passages)
        direct_s = known.direct.encode_s(texts) if texts else 0.0
        measured.lags.append(lag)
        measured.beyond.append(lag - direct_s)
        measured.new_texts += len(texts)
        if commit.delete:
            measured.with_deletion.append(lag)
        print(
            f"    {commit.name[:10]}  {len(commit.write):3d} written {len(commit.delete):3d} deleted"
            f"  {len(texts):4d} new texts  lag {lag:7.3f} s  direct {direct_s:7.3f} s",
            flush=True,
        )
        time.sleep(PAUSE_S)
    return measured


def apply(one: Asked, folder: Path, documents: Documents, commit: Commit, passages: list[Passage]) -> float:
    for path, text in commit.write.items():
        save(folder / path, text)
    for path in commit.delete:
        (folder / path).unlink(missing_ok=True)
    written = time.perf_counter()
    documents.until_published(commit)
    if passages:
        one.until(lambda: found(one, passages[-1]), DEADLINE_S, f"a passage of {passages[-1].uri}")
    lag = time.perf_counter() - written
    missing = [passage.uri for passage in passages if not found(one, passage)]
    if missing:
        raise AssertionError(f"published, and not found by a search: {missing}")
    documents.learn()
    return lag


def found(one: Asked, passage: Passage) -> bool:
    hits = one.search(passage.query, 50)
    return any(hit["uri"] == passage.uri and hit["text"] == passage.text for hit in hits)


def show(measured: Measured, wanted: str = "") -> None:
    row("lag of a commit", spread(measured.lags), wanted)
    beyond = f"{statistics.median(measured.beyond):.3f} s, p90 {percentile(measured.beyond, 90):.3f}"
    row(
        "  minus one direct encode of its new chunks",
        beyond,
        "median <= 0.08 s, p90 <= 0.25 s" if wanted else "",
    )
    if measured.with_deletion:
        row(f"  of the {len(measured.with_deletion)} with deletions", spread(measured.with_deletion))
    ratio = measured.embedded / measured.new_texts if measured.new_texts else 0.0
    texts = f"{measured.embedded:.0f}, {ratio:.3f} x"
    row(f"texts embedded, for {measured.new_texts} new ones", texts, "<= 1.05 x")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--commits", type=int, default=40)
    arguments.add_argument("--stack", action="store_true", help="and on Redis, Weaviate and PostgreSQL")
    given = arguments.parse_args()
    main(given.commits, with_stack=given.stack)
