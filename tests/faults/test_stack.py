"""Nothing is lost on the production stack, whatever dies, stops, forgets or refuses.

A writer changes files and a reader asks without pause while one injury follows another. The judge knows
every revision ever written. The short form is a choice of them; ``make faults`` runs all, and then
more at random. A run is repeated with its seed: HEADWATER_FAULTS_SEED.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.faults import injuries
from tests.faults.deployment import Deployment, Json, servers
from tests.faults.history import History, Known, Writer, section_of, shown_by
from tests.faults.injuries import EVERY, Injury
from tests.servers.process import NotInstalled, missing

# Read before the tests are given an environment without the settings of whoever runs them.
SEED = int(os.environ.get("HEADWATER_FAULTS_SEED", "20261127"))
MORE = int(os.environ.get("HEADWATER_FAULTS_MORE", "40"))  # at random, in the long form
FIRST_DOCUMENTS = 40
SETTLED_S = 60.0  # after the last injury everything is searchable
APPROVE_EVERY_S = 10.0
OVER_S = 40.0  # then the end of every outage has been told
BETWEEN_S = 2.0
BATCH_TEXTS = 32
EDITS_EACH, ANSWERS_EACH = 10, 10  # for each injury, at least: some 40 and 60 on a busy machine
SHORT: tuple[Injury, ...] = (
    injuries.kill("fresh"),
    injuries.kill("redis"),
    injuries.kill("postgres"),
    injuries.kill("weaviate"),
    injuries.pause("fresh"),
    Injury("Redis flushed", injuries.flush),
    Injury("messages twice, late and out of order", injuries.double_messages),
    Injury("Weaviate fails some items of a batch", injuries.failing_objects),
    Injury("PostgreSQL drops connections", injuries.drop_connections),
    Injury("the disks of PostgreSQL and of the data folders full", injuries.full_disk),
    Injury("the folder unmounted and back", injuries.unmount),
    injuries.kill("watch"),
)


@dataclass
class Totals:
    """What a run came to; its line goes into the README."""

    injuries: int = 0
    batches: int = 0
    again: int = 0
    edits: int = 0
    queries: int = 0
    unanswered: int = 0
    violations: list[str] = field(default_factory=list)

    def line(self) -> str:
        return (
            f"{self.injuries} faults, {self.edits} edits, {self.queries} queries"
            f" ({self.unanswered} unanswered), {len(self.violations)} violations;"
            f" {self.again} texts embedded twice, of {self.batches * BATCH_TEXTS} that may be"
        )


class Run:
    """A deployment with its writer and its reader."""

    def __init__(self, deployment: Deployment, seed: int) -> None:
        self.deployment = deployment
        self.history = History()
        self.writer = Writer(deployment.folder, self.history, seed)
        self.totals = Totals()
        self._seed = seed
        self._dice = self._dice_for("injuries")
        self._crowd = ThreadPoolExecutor(max_workers=2)
        self._stop = threading.Event()
        self._writing = threading.Event()
        self._busy = threading.Lock()  # held for a change, and while the folder is away

    def begin(self) -> None:
        self.deployment.mount()
        for _ in range(FIRST_DOCUMENTS):
            self.writer.step()
        self.deployment.start()
        self._busily = [self._crowd.submit(work) for work in (self._write, self._read)]

    def _dice_for(self, what: str) -> random.Random:
        """One for each thread: shared, a seed would not repeat its run."""
        return random.Random(f"{what} {self._seed}")

    def inflict(self, injury: Injury) -> None:
        print(f"{time.strftime('%H:%M:%S')}  {injury.name}", flush=True)
        self.deployment.injury_begins()
        with self._busy if injury.inflict is injuries.unmount else threading.Lock():
            injury.inflict(self.deployment, self._dice)
        self.totals.injuries += 1
        self.totals.batches += injury.batches
        time.sleep(BETWEEN_S)

    def settle(self) -> None:
        """The writer stops; all that it wrote must be searchable in time."""
        with self._busy:
            self._writing.set()
        self.deployment.injury_begins()
        ends, approve_at = time.monotonic() + SETTLED_S, time.monotonic() + APPROVE_EVERY_S
        while missing := list(self._not_searchable()):
            assert time.monotonic() < ends, f"not searchable after {SETTLED_S:.0f} s: {missing[:5]}"
            if time.monotonic() >= approve_at:  # much that went while nobody watched is held
                self.deployment.run("approve", "folder", "--yes")
                approve_at = time.monotonic() + APPROVE_EVERY_S
            time.sleep(0.5)
        self._stop.set()
        for one in self._busily:  # a question under way would lose its connection with the client
            one.result(60.0)
        self.totals.edits = self.writer.changes

    def _write(self) -> None:
        dice = self._dice_for("pauses")
        while not self._writing.is_set():
            with self._busy:
                if not self._writing.is_set():
                    self.writer.step()
            time.sleep(dice.uniform(0.0, 0.3))

    def _read(self) -> None:
        known: dict[str, Known] = {}
        dice = self._dice_for("questions")
        while not self._stop.is_set():
            document = dice.choice(self.writer.documents)
            hits = self._answer(document)
            if hits is None:
                self.totals.unanswered += 1
                time.sleep(0.2)
                continue
            self.totals.queries += 1
            self.totals.violations += self.history.judge(document, hits, known)

    def _answer(self, document: str) -> list[Json] | None:
        """The hits; None where nobody answers, or says that it cannot. No answer is no wrong one."""
        try:
            return self.deployment.search(document)
        except httpx.TransportError:
            return None
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                raise
            return None

    def _not_searchable(self) -> Iterator[str]:
        for document, (path, content) in self.history.current().items():
            hits = self._answer(document)
            if hits is None:
                yield f"{document}: no answer"
                return
            found = shown_by(hits, document)
            wanted = {path: list(content)} if content else {}
            if found != wanted:
                yield f"{document}: {found}, not {wanted}"


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    folder = tmp_path / "folder"
    folder.mkdir()
    try:
        with servers(tmp_path, SEED) as running:
            made = Deployment(tmp_path, folder, running)
            try:
                yield made
            finally:
                made.stop()
    except NotInstalled as fault:
        missing(fault)


def check(run: Run) -> None:
    """What must hold in the end."""
    totals, deployment = run.totals, run.deployment
    count_texts(run)
    print(totals.line(), *totals.violations, sep="\n")
    assert totals.violations == []
    # Edits and answers went on through all of it.
    assert totals.edits > EDITS_EACH * totals.injuries
    assert totals.queries > ANSWERS_EACH * totals.injuries
    assert totals.again <= totals.batches * BATCH_TEXTS
    audited = deployment.run("audit", "--json")
    assert audited.returncode == 0, audited.stdout + audited.stderr
    assert not any(json.loads(audited.stdout)["drift"].values()), audited.stdout
    assert [name for name, process in deployment.processes.items() if not process.runs] == []
    until_over(deployment)
    assert [f"{role}: {line}" for role, told in deployment.told.items() for line in told.wrong()] == []


def count_texts(run: Run) -> None:
    """What was embedded more often than it came into its document: at most a batch for each worker that was
    killed, or stopped for longer than its lease."""
    texts = run.deployment.servers.endpoint.texts()
    embedded = Counter(found for text in texts if (found := section_of(text)) is not None)
    assert len(embedded) > FIRST_DOCUMENTS
    run.totals.again = (embedded - run.writer.appeared).total()


def until_over(deployment: Deployment) -> None:
    """Wait until each role has told the end of what it told of."""
    ends = time.monotonic() + OVER_S
    while still := {role: told.still_open() for role, told in deployment.told.items() if told.still_open()}:
        assert time.monotonic() < ends, f"not told to be over: {still}"
        time.sleep(0.5)


@pytest.mark.timeout(600)
def test_every_kind_of_fault(deployment: Deployment) -> None:
    run = Run(deployment, SEED)
    run.begin()
    for injury in SHORT:
        run.inflict(injury)
    run.settle()
    check(run)


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_everything_and_then_at_random(deployment: Deployment) -> None:
    dice = random.Random(SEED)
    run = Run(deployment, SEED)
    run.begin()
    for injury in EVERY:
        run.inflict(injury)
    for injury in dice.choices(EVERY, k=MORE):
        run.inflict(injury)
    run.settle()
    check(run)
