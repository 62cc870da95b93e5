"""Those who ask: over HTTP, or Weaviate by its own client; one, or many in processes of a few threads each.

    python -m tests.bench._crowd

is one such process, started by ``crowd``: it reads what to ask as a line of JSON, says "ready" once each of
its threads has asked a few questions, and at the next line begins. Then each thread asks one question after
the other over a connection of its own, and the seconds of each answer come back as JSON.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from retrieval.embedding.hashing import HashingEmbedder
from retrieval.index.words import QueryReader
from tests.bench._common import ROOT, as_a_user

HITS = 10
PROCESSES = 4
WARM_UP = 3  # questions of a thread before any is counted
MOST_S = 120.0


class Asker(Protocol):
    def ask(self, question: str) -> float:
        """Seconds until ``HITS`` passages were there. Raises AssertionError for fewer."""


class Askable(Protocol):
    def opened(self, questions: Sequence[str], /) -> contextlib.AbstractContextManager[Asker]:
        """A connection to ask these questions over, and no others."""


@dataclass(frozen=True)
class OverHttp:
    """Where the api answers."""

    url: str

    @contextlib.contextmanager
    def opened(self, _questions: Sequence[str]) -> Iterator[HttpAsker]:
        at = urlsplit(self.url)
        assert at.hostname
        with contextlib.closing(http.client.HTTPConnection(at.hostname, at.port, timeout=30)) as connection:
            yield HttpAsker(connection)


@dataclass
class HttpAsker:
    """One connection that is kept, of the standard library: others' own part would be measured too."""

    connection: http.client.HTTPConnection
    timing: str = ""  # what the last answer said of where its time went

    def ask(self, question: str) -> float:
        began = time.perf_counter()
        body = json.dumps({"query": question, "top_k": HITS})
        self.connection.request("POST", "/v1/search", body, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        read = json.loads(answer.read())
        took = time.perf_counter() - began
        self.timing = answer.headers["server-timing"] or ""
        assert answer.status == http.client.OK, read
        assert len(read["hits"]) == HITS, f"{len(read['hits'])} hits"
        assert read["mode"] == "hybrid"
        return took


@dataclass(frozen=True)
class OwnClient:
    """A collection of the index, asked without the program: Weaviate's own client, and its hybrid query.

    Vectors of the hashing embedder and stems of the words are made before: they are not its part.
    """

    url: str
    grpc_port: int
    api_key: str | None = dataclasses.field(repr=False)
    collection: str

    @contextlib.contextmanager
    def opened(self, questions: Sequence[str]) -> Iterator[OwnAsker]:
        import weaviate
        from weaviate.auth import Auth

        at = urlsplit(self.url)
        assert at.hostname
        assert at.port
        reader = QueryReader()
        stems = {one: reader.question(one) for one in questions}
        reader.close()
        vectors = dict(zip(questions, HashingEmbedder().embed_documents(questions).tolist(), strict=True))
        with weaviate.connect_to_custom(
            http_host=at.hostname,
            http_port=at.port,
            http_secure=False,
            grpc_host=at.hostname,
            grpc_port=self.grpc_port,
            grpc_secure=False,
            auth_credentials=Auth.api_key(self.api_key or ""),
        ) as client:
            yield OwnAsker(client.collections.use(self.collection), stems, vectors)


@dataclass
class OwnAsker:
    collection: Any
    stems: dict[str, str]
    vectors: dict[str, list[float]]

    def ask(self, question: str) -> float:
        began = time.perf_counter()
        answer = self.collection.query.hybrid(
            self.stems[question],
            vector=self.vectors[question],
            alpha=0.5,
            limit=HITS,
            query_properties=["words"],
        )
        took = time.perf_counter() - began
        assert len(answer.objects) == HITS
        assert all(one.properties["text"] for one in answer.objects)
        return took


@dataclass(frozen=True)
class Crowd:
    """What all of them together saw."""

    answers: Sequence[float]  # seconds each
    seconds: float

    @property
    def rate(self) -> float:
        return len(self.answers) / self.seconds


def crowd(asked: OverHttp | OwnClient, questions: Sequence[str], clients: int, seconds: float) -> Crowd:
    """So many clients, each asking one question after the other for so long. Raises AssertionError where
    one of them did not get what it asked for."""
    threads = clients // PROCESSES
    assert threads * PROCESSES == clients, f"not a multiple of {PROCESSES}: {clients}"
    task = json.dumps(
        {
            type(asked).__name__: dataclasses.asdict(asked),
            "questions": list(questions),
            "threads": threads,
            "seconds": seconds,
        }
    )
    with contextlib.ExitStack() as stack:
        asking = [stack.enter_context(_process()) for _ in range(PROCESSES)]
        for one in asking:
            _say(one, task)
        for one in asking:
            assert one.stdout
            assert one.stdout.readline() == "ready\n", "a client could not begin"
        for one in asking:
            _say(one, "go")
        said = [one.communicate(timeout=seconds + MOST_S)[0] for one in asking]
    assert all(said), "a client did not get what it asked for"
    return Crowd([took for one in said for took in json.loads(one)], seconds)


@contextlib.contextmanager
def _process() -> Iterator[subprocess.Popen[str]]:
    one = subprocess.Popen(
        [sys.executable, "-m", "tests.bench._crowd"],
        cwd=ROOT,
        env=as_a_user(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield one
    finally:
        one.kill()
        one.wait()


def _say(one: subprocess.Popen[str], line: str) -> None:
    assert one.stdin
    one.stdin.write(f"{line}\n")
    one.stdin.flush()


def main() -> None:
    task = json.loads(sys.stdin.readline())
    questions = task["questions"]
    asked: Askable = OverHttp(**task["OverHttp"]) if "OverHttp" in task else OwnClient(**task["OwnClient"])
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(task["threads"]) as pool:
        askers: list[Asker] = [stack.enter_context(asked.opened(questions)) for _ in range(task["threads"])]
        list(pool.map(lambda one: [one.ask(question) for question in questions[:WARM_UP]], askers))
        print("ready", flush=True)
        sys.stdin.readline()
        ends = time.perf_counter() + task["seconds"]
        found = list(pool.map(lambda at: _asking(askers[at], questions, at, ends), range(len(askers))))
    print(json.dumps([took for one in found for took in one]))


def _asking(asker: Asker, questions: Sequence[str], first: int, ends: float) -> list[float]:
    answers: list[float] = []
    while time.perf_counter() < ends:
        answers.append(asker.ask(questions[(first + len(answers)) % len(questions)]))
    return answers


if __name__ == "__main__":
    main()
