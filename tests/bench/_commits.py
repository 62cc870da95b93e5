"""The commits of a documentation folder, what chunks they make, and how far the ledger is with them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.views import DocumentView
from tests.bench._common import HISTORY, until
from tests.bench._direct import Direct

DEADLINE_S = 120.0
LOOK_S = 0.003


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

    Read from the database: a look over HTTP takes a core, and the interpreter, from what it waits for.
    """

    def __init__(self, database: Database) -> None:
        self._views = Ledger(database, SystemClock()).views
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


def commits() -> Iterator[Commit]:
    with gzip.open(HISTORY / "commits.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            one = json.loads(line)
            yield Commit(one["commit"], one["write"], tuple(one["delete"]))
