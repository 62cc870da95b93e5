"""The rules of ``ops/prometheus``: what promtool says of them and of their unit tests, and that nothing in
them is left untested, unexplained or made up."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from ingestion.records import Lane
from tests.docs.test_reference import COMMANDS, section
from tests.servers.process import NotInstalled, missing
from tests.servers.prometheus import RULES, promtool

OPS = RULES.parent
UNIT_TESTS = sorted((RULES / "tests").glob("*.yml"))
RUNBOOK = (OPS / "runbook.md").read_text(encoding="utf-8")
EVERYWHERE = {"job", "instance", "role"}  # what Prometheus adds to every series
PARTS = ("_bucket", "_count", "_sum")

Json = dict[str, Any]


def loaded(path: Path) -> Json:
    found: Json = YAML(typ="safe").load(path)
    return found


def rules(kind: str) -> list[Json]:
    """Every rule of a kind: ``alert`` or ``record``."""
    return [
        rule
        for name in ("recording.yml", "alerts.yml")
        for group in loaded(RULES / name)["groups"]
        for rule in group["rules"]
        if kind in rule
    ]


ALERTS, RECORDED = rules("alert"), rules("record")
NAMES = sorted({rule["alert"] for rule in ALERTS})


def told(*words: str | Path, cwd: Path | None = None) -> str:
    """What promtool says, once it agrees."""
    try:
        result = promtool(*words, cwd=cwd)
    except NotInstalled as fault:
        missing(fault)
        raise
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_configuration_and_the_rules_are_sound(tmp_path: Path) -> None:
    configuration = loaded(RULES / "prometheus.yml")
    for name in configuration["rule_files"]:
        (tmp_path / name).write_text((RULES / name).read_text())
    (tmp_path / "api_key").write_text("a key")
    text = (RULES / "prometheus.yml").read_text().replace("/run/secrets/", f"{tmp_path}/")
    (tmp_path / "prometheus.yml").write_text(text)
    said = told("check", "config", "--lint=all", "--lint-fatal", tmp_path / "prometheus.yml")
    assert f"{len(ALERTS)} rules found" in said
    assert f"{len(RECORDED)} rules found" in said


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_the_rules_do_what_their_tests_say(path: Path) -> None:
    told("test", "rules", path.name, cwd=path.parent)


def test_every_alert_is_tested_firing_and_not() -> None:
    """Each of the rules that share an alert's name, by its own labels."""
    fired: dict[str, list[Json]] = defaultdict(list)
    quiet = set()
    for check in checks("alert_rule_test"):
        fired[check["alertname"]] += [one["exp_labels"] for one in check["exp_alerts"]]
        if not check["exp_alerts"]:
            quiet.add(check["alertname"])
    for rule in ALERTS:
        assert any(rule["labels"].items() <= labels.items() for labels in fired[rule["alert"]]), rule
    assert quiet == set(NAMES)


def test_every_recording_rule_is_tested() -> None:
    asked = " ".join(check["expr"] for check in checks("promql_expr_test") if check["exp_samples"])
    assert [rule["record"] for rule in RECORDED if not re.search(rf"{rule['record']}\b", asked)] == []


def checks(kind: str) -> list[Json]:
    return [check for path in UNIT_TESTS for test in loaded(path)["tests"] for check in test.get(kind, ())]


def test_every_alert_leads_to_its_section_of_the_runbook() -> None:
    for rule in ALERTS:
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == f"ops/runbook.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket")
    sections = re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOK, flags=re.MULTILINE | re.DOTALL)
    assert sorted(title for title, _ in sections) == NAMES
    for title, text in sections:
        words = re.findall(r"^\*\*([\w ]+?)\.?\*\*", text, flags=re.MULTILINE)
        assert words == ["Meaning", "First look", "Remedy"], title
        for severity in {rule["labels"]["severity"] for rule in ALERTS if rule["alert"] == title}:
            assert severity in text.split("**First look")[0], title


def test_the_runbook_names_commands_and_services_that_exist() -> None:
    services = loaded(OPS.parent / "docker-compose.yml")["services"]
    known = {name.removeprefix("headwater ") for name in COMMANDS}
    typed = re.findall(r"^(?:.*`)?headwater ([a-z-]+(?: replay| drop)?)", RUNBOOK, flags=re.MULTILINE)
    assert len(typed) > 20
    assert set(typed) <= known
    composed = re.findall(r"docker compose (?:ps|logs|restart|exec|up)((?: [^`\n#]+)?)", RUNBOOK)
    assert composed
    for words in composed:
        named = re.split(r" (?:sh|ls|promtool|headwater) ", words)[0]
        named = re.sub(r"--tail 50|--scale |--detach|--all|=\d+", "", named)
        assert set(named.split()) <= services.keys(), words


def test_rules_and_runbook_use_metrics_labels_and_values_that_are_documented() -> None:
    queries = [rule["expr"] for rule in (*ALERTS, *RECORDED)]
    queries += re.findall(r"^```\n(.*?)^```$", RUNBOOK, flags=re.MULTILINE | re.DOTALL)
    are_documented(queries)


def are_documented(queries: Iterable[str]) -> None:
    """Whatever these queries name is in the reference's table."""
    rows = {
        row[1]: row[0] for row in re.finditer(r"^\| `(headwater_\w+)` .*", section("Metrics"), re.MULTILINE)
    }
    for query in queries:
        for name, matchers in re.findall(r"(?<![\w:])(headwater_\w+)(?:\{([^}]*)\})?", query):
            metric = name if name in rows else re.sub(rf"({'|'.join(PARTS)})$", "", name)
            assert metric in rows, f"{name} in {query}"
            labels = re.findall(r"\w+", rows[metric].split(" | ")[1])
            for label, values in re.findall(r'(\w+)=~?"([^"]*)"', matchers):
                assert label in {*labels, *EVERYWHERE}, f"{label} of {name} in {query}"
                known = re.findall(r'[`"](\w+)[`"]', rows[metric]) + list(Lane)
                assert label in EVERYWHERE or set(values.split("|")) <= set(known), f"{values} in {query}"


def test_the_unit_tests_feed_series_that_could_be_scraped() -> None:
    """A typing error in a series would make a test of silence that tests nothing."""
    used = " ".join(rule["expr"] for rule in (*ALERTS, *RECORDED))
    series = {
        one["series"].split("{")[0]
        for path in UNIT_TESTS
        for test in loaded(path)["tests"]
        for one in test["input_series"]
    }
    assert [name for name in sorted(series) if not re.search(rf"\b{name}\b", used)] == []


def test_the_composed_prometheus_finds_the_rules() -> None:
    prometheus = loaded(OPS.parent / "docker-compose.yml")["services"]["prometheus"]
    assert "--config.file=/etc/prometheus/prometheus.yml" in prometheus["command"]
    assert "./ops/prometheus:/etc/prometheus:ro" in prometheus["volumes"]
