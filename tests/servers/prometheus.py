"""A real Prometheus on loopback, from the system's packages, and the ``promtool`` that comes with it.

Its data and its log lie in a folder of the test. It scrapes what the test names, with the rules of ``ops/``:
unchanged, or with every duration in them made shorter, so that minutes pass in seconds.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from ruamel.yaml import YAML

from tests.servers.process import NotInstalled, Server, free_port

START_S = 60.0
RULES = Path(__file__).parents[2] / "ops" / "prometheus"
MISSING = """There is no Prometheus on this machine. Install it:
    Debian, Ubuntu   sudo sh tests/servers/packages.sh (which starts no service)
    Fedora           sudo dnf install golang-github-prometheus
    macOS            brew install prometheus"""
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# After "for:" and "interval:", and in the brackets of a range or a subquery: nothing else is a duration.
_DURATIONS = re.compile(r"(?:(?<=for: )|(?<=interval: ))\w+|\[[\dsmhd:]+\]")
_DURATION = re.compile(r"(\d+)(ms|s|m|h|d)")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of an instant query."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One that runs, and what can be asked of it."""

    url: str
    server: Server

    def query(self, expression: str) -> list[Sample]:
        found = self.get("query", query=expression)["result"]
        return [Sample(one["metric"], float(one["value"][1])) for one in found]

    def alerts(self, state: str = "firing") -> list[Mapping[str, str]]:
        """Labels of the alerts that are in this state now."""
        return [one["labels"] for one in self.get("alerts")["alerts"] if one["state"] == state]

    def ever_fired(self, range_s: int = 3600) -> set[str]:
        """Names of the alerts that fired at any moment of the last seconds, over by now or not."""
        series = self.query(f'max_over_time(ALERTS{{alertstate="firing"}}[{range_s}s])')
        return {one.labels["alertname"] for one in series}

    def up(self) -> Mapping[str, float]:
        """What the last scrape of each role gave: 1 or 0. Empty before the first."""
        return {one.labels.get("role", ""): one.value for one in self.query("up")}

    def rules(self) -> list[Json]:
        """Every rule that is loaded, with what its last evaluation came to."""
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]

    def get(self, path: str, **parameters: str) -> Any:
        """``data`` of an answer of the HTTP interface."""
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, trust_env=False, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]


@contextlib.contextmanager
def serving(
    place: Path,
    targets: Mapping[str, int],
    rules: Sequence[Path] = (),
    *,
    every_s: int = 1,
    api_key: str | None = None,
) -> Iterator[Prometheus]:
    """One that scrapes these roles at their ports, as ``ops/prometheus/prometheus.yml`` says it, and holds
    to these rules. Raises NotInstalled."""
    program, port = find("prometheus"), free_port()
    url = f"http://127.0.0.1:{port}"
    written = place / "prometheus.yml"
    written.write_text(json.dumps(configuration(targets, rules, every_s=every_s, api_key=api_key)))
    server = Server(
        [
            program,
            f"--config.file={written}",
            f"--storage.tsdb.path={place / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--enable-feature=exemplar-storage",
            "--log.level=warn",
        ],
        log=place / "prometheus.log",
        answers=lambda: _answers(url),
        start_s=START_S,
    )
    with server.running():
        yield Prometheus(url, server)


def configuration(
    targets: Mapping[str, int], rules: Sequence[Path], *, every_s: int, api_key: str | None
) -> Json:
    """The one of ``ops/``, with ports of this machine in the place of the containers' names."""
    made: Json = YAML(typ="safe").load(RULES / "prometheus.yml")
    made["global"] |= {"scrape_interval": f"{every_s}s", "evaluation_interval": f"{every_s}s"}
    made["rule_files"] = [str(path) for path in rules]
    (job,) = (one for one in made["scrape_configs"] if one["job_name"] == "headwater")
    del job["dns_sd_configs"], job["authorization"]
    if api_key is not None:
        job["authorization"] = {"credentials": api_key}
    job["static_configs"] = [
        {"targets": [f"127.0.0.1:{port}"], "labels": {"__meta_dns_name": role}}
        for role, port in targets.items()
    ]
    made["scrape_configs"] = [job]
    return made


def shortened(rules: Path, place: Path, factor: int) -> Path:
    """A copy in which every ``for``, interval and window is so much shorter. Thresholds are as they are."""
    copy = place / rules.name
    copy.write_text(_DURATIONS.sub(lambda found: _shorter(found[0], factor), rules.read_text()))
    return copy


def promtool(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run to its end. Raises NotInstalled."""
    return subprocess.run(
        [find("promtool"), *words], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )


def find(program: str) -> str:
    """The path of ``prometheus`` or ``promtool``. Raises NotInstalled."""
    found = shutil.which(program)
    if found is None:
        raise NotInstalled(MISSING)
    return found


def _shorter(text: str, factor: int) -> str:
    return _DURATION.sub(
        lambda found: f"{max(1, round(int(found[1]) * _UNITS_S[found[2]] * 1000 / factor))}ms", text
    )


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{url}/-/ready", trust_env=False, timeout=2).status_code == 200
    return False
