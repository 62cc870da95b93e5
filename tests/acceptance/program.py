"""The program as a user starts it: `headwater up` in a process of its own, asked over HTTP.

Every wait has a deadline, and whatever was started is ended with the test that started it. Nothing of
the program's insides is used, but for ``expected``: there, what the folder should have become is worked
out by the parser and the chunker alone, without ledger, index or watcher.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from ingestion.chunking import chunk
from ingestion.errors import DocumentUnparsable, NotIndexable
from ingestion.parsing import at_hand, parse
from ingestion.sources.paths import uri_of
from ops.cli import headwater
from retrieval.embedding.hashing import HashingEmbedder

DEADLINE_S = 40.0  # for what takes a second on a quiet machine
STOP_S = 5.0  # what is promised
POLL_S = 0.02

Json = dict[str, Any]

_LISTENS = re.compile(r"listens at (http://\S+)")

started: list[Program] = []
"""Those that run, and those that ran in the test under way: their logs are shown when it fails."""


@dataclass(frozen=True, slots=True, order=True)
class Passage:
    """One live chunk, without the ids."""

    uri: str
    ordinal: int
    start: int
    end: int
    heading_path: tuple[str, ...]
    text: str


class Program:
    """One `headwater up` after another on one data folder. As a context manager, it leaves none behind."""

    def __init__(
        self,
        data: Path,
        *words: str | Path,
        model: str = "hashing",
        prefix: Sequence[str] = (),
        cwd: Path | None = None,
    ) -> None:
        """``words`` are arguments of up; ``prefix`` is a command that runs it, in ``cwd`` (else beside
        the data folder)."""
        self.data = data
        self.words = ["--data", str(data), "--port", "0", *map(str, words)]
        self.log = data.parent / f"{data.name}.log"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")},
            "HEADWATER_DAEMON__LOG_FORMAT": "text",  # as on a terminal
            "HEADWATER_EMBEDDING__MODEL": model,
            "HEADWATER_CANARY__EVERY_S": "0",  # it would embed, count and write beside what is tested
        }
        self._cwd = cwd or data.parent
        self._prefix = [*prefix, sys.executable, "-m", "ops.cli"]
        self._process: subprocess.Popen[bytes] | None = None
        self._http: httpx.Client | None = None
        self._began = 0

    def __enter__(self) -> Program:
        started.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        started.remove(self)
        if kind is not None:
            ended.append(self)

    def start(self) -> Program:
        """Start a daemon, and return at once."""
        assert self._process is None, "it runs already"
        with self.log.open("ab") as log:
            self._began = log.tell()
            self._process = subprocess.Popen(
                [*self._prefix, "up", *self.words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._cwd,
                env=self.environment,
            )
        return self

    def ready(self, deadline_s: float = DEADLINE_S) -> Program:
        """Wait until everything that was there at the start is searchable."""
        self.listening(deadline_s)
        self.until(lambda: self.get("/readyz", codes=(200, 503)).status_code == 200, deadline_s, "is ready")
        return self

    def listening(self, deadline_s: float = DEADLINE_S) -> str:
        """Wait for the line that says where it listens."""
        self.until(lambda: _LISTENS.search(self.said()) is not None, deadline_s, "listens")
        found = _LISTENS.search(self.said())
        assert found is not None
        if self._http is None:
            self._http = httpx.Client(base_url=found[1], timeout=DEADLINE_S, trust_env=False)
        return found[1]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end: it must, in time, and well."""
        process = self._running()
        asked_at = time.monotonic()
        process.send_signal(number)
        code = self.wait()
        took = time.monotonic() - asked_at
        assert code == 0, f"ended with {code}"
        assert took <= STOP_S + 1.0, f"took {took:.1f} s to end"  # a second for the machine

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self._process is not None:
            self._process.kill()
            self.wait()

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        """Its exit code, once it has ended."""
        code = self._running().wait(timeout=deadline_s)
        self._process = None
        if self._http is not None:
            self._http.close()
            self._http = None
        return code

    @property
    def pid(self) -> int:
        return self._running().pid

    def said(self) -> str:
        """What the last one started has printed so far."""
        with contextlib.suppress(FileNotFoundError):
            return self.log.read_bytes()[self._began :].decode("utf-8", "replace")
        return ""

    def until(self, is_so: Callable[[], object], deadline_s: float = DEADLINE_S, what: str = "") -> None:
        """Poll until ``is_so()`` is true; fail at the deadline, or when the process ends before."""
        ends = time.monotonic() + deadline_s
        while not is_so():
            code = self._running().poll()
            assert code is None, f"the program ended with {code}"
            assert time.monotonic() < ends, f"not so in {deadline_s:g} s: {what or is_so}"
            time.sleep(POLL_S)

    def get(
        self, path: str, query: Mapping[str, str] | None = None, *, codes: Sequence[int] = (200,)
    ) -> httpx.Response:
        assert self._http is not None, "it does not listen"
        response = self._http.get(path, params=query)
        assert response.status_code in codes, response.text
        return response

    def search(self, question: str, *, top_k: int = 10, **fields: object) -> list[Json]:
        """The hits for a question."""
        hits: list[Json] = self.answer(question, top_k=top_k, **fields)["hits"]
        return hits

    def answer(self, question: str, **fields: object) -> Json:
        assert self._http is not None, "it does not listen"
        response = self._http.post("/v1/search", json={"query": question, **fields})
        assert response.status_code == 200, response.text
        answer: Json = response.json()
        return answer

    def documents(self, **query: str) -> dict[str, Json]:
        """Every document by URI; retired ones only with ``state="retired"``."""
        found: dict[str, Json] = {}
        cursor: str | None = "0"
        while cursor is not None:
            page = self.get("/v1/documents", {"cursor": cursor, "limit": "1000", **query}).json()
            found |= {one["uri"]: one for one in page["documents"]}
            cursor = page["next_cursor"]
        return found

    def history(self, uri: str) -> list[Json]:
        """What was tried for a document, oldest first."""
        steps: list[Json] = self.get(f"/v1/documents/{self.documents()[uri]['document_id']}").json()[
            "history"
        ]
        return steps

    def status(self) -> Json:
        report: Json = self.get("/v1/status").json()
        return report

    def source(self, name: str | None = None) -> Json:
        """One source of the status report; the only one, if no name is given."""
        sources: list[Json] = self.status()["sources"]
        (found,) = [one for one in sources if name in (None, one["name"])]
        return found

    def pending(self) -> int:
        return sum(int(lane["pending"]) for lane in self.status()["lanes"])

    def metric(self, name: str, **labels: str) -> float:
        """The sum over every sample of that name that has these labels."""
        families = text_string_to_metric_families(self.get("/metrics").text)
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def texts_embedded(self) -> int:
        return int(self.metric("headwater_texts_embedded_total"))

    def command(self, *words: str | Path, deadline_s: float = DEADLINE_S) -> subprocess.CompletedProcess[str]:
        """Another terminal: a command in its own process, on the same data."""
        return subprocess.run(
            [*self._prefix, *map(str, words), "--data", str(self.data)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=deadline_s,
            cwd=self._cwd,
            env=self.environment,
        )

    def export(self) -> list[Json]:
        """What `headwater export` writes; in this process, which is quicker."""
        result = CliRunner().invoke(headwater, ["export", "--data", str(self.data)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    def passages(self, below: str = "") -> list[Passage]:
        """Every live chunk of the documents whose URI begins like that."""
        return sorted(passage_of(line) for line in self.export() if line["uri"].startswith(below))

    def settles(self, folder: Path, below: str = "", deadline_s: float = DEADLINE_S) -> None:
        """Wait until what is live below a prefix is what that folder holds, and nothing waits.

        Fails at the deadline with the difference.
        """
        wanted = expected(folder, below)
        ends = time.monotonic() + deadline_s
        while True:
            began = time.monotonic()
            found, pending = self.passages(below), self.pending()
            if found == wanted and not pending:
                return
            code = self._running().poll()
            assert code is None, f"the program ended with {code}"
            if began > ends:
                assert found == wanted
                raise AssertionError(f"{pending} documents are still pending")
            time.sleep(max(POLL_S, time.monotonic() - began))  # looking must not starve what is looked at

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it does not run"
        return self._process


ended: list[Program] = []
"""Those that a failing test has ended already: their logs are shown, too."""


@contextlib.contextmanager
def running(data: Path, *words: str | Path, model: str = "hashing") -> Iterator[Program]:
    """A program that is ready."""
    with Program(data, *words, model=model) as program:
        yield program.start().ready()


def passage_of(line: Json) -> Passage:
    """A line of the export."""
    return Passage(
        line["uri"],
        line["ordinal"],
        line["start"],
        line["end"],
        tuple(line["heading_path"]),
        line["text"],
    )


def expected(folder: Path, below: str = "") -> list[Passage]:
    """The live chunks of an index of this folder made from scratch; URIs begin with ``below``.

    The folder must hold nothing that the default patterns leave out, and no links.
    """
    return sorted(
        Passage(uri, one.ordinal, one.start, one.end, one.heading_path, one.text)
        for uri, body in _files(folder, below)
        for one in _chunks(uri, body)
    )


def _chunks(uri: str, body: bytes) -> list[Any]:
    embedder = HashingEmbedder()
    try:
        parsed = parse(body, uri, apart=at_hand)
    except (NotIndexable, DocumentUnparsable):
        return []
    return chunk(parsed, max_tokens=embedder.max_tokens, count_tokens=embedder.count_tokens)


def _files(folder: Path, below: str) -> Iterator[tuple[str, bytes]]:
    root = os.fsencode(folder)
    for place, _, names in os.walk(root):
        for name in names:
            path = os.path.join(place, name)  # noqa: PTH118 - names may be any bytes
            with open(path, "rb") as file:  # noqa: PTH123
                yield below + uri_of(os.path.relpath(path, root)), file.read()
