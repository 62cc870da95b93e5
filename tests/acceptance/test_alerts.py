"""The alerts on a real run: a real Prometheus with the rules of ``ops/`` scrapes every role while something
is stopped. What the dashboards ask for is asked of the same run.

Minutes pass in seconds: every ``for``, window and interval of the rules is divided by ``FACTOR``. Thresholds,
labels and expressions are as users have them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.acceptance.anybody import like_anybody
from tests.acceptance.roles import API, BULK, FRESH, SCHEDULE, WATCH, Deployment, RoleProcess, until
from tests.dashboards import all_show_something
from tests.servers import prometheus
from tests.servers.process import NotInstalled, free_port, missing
from tests.servers.prometheus import RULES, Prometheus
from tests.servers.redis import Redis

FACTOR = 12  # two minutes take ten seconds, which is five scrapes: one that is late is no outage
SCRAPE_S = 2
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "watcher": WATCH,
    "worker-fresh": FRESH,
    "worker-bulk": BULK,
    "scheduler": SCHEDULE,
    "api": API,
    "exporter": ("exporter",),
}
NEVER_MET_S = 0.001
# A ledger in a file has this machine's clock.
OF_POSTGRES = {("pipeline", "Are clocks apart?")}
# It does not sing here: where minutes pass in seconds, a worker that starts would count as one that is away.
OF_CANARY = {
    ("freshness", "When did a round last succeed?"),
    ("freshness", "How long does each step take?"),
    ("freshness", "At which step did it fail?"),
}
MANY = 12  # more than vanish at once without a question


class Watched:
    """Every role, on two sources of which one is promised what cannot be kept, and a Prometheus beside."""

    def __init__(self, deployment: Deployment, ports: Mapping[str, int], strict: Path) -> None:
        self.deployment = deployment
        self.strict = strict
        self._commands = {role: (*words, "--port", str(ports[role])) for role, words in COMMANDS.items()}
        self._running: dict[str, RoleProcess] = {}
        self.monitor: Prometheus

    def start(self, *roles: str) -> None:
        started = self.deployment.start(*(self._commands[role] for role in roles))
        self._running |= zip(roles, started, strict=True)

    def stop(self, role: str) -> None:
        assert self._running[role].end() == 0

    def tells(self, name: str, **labels: str) -> None:
        """Wait until this alert fires, and no other does."""
        until(self.monitor.alerts, f"an alert fires: {name}")
        for alert in self.monitor.alerts():
            assert alert["alertname"] == name, alert
            assert labels.items() <= alert.items(), alert

    def firing(self) -> set[str]:
        return {alert["alertname"] for alert in self.monitor.alerts()}

    def is_quiet(self) -> None:
        """Wait until no alert fires any more."""
        until(lambda: not self.monitor.alerts(), "no alert fires")


@contextlib.contextmanager
def watched(tmp_path: Path, notes: Path, broker: Redis, *, prefix: Sequence[str] = ()) -> Iterator[Watched]:
    """All of it, once every role was scraped and every rule evaluated without an error."""
    place, strict = tmp_path / "place", tmp_path / "strict"
    for folder in (place, strict):
        folder.mkdir()
    sources = [{"root": str(notes)}, {"root": str(strict), "objective": {"within_s": NEVER_MET_S}}]
    rules = [prometheus.shortened(RULES / name, place, FACTOR) for name in ("recording.yml", "alerts.yml")]
    with Deployment(place, notes, broker.url, prefix=prefix, SOURCES=json.dumps(sources)) as deployment:
        ports = {role: deployment.port if role == "api" else free_port() for role in COMMANDS}
        made = Watched(deployment, ports, strict)
        deployment.write("leave.md", "twenty-seven days of holiday")
        made.start(*COMMANDS)
        deployment.shows("twenty-seven days")
        try:
            with prometheus.serving(place, ports, rules, every_s=SCRAPE_S) as made.monitor:
                until(lambda: made.monitor.up() == dict.fromkeys(ports, 1.0), "every role is scraped")
                until(
                    lambda: {rule["health"] for rule in made.monitor.rules()} == {"ok"},
                    "every rule is evaluated",
                )
                yield made
        except NotInstalled as fault:
            missing(fault)


@pytest.mark.timeout(500)
def test_a_stopped_worker_and_late_changes_are_told_and_nothing_else(
    redis: Redis, tmp_path: Path, notes: Path
) -> None:
    with watched(tmp_path, notes, redis) as run:
        run.stop("worker-fresh")
        run.deployment.write("leave.md", "thirty days of holiday")
        run.tells("HeadwaterWorkerMissing", role="worker-fresh")
        assert run.deployment.finds("twenty-seven days"), "what is known is served meanwhile"
        run.start("worker-fresh")
        run.deployment.shows("thirty days")
        run.is_quiet()
        assert run.monitor.ever_fired() == {"HeadwaterWorkerMissing"}

        for number in range(4):
            (run.strict / "rules.md").write_text(f"# Rules\n\nAs of revision {number}.\n")
            run.deployment.shows(f"revision {number}")
        run.tells("HeadwaterChangesLate", source="strict", severity="page")
        run.deployment.write("gone.md", "words for an hour")
        run.deployment.shows("words for an hour")
        (notes / "gone.md").unlink()
        assert run.deployment.run("ops.cli", "audit").returncode == 0
        all_show_something(run.monitor, but=OF_POSTGRES | OF_CANARY)
        assert run.monitor.ever_fired() == {"HeadwaterWorkerMissing", "HeadwaterChangesLate"}


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_whatever_is_broken_is_named_and_nothing_else(own_redis: Redis, tmp_path: Path, notes: Path) -> None:
    """One thing after another, each mended before the next."""
    server = own_redis.server
    assert server is not None
    for number in range(MANY):
        (notes / f"{number}.md").write_text(f"# Note {number}\n\nWords of note {number}.\n")
    with watched(tmp_path, notes, own_redis, prefix=like_anybody()) as run:
        for role in ("watcher", "worker-bulk", "scheduler", "api"):
            run.stop(role)
            run.tells("HeadwaterWorkerMissing", role=role)
            run.start(role)
            run.is_quiet()

        run.stop("exporter")
        run.tells("HeadwaterExporterFailing")
        run.start("exporter")
        run.is_quiet()

        server.kill()
        run.tells("HeadwaterBrokerDown")
        server.start()
        run.is_quiet()

        away = tmp_path / "away"
        away.mkdir()
        for number in range(MANY):
            (notes / f"{number}.md").rename(away / f"{number}.md")
        run.tells("HeadwaterDeletionsHeld", source=notes.name)
        for number in range(MANY):
            (away / f"{number}.md").rename(notes / f"{number}.md")
        run.is_quiet()

        run.strict.rename(tmp_path / "strict and away")
        run.tells("HeadwaterSourceFault", source="strict")
        # The minute after which a source counts as blind is no shorter here.
        until(lambda: run.firing() == {"HeadwaterWatcherBlind"}, "it is blind, and that alone is told")
        (tmp_path / "strict and away").rename(run.strict)
        run.is_quiet()

        secret = tmp_path / "secret.md"
        secret.write_text("# Secret\n\nWhat nobody may read.\n")
        secret.chmod(0)
        secret = secret.rename(notes / "secret.md")
        run.tells("HeadwaterDeadLetters", source=notes.name)
        secret.chmod(0o600)
        assert run.deployment.run("ops.cli", "dead", "replay", "--all").returncode == 0
        run.deployment.shows("What nobody may read")
        run.is_quiet()

        assert run.monitor.ever_fired() == {
            "HeadwaterWorkerMissing",
            "HeadwaterExporterFailing",
            "HeadwaterBrokerDown",
            "HeadwaterDeletionsHeld",
            "HeadwaterSourceFault",
            "HeadwaterWatcherBlind",
            "HeadwaterDeadLetters",
        }
