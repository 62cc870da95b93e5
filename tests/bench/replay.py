"""The real edits of a documentation folder, replayed: how soon is each commit searchable, and at what cost.

    python -m tests.bench.replay [--commits 40]

Each commit is written as git does it, files beside the old ones and renamed, and deleted files unlinked.
Its lag runs from the last write or deletion until a search returns a passage that the commit added.
The floor, in the same run, is one direct encode of the commit's new chunks with the same model.

Looking must not disturb: a search costs an embedding on the same cores. So the commit's documents are looked
up in the data file every 3 ms until the last one is published; then one search confirms it, and its time
counts. That everything else the commit added is found too is checked after the clock has stopped.
Targets: issue 3, figure 1, and issue 4, figure 4.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.views import DocumentView
from ops.opening import DATA_FILE
from tests.bench._common import (
    HISTORY,
    REAL,
    Service,
    begin,
    book,
    exported,
    percentile,
    row,
    save,
    service,
    spread,
    until,
    workplace,
    write_all,
)
from tests.bench._direct import Direct

DEADLINE_S = 120.0
LOOK_S = 0.003
PAUSE_S = 0.5  # between two commits: they are measured one by one


@dataclass(frozen=True, slots=True)
class Commit:
    name: str
    write: Mapping[str, str]
    delete: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Passage:
    """A text that a search for ``query`` must return from ``uri``."""

    uri: str
    text: str
    query: str


@dataclass
class Book:
    """What the folder holds, and which chunks that makes."""

    direct: Direct
    files: dict[str, str]
    digests: dict[str, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.digests = {path: set(self.direct.texts({path: text})) for path, text in self.files.items()}

    def apply(self, commit: Commit) -> tuple[list[str], list[Passage]]:
        """The distinct texts that no live chunk has, and a passage for each file that got new ones."""
        live = set().union(*self.digests.values())
        new: dict[str, str] = {}
        passages = []
        for path, text in commit.write.items():
            chunks = self.direct.chunks(path, text)
            before = self.files.get(path, "")
            added = [one for one in chunks if one.digest not in live]
            new |= {one.digest: one.embedded_text for one in added}
            lines = [
                (one.text, line) for one in added for line in one.text.splitlines() if line not in before
            ]
            if lines:
                passage, line = max(lines, key=lambda pair: len(pair[1].split()))  # prose, no paths
                passages.append(Passage(path, passage, line[:500]))
            self.files[path], self.digests[path] = text, {one.digest for one in chunks}
        for path in commit.delete:
            self.files.pop(path, None)
            self.digests.pop(path, None)
        return list(new.values()), passages


class Documents:
    """The ledger's view of the documents a commit touches: published up to what generation.

    Read from the data file: a look over HTTP takes a core, and the interpreter, from what it waits for.
    """

    def __init__(self, data: Path) -> None:
        self._views = Ledger(Database.file(data / DATA_FILE), SystemClock()).views
        self._ids: dict[str, int] = {}
        self._generations: dict[int, int] = {}
        self._last = 0
        self.learn()

    def until_published(self, commit: Commit) -> None:
        """Every document of the commit, one after the other; nothing is polled that is known to be done."""
        for path in commit.write:
            known = self._ids.get(path)
            if known is None:
                self._until(partial(self._appeared, path, commit), f"{path} of {commit.name}")
            else:
                self._until(partial(self._moved_on, known), f"{path} of {commit.name}")
        for path in commit.delete:
            if path in self._ids:
                self._until(partial(self._left, path), f"the end of {path} of {commit.name}")

    def learn(self) -> None:
        """Take what is there now as known."""
        for view in self._pages():
            self._ids[view.uri] = view.document_id
            self._generations[view.document_id] = view.generation or 0
            self._last = max(self._last, view.document_id)

    def _until(self, look: Callable[[], bool], what: str) -> None:
        until(look, DEADLINE_S, what, LOOK_S, pause_share=0.01)

    def _pages(self) -> Iterator[DocumentView]:
        after = 0
        while page := self._views.documents(after=after, limit=1000):
            yield from page
            after = page[-1].document_id

    def _view(self, document_id: int) -> DocumentView:
        view = self._views.document(document_id)
        assert view is not None
        return view

    def _moved_on(self, document_id: int) -> bool:
        view = self._view(document_id)
        return view.state == "live" and (view.generation or 0) > self._generations[document_id]

    def _appeared(self, path: str, commit: Commit) -> bool:
        """As a new document, or as one that was renamed."""
        new = self._views.documents(after=self._last, limit=1000)
        moved = [self._view(self._ids[old]) for old in commit.delete if old in self._ids]
        return any(view.uri == path and view.state == "live" for view in [*new, *moved])

    def _left(self, path: str) -> bool:
        view = self._view(self._ids[path])
        gone = view.state == "retired" or view.uri != path
        if gone:
            del self._ids[path]
        return gone


@dataclass
class Measured:
    lags: list[float] = field(default_factory=list)
    beyond: list[float] = field(default_factory=list)  # of the direct encode
    with_deletion: list[float] = field(default_factory=list)
    new_texts: int = 0


def main(number: int) -> None:
    begin(f"Replay of {number} commits of the Rust book with {REAL}")
    known = Book(Direct(), book())
    with workplace() as place:
        folder, data = place / "book", place / "data"
        write_all(folder, known.files)
        with service([folder], data, model=REAL) as one:
            row("first index, from the start of the process", f"{one.until_ready(900):.1f} s")
            before = one.metric("headwater_texts_embedded_total")
            measured = replay(one, folder, Documents(data), known, number)
            embedded = one.metric("headwater_texts_embedded_total") - before
        show(measured, embedded)
        with service([folder], place / "scratch", model=REAL) as scratch:
            scratch.until_ready(900)
        replayed, made_anew = exported(data), exported(place / "scratch")
        same = "equal" if replayed == made_anew else f"{len(set(replayed) ^ set(made_anew))} DIFFER"
        row(f"{len(replayed)} live chunks against an index from scratch", same, "equal")


def replay(one: Service, folder: Path, documents: Documents, known: Book, number: int) -> Measured:
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


def apply(one: Service, folder: Path, documents: Documents, commit: Commit, passages: list[Passage]) -> float:
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


def found(one: Service, passage: Passage) -> bool:
    hits = one.search(passage.query, 50)
    return any(hit["uri"] == passage.uri and hit["text"] == passage.text for hit in hits)


def commits() -> Iterator[Commit]:
    with gzip.open(HISTORY / "commits.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            one = json.loads(line)
            yield Commit(one["commit"], one["write"], tuple(one["delete"]))


def show(measured: Measured, embedded: float) -> None:
    row("lag of a commit", spread(measured.lags), "median <= 0.15 s, p90 <= 0.6 s")
    beyond = f"{statistics.median(measured.beyond):.3f} s, p90 {percentile(measured.beyond, 90):.3f}"
    row("  minus one direct encode of its new chunks", beyond, "median <= 0.08 s, p90 <= 0.25 s")
    if measured.with_deletion:
        row(f"  of the {len(measured.with_deletion)} with deletions", spread(measured.with_deletion))
    ratio = embedded / measured.new_texts if measured.new_texts else 0.0
    row(f"texts embedded, for {measured.new_texts} new ones", f"{embedded:.0f}, {ratio:.3f} x", "<= 1.05 x")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--commits", type=int, default=40)
    main(arguments.parse_args().commits)
