"""A folder that is written without pause, and a judge that knows everything ever written to it.

A document is some sections, each with the document's word, its own number and its own version; so an answer
shows exactly which revision it holds, or that it holds none that ever was. A document has been in states, one
after the other, each a content at a path, or nowhere. An answer is right if it shows a content that the
document has had, at a path that it has had, neither from before what an earlier answer has shown. That one
rule finds gaps, mixes, duplicates, what comes back after it was replaced or deleted, and what was never
written. Content and path are judged apart, because a rename that is seen before an edit shows the old
revision at the new path.
"""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Sections as (number, version), in order; None: not there.
Shown = tuple[tuple[int, int], ...] | None
Section = tuple[str, int, int]  # document, number, version

_SECTION = re.compile(r"The (harbour\d{4}) of part (\d+) in version (\d+)\b")
MOST_SECTIONS = 12


@dataclass
class Register:
    """The states that one document has had. State 0: nothing there yet."""

    contents: list[Shown] = field(default_factory=lambda: [None])
    paths: list[str] = field(default_factory=lambda: [""])

    def write(self, content: Shown, path: str) -> None:
        self.contents.append(content)
        self.paths.append(path)

    def renamed_and_edited(self, since: int) -> bool:
        """Whether nobody can know any more that it is the same document: another path and another content."""
        return len(set(self.paths[since:])) > 1 and len(set(self.contents[since:])) > 1


@dataclass
class Known:
    """What a reader has seen of a document: it may see nothing older."""

    content: int = 0
    path: int = 0


