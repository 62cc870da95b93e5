"""Every command, option, setting and metric is documented, and nothing that does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.ledger.ledger import Ledger
from ops.broker_gauges import BrokerGauges
from ops.cli import headwater
from ops.clock_skew import ClockSkew
from ops.exporter import Metrics
from ops.kinds import KINDS
from ops.ledger_gauges import LedgerGauges
from ops.settings import Settings
from workers.redis_broker import RedisBroker

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = (ROOT / "ops" / "reference.md").read_text(encoding="utf-8")
DOCUMENTED = REFERENCE + (ROOT / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return REFERENCE.split(f"## {title}\n")[1].split("\n## ")[0]


def first_cells(title: str) -> list[str]:
    """The code at the start of each row of a section's table."""
    return re.findall(r"^\| `([^`]+)`", section(title), flags=re.MULTILINE)


def commands(group: click.Group, name: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        assert command is not None
        yield f"{name} {word}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {word}")


COMMANDS = dict(commands(headwater, "headwater"))


def settings_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, info in model.model_fields.items():
        below = [
            one
            for one in (info.annotation, *getattr(info.annotation, "__args__", ()))
            if isinstance(one, type) and issubclass(one, BaseModel)
        ]
        yield from settings_of(below[0], f"{prefix}{name}.") if below else [f"{prefix}{name}"]


def metrics() -> dict[str, tuple[str, list[str]]]:
    """Type and labels of every metric that any process exports, by the name that Prometheus knows."""
    database, clock = Database.in_memory(), SystemClock()
    ledger = Ledger(database, clock)
    broker = BrokerGauges(RedisBroker("redis://localhost", prefix="t", shown=""), clock)
    counted = Metrics(ledger, clock, version="1", states=False).registry
    states = [
        (family.name, family.type, family._labelnames)  # type: ignore[attr-defined]
        for collector in (LedgerGauges(ledger, clock), broker, ClockSkew(ledger, clock))
        for family in collector.describe()
    ]
    counts = [
        (one._name + ("_total" if one._type == "counter" else ""), one._type, one._labelnames)
        for one in counted._collector_to_names
        if isinstance(one, MetricWrapperBase)
    ]
    database.close()
    return {name: (str(kind), sorted(labels)) for name, kind, labels in [*counts, *states]}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented_with_its_options(name: str) -> None:
    rows = [row for row in section("Commands").splitlines() if row.startswith("|")]
    words = name if name != "headwater dead list" else "headwater dead [list]"
    row = next((row for row in rows if row.startswith(f"| `{words}")), None)
    assert row is not None, f"{name} is not in ops/reference.md"
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option) and parameter.name not in ("config", "data"):
            assert parameter.opts[-1] in row, f"{parameter.opts[-1]} of {name} is not documented"


def test_no_command_is_documented_that_does_not_exist() -> None:
    for cell in first_cells("Commands"):
        words = re.sub(r"\[list\]", "", cell).split()
        command = " ".join(word for word in words if re.fullmatch(r"[a-z][a-z-]*", word))
        assert command in COMMANDS


def test_every_setting_is_documented_and_none_that_does_not_exist() -> None:
    settings = {name for name in settings_of(Settings) if name != "sources"}
    of_sources = {name for kind in KINDS.values() for name in settings_of(kind, "sources.")}
    assert sorted(first_cells("Settings")) == sorted(settings | of_sources)


@pytest.mark.parametrize("word", KINDS)
def test_every_setting_of_a_kind_is_described_for_the_command_sources(word: str) -> None:
    assert KINDS[word].__doc__
    for name, field in KINDS[word].model_fields.items():
        assert field.description or name == "kind", f"{name} of sources of the kind {word} has no description"


def test_documented_defaults_are_the_defaults() -> None:
    from ops.kinds.files import FilesSettings
    from ops.settings_types import ObjectiveSettings

    settings = Settings()
    defaults: dict[str, object] = {
        "daemon.host": settings.daemon.host,
        "daemon.port": settings.daemon.port,
        "embedding.model": settings.embedding.model,
        "embedding.runtime": settings.embedding.runtime,
        "embedding.precision": settings.embedding.precision,
        "embedding.max_characters": settings.embedding.max_characters,
        "embedding.concurrency": settings.embedding.concurrency,
        "embedding.timeout_s": settings.embedding.timeout_s,
        "index.kind": settings.index.kind,
        "canary.every_s": settings.canary.every_s,
        "canary.within_s": settings.canary.within_s,
        **{
            f"sources.{name}": FilesSettings.model_fields[name].default
            for name in ("kind", "scan_every_s", "max_file_bytes")
        },
        **{
            f"sources.objective.{name}": info.default for name, info in ObjectiveSettings.model_fields.items()
        },
    }
    for name, default in defaults.items():
        shown = f"{default:g}" if isinstance(default, float) else str(default)
        assert f"| `{name}` | `{shown}` |" in REFERENCE


def test_every_metric_is_documented_with_its_labels_and_none_that_does_not_exist() -> None:
    """And each row says which question it answers."""
    row = re.compile(
        r"^\| `(headwater_\w+)` \| (\w+)(?:; ([\w, ]+))? \| [A-Z][^|]+\? \| [^|]+ \|$", re.MULTILINE
    )
    documented = {
        name: (kind, sorted(labels.split(", ")) if labels else [])
        for name, kind, labels in row.findall(section("Metrics"))
    }
    assert documented == metrics()


def test_variables_that_are_no_settings_are_documented() -> None:
    from ops.commands.search import KEY_VARIABLE
    from ops.settings_layers import CONFIG_VARIABLE

    assert f"`{KEY_VARIABLE}`" in DOCUMENTED
    assert f"`{CONFIG_VARIABLE}`" in DOCUMENTED
