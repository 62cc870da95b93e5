"""A fault, or the end of the process, at every step of the flow; then the same end as without.

One story (first index, edits, renames, deletions, skips, repairs, sweeps) is told undisturbed, then once
for every call of ledger, index, embedder and source in it, with that call failing before it takes effect,
failing after it, or never returning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import cast

import pytest
import sqlalchemy as sa

from ingestion.errors import HeadwaterError
from ingestion.sources.memory import MemorySource
from ingestion.sources.port import SourcePort
from retrieval.index.embedded import EmbeddedIndex
from retrieval.index.port import Index
from tests.faults.fuse import FAULTS, Died, Fuse, Fused, FusedDatabase, FusedEmbedder, Moment
from tests.rig import SOURCE, CountingEmbedder, Passage, Rig, ShiftedClock, attempt, fresh_database
from tests.servers.postgres import Postgres
from workers.staging import SLICE_TEXTS

PARTS = 6
SPACING = 9
QUESTIONS = ("common words", "edited", "section 7")
BINARY = bytes(range(256)) * 4


def sections(numbers: Sequence[int], words: str = "common words") -> bytes:
    return "\n\n".join(f"# Section {n}\n\n{words} {n}" for n in numbers).encode()


def first_index(source: MemorySource, _rig: Rig) -> None:
    source.put("a.md", sections(range(3), "words of a"))
    source.put("b.md", b"common words of b")
    source.put("copy of b.md", b"common words of b")
    source.put("large.md", sections(range(SLICE_TEXTS + 8)))
    source.put("empty.md", b"")
    source.put("picture.md", BINARY)
    source.put("to delete.md", b"words that go")


def edits(source: MemorySource, _rig: Rig) -> None:
    source.put("a.md", sections([0, 9, 2], "words of a"))
    source.rename("b.md", "renamed.md")
    source.delete("to delete.md")
    source.put("picture.md", b"edited into common words")
    source.put("new.md", b"new common words")
    source.put("large.md", sections(range(2, SLICE_TEXTS + 8)))


def repairs(source: MemorySource, rig: Rig) -> None:
    """The index lost a vector, a document its text; another is renamed with an edit, one comes back."""
    rows = rig.ledger.views.chunks_of(rig.document_ids()["large.md"])
    affected = rig.ledger.publications.mark_missing([row.chunk_id for row in rows[:2]])
    rig.ledger.claims.mark_repair(rig.edition, list(affected))
    source.put("new.md", BINARY)
    source.rename("renamed.md", "b.md")
    source.rename("a.md", "a renamed.md")
    source.put("a renamed.md", sections([1, 9], "words of a, edited"))
    source.put("to delete.md", b"words that go")


PHASES: tuple[Callable[[MemorySource, Rig], None], ...] = (first_index, edits, repairs)


@dataclass
class End:
    """What there is after each phase, and what it took."""

    passages: list[list[Passage]] = field(default_factory=list)
    answers: list[list[list[tuple[float, str, int, str]]]] = field(default_factory=list)
    states: list[dict[str, str]] = field(default_factory=list)
    embedded: int = 0


class Story:
    """One telling, with a fuse that may go off. Processes come and go; file, source and clock stay.

    ``server`` is the database of a ledger that is not in the index's file.
    """

    def __init__(self, folder: Path, fuse: Fuse, server: sa.URL | None = None) -> None:
        self.fuse = fuse
        self.clock = ShiftedClock()
        self.source = MemorySource(SOURCE, clock=self.clock)
        self.embedder = CountingEmbedder()
        self._file = fresh_database(folder)
        self._url = server or self._file.url
        self.deaths = 0
        self.rig = self._process()

    def tell(self, undisturbed: End | None = None) -> End:
        end = End()
        for number, phase in enumerate(PHASES):
            phase(self.source, self.rig)
            self._carry_out(number, undisturbed)
            end.passages.append(self.rig.passages())
            end.answers.append([self.rig.answers(question) for question in QUESTIONS])
            end.states.append(self.rig.states())
            self.rig.consistent()
            assert {view.attempts for view in self.rig.ledger.views.documents()} <= {0}
        end.embedded = len(self.embedder.texts)
        self.close()
        return end

    def close(self) -> None:
        self.rig.ledger.database.close()
        self._file.close()

    def _carry_out(self, number: int, undisturbed: End | None) -> None:
        """What a daemon does from a listing on, again and again until it ends without a fault."""
        for _ in range(40):
            try:
                with self.fuse.lit():
                    attempt(lambda: self.rig.work.list_source(SOURCE))
                    self.rig.settle()
                    self.rig.sweep()
                if self.rig.work.listed[SOURCE].fault:
                    continue  # the schedule lists again
            except Died:
                self.close()
                self.deaths += 1
                self.rig = self._process()
                self._no_half_documents(number, undisturbed)
            except HeadwaterError:
                self._no_half_documents(number, undisturbed)
            else:
                return
        raise AssertionError("it never came through")

    def _no_half_documents(self, number: int, undisturbed: End | None) -> None:
        """Right after the fault each document is as before the phase or as after it."""
        assert undisturbed is not None
        before = by_uri(undisturbed.passages[number - 1]) if number else {}
        after = by_uri(undisturbed.passages[number])
        now = by_uri(self.rig.passages())
        for uri in before.keys() | after.keys() | now.keys():
            assert now.get(uri, []) in (before.get(uri, []), after.get(uri, [])), uri

    def _process(self) -> Rig:
        database = FusedDatabase(self._url)
        index = EmbeddedIndex(self._file if database.on_server else database)
        rig = Rig(
            database,
            [self.source],
            clock=self.clock,
            embedder=self.embedder,
            embed=FusedEmbedder(self.embedder, self.fuse),
            wrap_index=lambda index: cast("Index", Fused(index, self.fuse, "index")),
            wrap_source=lambda source: cast("SourcePort", Fused(source, self.fuse, "source")),
            index=index,
        )
        rig.recover()
        database.fuse = self.fuse
        return rig


def by_uri(passages: Sequence[Passage]) -> dict[str, list[Passage]]:
    found: dict[str, list[Passage]] = {}
    for one in passages:
        found.setdefault(one[0], []).append(one)
    return found


@cache
def undisturbed() -> tuple[End, tuple[str, ...]]:
    with TemporaryDirectory() as folder:
        story = Story(Path(folder), Fuse())
        return story.tell(), tuple(story.fuse.calls)


def retell(
    folder: Path,
    numbers: Sequence[int],
    moment: Moment,
    *,
    deadly: bool = False,
    server: Postgres | None = None,
) -> None:
    """The story with faults at these calls ends as the undisturbed one; a slice is the price of each."""
    plain, _ = undisturbed()
    with TemporaryDirectory(dir=folder) as fresh:
        fuse = Fuse(numbers, moment, deadly=deadly)
        url = None if server is None else server.fresh()
        story = Story(Path(fresh), fuse, url)
        try:
            end = story.tell(plain)
            assert fuse.gone_off
            assert end.passages == plain.passages
            assert end.answers == plain.answers
            assert end.states == plain.states
            assert end.embedded <= plain.embedded + SLICE_TEXTS * len(fuse.gone_off)
            assert story.deaths == (len(fuse.gone_off) if deadly else 0)
        except BaseException as error:
            error.add_note("; ".join(fuse.gone_off) or "nothing went off")
            raise
        finally:
            story.close()
            if server is not None and url is not None:
                server.drop(url)


def steps(*kinds: str) -> list[int]:
    """The calls of these kinds in the undisturbed story."""
    return [number for number, call in enumerate(undisturbed()[1]) if call.split()[0] in kinds]


@pytest.mark.parametrize("part", range(PARTS))
def test_the_process_ends_after_every_write(tmp_path: Path, part: int) -> None:
    """What is durable changes only there, so these are all the states that a crash can leave behind."""
    for number in steps("write", "embedder")[part::PARTS]:
        retell(tmp_path, [number], Moment.AFTER, deadly=True)


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize("offset", range(SPACING))
def test_every_call_fails_once(tmp_path: Path, offset: int, moment: Moment) -> None:
    """Several faults a telling: every call of the undisturbed story fails in one of them."""
    retell(tmp_path, range(offset, len(undisturbed()[1]), SPACING), moment)


@pytest.fixture(scope="module")
def calls(postgres: Postgres) -> list[str]:
    """Those of the undisturbed story with the ledger on a server, and the index in a file beside it."""
    with TemporaryDirectory() as folder:
        story = Story(Path(folder), Fuse(), postgres.fresh())
        end = story.tell()
    assert end == undisturbed()[0]
    return story.fuse.calls


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize("offset", range(SPACING))
def test_every_call_fails_once_beside_a_server(
    tmp_path: Path, postgres: Postgres, calls: list[str], offset: int, moment: Moment
) -> None:
    retell(tmp_path, range(offset, len(calls), SPACING), moment, server=postgres)


@pytest.mark.timeout(300)
def test_the_process_ends_beside_a_server(tmp_path: Path, postgres: Postgres, calls: list[str]) -> None:
    writes = [number for number, call in enumerate(calls) if call.startswith("write")]
    for number in writes[1::9]:
        retell(tmp_path, [number], Moment.AFTER, deadly=True, server=postgres)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("deadly", [False, True])
@pytest.mark.parametrize("moment", Moment)
def test_every_call_fails_or_kills_alone(tmp_path: Path, moment: Moment, deadly: bool) -> None:
    for number in steps(*FAULTS):
        retell(tmp_path, [number], moment, deadly=deadly)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(60))
def test_the_process_ends_again_and_again(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    numbers = sorted(random.sample(steps(*FAULTS), 4))
    retell(tmp_path, numbers, random.choice(list(Moment)), deadly=True)


def test_a_second_death_within_the_recovery_of_the_first(tmp_path: Path) -> None:
    for number in steps("write")[3::9]:
        retell(tmp_path, [number, number + 4], Moment.AFTER, deadly=True)