class History:
    """What has been written where. A write is noted before it is done: from then on it may be seen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._documents: dict[str, Register] = {}

    def note(self, document: str, path: str, content: Shown) -> None:
        """What a document will be, and where; None for a deletion."""
        with self._lock:
            self._documents.setdefault(document, Register()).write(content, path if content else "")

    def judge(
        self, document: str, hits: Sequence[Mapping[str, Any]], known: dict[str, Known]
    ) -> Iterator[str]:
        """What is wrong with an answer to a question for a document. ``known``: what this reader has seen, by
        document; it is brought up to date."""
        seen = known.setdefault(document, Known())
        shown = shown_by(hits, document)
        with self._lock:
            register = self._documents.get(document, Register())
            contents, paths = [], []
            for path, sections in shown.items():
                content, where = tuple(sections), _first(register.paths, path, seen.path)
                state = _first(register.contents, content, seen.content)
                if state is None or where is None:
                    yield f"{document} at {path}: {_wrong(register, content, seen, state)}"
                else:
                    contents.append(state)
                    paths.append(where)
            if not shown:
                gone = _first(register.contents, None, seen.content)
                if gone is not None:
                    contents, paths = [gone], [max(gone, seen.path)]
                elif not register.renamed_and_edited(seen.content):
                    yield f"{document}: found nowhere, and it was never away since {_at(register, seen)}"
            if contents:
                seen.content, seen.path = min(contents), min(paths)

    def current(self) -> dict[str, tuple[str, Shown]]:
        """Where each document lies now, and what it holds."""
        with self._lock:
            return {
                document: (register.paths[-1], register.contents[-1])
                for document, register in self._documents.items()
            }


def _first(states: Sequence[object], wanted: object, at_least: int) -> int | None:
    return next((number for number in range(at_least, len(states)) if states[number] == wanted), None)


def _at(register: Register, seen: Known) -> str:
    return f"{register.contents[seen.content]} at {register.paths[seen.path]}"


def _wrong(register: Register, content: Shown, seen: Known, state: int | None) -> str:
    if state is not None:
        return f"it is not there any more; seen since: {_at(register, seen)}"
    if content in register.contents:
        return f"a revision that was replaced came back: {content}; seen since: {_at(register, seen)}"
    return f"a revision that never was: {content}; the last: {register.contents[-1]}"


class Writer:
    """Edits, makes, renames, deletes and restores documents of one folder, one change a step."""

    def __init__(self, folder: Path, history: History, seed: int) -> None:
        self._folder = folder
        self._history = history
        self._dice = random.Random(seed)
        self._numbers = iter(range(10_000))
        self._where: dict[str, str] = {}  # by document
        self._content: dict[str, dict[int, int]] = {}
        self._deleted: dict[str, str] = {}  # document by the path it had
        self.changes = 0
        # How often a section came into its document: deleted and restored, it may be embedded once more.
        self.appeared: Counter[Section] = Counter()
        self._there: dict[str, set[Section]] = {}

    @property
    def documents(self) -> list[str]:
        """Every document there ever was."""
        return list(self._content)

    def step(self) -> None:
        self.changes += 1
        chances = [self._edit] * 6 + [self._make, self._rename, self._delete, self._restore]
        self._dice.choice(chances)()

    def _make(self) -> None:
        document = f"harbour{next(self._numbers):04d}"
        parts = self._dice.randint(1, MOST_SECTIONS)
        self._content[document] = dict.fromkeys(range(parts), 1)
        self._place(document, f"{self._dice.choice(('north', 'south'))}/{document}.md")

    def _edit(self) -> None:
        document = self._one_of(self._where)
        if document is None:
            return self._make()
        content = self._content[document]
        for part in self._dice.sample(sorted(content), min(len(content), self._dice.randint(1, 3))):
            content[part] += 1
        if self._dice.random() < 0.2:
            content[max(content) + 1] = 1
        elif self._dice.random() < 0.2 and len(content) > 1:
            del content[self._dice.choice(sorted(content))]
        return self._place(document, self._where[document])

    def _rename(self) -> None:
        document = self._one_of(self._where)
        if document is None:
            return self._make()
        old = self._where[document]
        new = f"{self._dice.choice(('north', 'south', 'moved'))}/{document}-{self.changes}.md"
        self._history.note(document, new, tuple(sorted(self._content[document].items())))
        (self._folder / new).parent.mkdir(parents=True, exist_ok=True)
        (self._folder / old).rename(self._folder / new)
        self._where[document] = new
        return None

    def _delete(self) -> None:
        document = self._one_of(self._where)
        if document is None or len(self._where) < 5:
            return self._make()
        path = self._where.pop(document)
        self._deleted[document] = path
        self._there[document] = set()
        self._history.note(document, path, None)
        (self._folder / path).unlink()
        return None

    def _restore(self) -> None:
        document = self._one_of(self._deleted)
        if document is None:
            return self._make()
        return self._place(document, self._deleted.pop(document))

    def _place(self, document: str, path: str) -> None:
        """Write a document as editors do: beside it, and then over it."""
        content = self._content[document]
        self._where[document] = path
        self._count(document, content)
        self._history.note(document, path, tuple(sorted(content.items())))
        sections = [section(document, part, version) for part, version in sorted(content.items())]
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.tmp")
        beside.write_text("\n".join(sections))
        beside.replace(target)

    def _count(self, document: str, content: Mapping[int, int]) -> None:
        there = {(document, *one) for one in content.items()}
        self.appeared.update(there - self._there.get(document, set()))
        self._there[document] = there

    def _one_of(self, documents: Mapping[str, str]) -> str | None:
        return self._dice.choice(sorted(documents)) if documents else None


def shown_by(hits: Sequence[Mapping[str, Any]], document: str) -> dict[str, list[tuple[int, int]]]:
    """The sections that an answer shows of a document, by path, as (number, version), in order."""
    shown: dict[str, list[tuple[int, int]]] = {}
    for hit in hits:
        for word, part, version in _SECTION.findall(hit["text"]):
            if word == document:
                shown.setdefault(hit["uri"], []).append((int(part), int(version)))
    return {path: sorted(sections) for path, sections in shown.items()}


def section_of(text: str) -> Section | None:
    """Which of ours a text is that was embedded; None for a question."""
    found = _SECTION.search(text)
    return None if found is None else (found[1], int(found[2]), int(found[3]))


def section(document: str, part: int, version: int) -> str:
    """One section, which becomes one chunk."""
    return f"# Part {part}\n\nThe {document} of part {part} in version {version} lies in calm water.\n"
