"""The dashboards as Grafana's provisioning reads them, by the names of their files."""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from ops.grafana.freshness import freshness
from ops.grafana.pipeline import pipeline
from ops.grafana.runbook import runbook
from ops.grafana.search import search

FOLDER = Path(__file__).parent / "dashboards"


def files() -> dict[str, str]:
    made = {"freshness": freshness(), "pipeline": pipeline(), "search": search(), "runbook": runbook()}
    return {
        f"{name}.json": json.dumps(board.build(), cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"
        for name, board in made.items()
    }
