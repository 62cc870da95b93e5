"""The program as processes of their own roles, around one broker: what a user starts on several machines.

Every wait has a deadline, and whatever was started is ended with the test that started it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from tests.servers.process import free_port

DEADLINE_S = 120.0  # for what takes a second on a quiet machine
POLL_S = 0.05
LISTEN_AGAIN_S = 3600  # so that nothing is found by a periodic listing

Json = dict[str, Any]

FRESH = ("worker", "--lane", "fresh")
BULK = ("worker", "--lane", "bulk")
WATCH = ("watch",)
SCHEDULE = ("schedule",)
API = ("api",)
EXPORTER = ("exporter", "--port", "0")
EVERYTHING = (WATCH, FRESH, BULK, SCHEDULE, API)


class RoleProcess:
    """One process, and what it has said."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str], cwd: Path) -> None:
        self.name = " ".join(command)
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=cwd,
                env=dict(environment),
            )  # fmt: skip

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def says(self, words: str, deadline_s: float = DEADLINE_S) -> RoleProcess:
        """Wait until it has said so."""
        until(lambda: words in self.said() or self._ended(words), f"{self.name} says {words!r}", deadline_s)
        return self

    def end(self, number: signal.Signals = signal.SIGTERM, deadline_s: float = DEADLINE_S) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(deadline_s)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE_S)

    def _ended(self, words: str) -> bool:
        code = self.process.poll()
        assert code is None or words in self.said(), f"{self.name} ended with {code}:\n{self.said()[-3000:]}"
        return False


class Deployment:
    """Roles on one source, one ledger and one broker. As a context manager, it leaves none behind."""

    def __init__(
        self, place: Path, notes: Path, broker: str, *, prefix: Sequence[str] = (), **settings: str
    ) -> None:
        """``settings`` are variables without HEADWATER_; ``place`` is for data and logs; ``prefix`` is put
        before the command of each role."""
        self.place = place
        self.notes = notes
        self._prefix = prefix
        self.port = free_port()
        self.roles: list[RoleProcess] = []
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")},
            "HEADWATER_DAEMON__LOG_FORMAT": "text",  # as on a terminal
            "HEADWATER_EMBEDDING__MODEL": "hashing",
            "HEADWATER_BROKER__URL": broker,
            "HEADWATER_BROKER__PREFIX": f"t{self.port}",
            "HEADWATER_DAEMON__DATA": str(place / "data"),
            "HEADWATER_DAEMON__PORT": str(self.port),
            "HEADWATER_SOURCES": json.dumps([{"root": str(notes), "scan_every_s": LISTEN_AGAIN_S}]),
            **{f"HEADWATER_{name}": value for name, value in settings.items()},
        }
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", timeout=DEADLINE_S, trust_env=False
        )

    def __enter__(self) -> Deployment:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()
        for role in self.roles:
            role.kill()
            if kind is not None:
                sys.stderr.write(f"--- {role.name} said:\n{role.said()[-3000:]}\n")

    def start(self, *commands: Sequence[str]) -> list[RoleProcess]:
        """Start these roles in this order; returns at once."""
        return [self._started([sys.executable, "-m", "ops.cli", *command]) for command in commands]

    def celery(self, *words: str) -> RoleProcess:
        """Start the Celery program on ``ops.celery_app``."""
        return self._started([sys.executable, "-m", "celery", "-A", "ops.celery_app", *words])

    def run(self, *words: str, deadline_s: float = DEADLINE_S) -> subprocess.CompletedProcess[str]:
        """A command in another terminal, run to its end."""
        return subprocess.run(
            [sys.executable, "-m", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=deadline_s,
            cwd=self.place,
            env=self.environment,
        )

    def write(self, name: str, words: str) -> None:
        """Write a file as editors do: beside, then in place."""
        path = self.notes / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.write_text(f"# {name}\n\n{words}\n", encoding="utf-8")
        new.replace(path)

    def answers(self, question: str) -> list[Json]:
        """The hits; none while nobody answers."""
        with contextlib.suppress(httpx.TransportError):
            response = self._http.post("/v1/search", json={"query": question, "top_k": 20})
            if response.status_code == 200:
                hits: list[Json] = response.json()["hits"]
                return hits
        return []

    def finds(self, words: str, name: str | None = None) -> bool:
        """Whether a passage (of this file) holds these words now."""
        return any(words in hit["text"] and name in (None, hit["uri"]) for hit in self.answers(words))

    def shows(self, words: str, name: str | None = None, deadline_s: float = DEADLINE_S) -> float:
        """Wait until these words are found; returns how long that took."""
        began = time.monotonic()
        until(lambda: self.finds(words, name), f"{words!r} is found", deadline_s)
        return time.monotonic() - began

    def get(self, path: str) -> httpx.Response:
        return self._http.get(path)

    def send(self, method: str, path: str, body: str = "") -> Json:
        """A request that is taken; its answer."""
        response = self._http.request(method, path, content=body)
        assert response.status_code == 202, response.text
        answer: Json = response.json()
        return answer

    def status(self) -> Json:
        report: Json = self.get("/v1/status").json()
        return report

    def settled(self, deadline_s: float = DEADLINE_S) -> None:
        """Wait until nothing is pending."""
        until(lambda: not any(lane["pending"] for lane in self.status()["lanes"]), "all is done", deadline_s)

    def said(self) -> str:
        return "".join(role.said() for role in self.roles)

    def _started(self, command: Sequence[str]) -> RoleProcess:
        log = self.place / f"role-{len(self.roles)}.log"
        role = RoleProcess([*self._prefix, *command], log, self.environment, self.place)
        self.roles.append(role)
        return role


def until(is_so: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
    ends = time.monotonic() + deadline_s
    while not is_so():
        assert time.monotonic() < ends, f"not so in {deadline_s:g} s: {what}"
        time.sleep(POLL_S)
