"""A run to be photographed: all roles, an editor and readers, until the fresh worker is stopped.

Nothing is shortened: the default model, the rules and objectives as users have them. It takes seven minutes.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ops.settings import Settings
from tests.acceptance.roles import Deployment, until
from tests.acceptance.test_alerts import COMMANDS
from tests.servers import prometheus, redis
from tests.servers.process import free_port
from tests.servers.prometheus import RULES, Prometheus

OPS = Path(__file__).parents[2] / "ops"
SCRAPE_S = 5
QUIET_S = 240.0  # edits and searches, and nothing wrong
STOPPED_S = 170.0  # WorkerMissing waits for two minutes
EDIT_EVERY_S = (0.5, 3.0)
DELETE_EVERY = 8  # edits
ASK_EVERY_S = (0.1, 0.5)
QUESTIONS = (
    "How many days of leave do I have?",
    "What is to be done when Redis does not answer?",
    "How is the ledger restored from a backup?",
    "Who pays for travel to a conference?",
    "What happens to a document that cannot be indexed?",
    "When is somebody on call?",
)


@contextlib.contextmanager
def photographed(place: Path) -> Iterator[Prometheus]:
    """The Prometheus of such a run, at the moment that its pictures show."""
    handbook, manual = place / "handbook", place / "manual"
    shutil.copytree(OPS / "handbook", handbook)
    shutil.copytree(OPS / "decisions", manual / "decisions")
    for page in OPS.glob("*.md"):
        shutil.copy(page, manual)
    sources = json.dumps([{"root": str(handbook)}, {"root": str(manual)}])
    with (
        redis.serving(place) as broker,
        Deployment(place, handbook, broker.url, **_settings(place, sources)) as roles,
    ):
        ports = {role: roles.port if role == "api" else free_port() for role in COMMANDS}
        commands = [(*words, "--port", str(ports[role])) for role, words in COMMANDS.items()]
        started = dict(zip(COMMANDS, roles.start(*commands), strict=True))
        until(lambda: roles.finds("days"), "the handbook is found")
        rules = [RULES / "recording.yml", RULES / "alerts.yml"]
        with prometheus.serving(place, ports, rules, every_s=SCRAPE_S) as monitor, _at_work(roles, manual):
            time.sleep(QUIET_S / 2)
            assert roles.run("ops.cli", "audit").returncode == 0
            time.sleep(QUIET_S / 2)
            assert started["worker-fresh"].end(signal.SIGTERM) == 0
            time.sleep(STOPPED_S)
            yield monitor


def _settings(place: Path, sources: str) -> dict[str, str]:
    return {
        "SOURCES": sources,
        "EMBEDDING__MODEL": Settings().embedding.model,
        "CANARY__FOLDER": str(place / "canary"),
    }


@contextlib.contextmanager
def _at_work(roles: Deployment, manual: Path) -> Iterator[None]:
    """Somebody edits both folders, and somebody asks, until the end."""
    over = threading.Event()
    pages = sorted(page for folder in (roles.notes, manual) for page in folder.rglob("*.md"))
    chance = random.Random(1)
    edits = iter(range(1, 1_000_000))

    def edit() -> None:
        page, number = chance.choice(pages), next(edits)
        text = page.read_text(encoding="utf-8")
        if number % DELETE_EVERY:
            page.write_text(_changed(text, number, chance), encoding="utf-8")
        else:
            page.unlink()
            over.wait(1)
            page.write_text(text, encoding="utf-8")

    def ask() -> None:
        roles.answers(chance.choice(QUESTIONS))

    threads = [
        threading.Thread(target=_again, args=(edit, EDIT_EVERY_S, over)),
        threading.Thread(target=_again, args=(ask, ASK_EVERY_S, over)),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _again(act: Callable[[], None], every_s: tuple[float, float], over: threading.Event) -> None:
    chance = random.Random(2)
    while not over.wait(chance.uniform(*every_s)):
        act()


def _changed(text: str, number: int, chance: random.Random) -> str:
    """One paragraph more or less says when it was looked through."""
    paragraphs = [one for one in text.split("\n\n") if not one.startswith("Looked through")]
    paragraphs.insert(chance.randrange(1, len(paragraphs) + 1), f"Looked through for the {number}th time.")
    return "\n\n".join(paragraphs)
