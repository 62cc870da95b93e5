"""The program as it is, or with nothing counted for comparison: no metrics, no punctuality in the ledger.

Run as ``python -m tests.bench._observed with|without up FOLDER ...``: both ways start alike.
"""

from __future__ import annotations

import sys
from typing import Any

from ingestion.ledger import absence, documents, publishing
from ops import cli, exporter


def nothing(*_arguments: Any, **_more: Any) -> None:
    """In the place of everything that counts."""


def blindfold() -> None:
    for module in (publishing, absence, documents):
        module.note = nothing  # type: ignore[attr-defined]
    for name in ("outcome", "embedded", "billed", "searched", "search_failed", "scan_missed", "overflow"):
        setattr(exporter.Metrics, name, nothing)


if __name__ == "__main__":
    if sys.argv.pop(1) == "without":
        blindfold()
    cli.main()
