"""The dashboards of ``ops/grafana``: that they are what the code makes, that promtool takes their queries,
and that whatever they name and lead to exists."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
from grafana_foundation_sdk.models import units
from ruamel.yaml import YAML

from ops.grafana.files import files
from ops.grafana.freshness import COLOURS
from ops.verdicts import Verdict
from tests.dashboards import DASHBOARDS, FOLDER, MEASURED, RUNBOOK, Json, asked, panels
from tests.integration.test_alert_rules import NAMES, RECORDED, are_documented, loaded, told

PROVISIONING = FOLDER.parent / "provisioning"
ROOT = FOLDER.parents[2]
COMPOSE = loaded(ROOT / "docker-compose.yml")["services"]["grafana"]
WIDTH = 24
PICTURE_BYTES = 150_000
UNITS = {value for name, value in vars(units).items() if name[0].isupper()}


def test_the_committed_dashboards_are_what_the_code_makes() -> None:
    """If not: make dashboards."""
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert committed == files()


def test_promtool_takes_every_query(tmp_path: Path) -> None:
    rules = [{"record": f"r{number}", "expr": one.filled()} for number, one in enumerate(asked())]
    YAML().dump({"groups": [{"name": "dashboards", "rules": rules}]}, tmp_path / "rules.yml")
    assert f"{len(rules)} rules found" in told("check", "rules", tmp_path / "rules.yml")


def test_no_variable_is_left_open() -> None:
    assert [one for one in asked() if re.search(r"\$[a-z_{]", one.filled())] == []


def test_what_is_asked_for_is_documented_or_recorded() -> None:
    queries = [one.filled() for one in asked()]
    are_documented(query.replace('source=~".*"', "") for query in queries)
    recorded = {rule["record"] for rule in RECORDED}
    assert {
        name for query in queries for name in re.findall(r"\w+:headwater_\w+(?::\w+)?", query)
    } <= recorded


def test_every_verdict_has_a_colour() -> None:
    assert COLOURS.keys() == set(Verdict)


@pytest.mark.parametrize("name", MEASURED)
def test_every_panel_asks_and_explains(name: str) -> None:
    shown = panels(MEASURED[name])
    assert len({panel["id"] for panel in MEASURED[name]["panels"]}) == len(MEASURED[name]["panels"])
    assert len({panel["title"] for panel in shown}) == len(shown)
    for panel in shown:
        assert panel["title"].endswith("?")
        assert len(panel["description"].split()) > 7
        assert panel["datasource"]["uid"] == "${datasource}"
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
        unit = panel["fieldConfig"]["defaults"].get("unit")
        assert unit in UNITS or panel["type"] in ("state-timeline", "table") or panel["id"] == 1, panel[
            "title"
        ]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_fill_the_width_and_do_not_overlap(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARDS[name]["panels"]:
        at = panel["gridPos"]
        cells = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len(taken) == WIDTH * (max(y for _, y in taken) + 1)


def test_histograms_of_documents_show_some_of_them() -> None:
    """Exemplars are kept for these two alone; asked for with the other curves they would be drawn thrice."""
    kept = re.compile("headwater_(freshness|deletion)_seconds_bucket")
    for board in MEASURED.values():
        for panel in panels(board):
            shows = [bool(target.get("exemplar")) for target in panel["targets"]]
            assert sum(shows) == any(kept.search(target["expr"]) for target in panel["targets"]), panel[
                "title"
            ]


def test_every_alert_has_a_panel_that_leads_to_its_section() -> None:
    sections = {panel["id"]: panel["title"] for panel in DASHBOARDS["runbook"]["panels"]}
    led_to = set()
    for board in MEASURED.values():
        for link in (link for panel in panels(board) for link in panel.get("links", ())):
            alert = link["title"].removeprefix("Runbook: ")
            number = int(link["url"].removeprefix(f"/d/{RUNBOOK}?viewPanel="))
            assert sections[number] == alert
            led_to.add(alert)
    assert sorted(led_to) == NAMES


def test_the_runbook_leads_within_itself() -> None:
    text = json.dumps(DASHBOARDS["runbook"])
    ids = {panel["id"] for panel in DASHBOARDS["runbook"]["panels"]}
    within = re.findall(rf"\]\(/d/{RUNBOOK}\?viewPanel=(\d+)\)", text)
    assert within
    assert {int(number) for number in within} <= ids
    assert re.findall(r"\]\((?!/d/|https?:)", text) == []


def test_the_dashboards_know_each_other() -> None:
    assert len({board["uid"] for board in DASHBOARDS.values()}) == len(DASHBOARDS)
    for board in MEASURED.values():
        (link,) = board["links"]
        assert all(set(link["tags"]) <= set(other["tags"]) for other in DASHBOARDS.values())
        assert board["time"] == {"from": "now-1h", "to": "now"}


@pytest.mark.parametrize("name", MEASURED)
def test_the_readme_shows_a_picture_of_it_that_loads_quickly(name: str) -> None:
    picture = f"ops/grafana/pictures/{name}.png"
    assert f"]({picture})" in (ROOT / "README.md").read_text()
    assert (ROOT / picture).stat().st_size < PICTURE_BYTES


def test_grafana_finds_dashboards_and_prometheus() -> None:
    """What is provisioned, what is mounted and what the dashboards name is the same."""
    (provider,) = loaded(PROVISIONING / "dashboards" / "headwater.yml")["providers"]
    (datasource,) = loaded(PROVISIONING / "datasources" / "prometheus.yml")["datasources"]
    mounted: Json = dict(volume.split(":")[1::-1] for volume in COMPOSE["volumes"])
    assert mounted[provider["options"]["path"]] == "./ops/grafana/dashboards"
    assert mounted["/etc/grafana/provisioning"] == "./ops/grafana/provisioning"
    scraped = loaded(FOLDER.parents[1] / "prometheus" / "prometheus.yml")["global"]["scrape_interval"]
    assert datasource["jsonData"]["timeInterval"] == scraped
    for board in MEASURED.values():
        chosen = next(one for one in board["templating"]["list"] if one["type"] == "datasource")
        assert chosen["query"] == datasource["type"]
        assert chosen["current"] == {"text": datasource["name"], "value": datasource["uid"]}
