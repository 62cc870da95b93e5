"""From what a user types (a path, or SOURCE/URI) to a document."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ingestion.sources.paths import uri_of

if TYPE_CHECKING:
    from ingestion.ledger.ledger import Ledger
    from ingestion.ledger.values import SourceState
    from ingestion.ledger.views import DocumentView


def find_document(ledger: Ledger, name: str) -> DocumentView | None:
    """The first reading of the name that the ledger knows."""
    for source, uri in readings(ledger.sources.all(), name):
        view = ledger.views.named(source, uri)
        if view is not None:
            return view
    return None


def readings(states: list[SourceState], name: str) -> Iterator[tuple[str, str]]:
    """(source, URI) that a name may mean: as a path, as a path behind links, as SOURCE/URI.

    Sources in the settings come before those that left them.
    """
    states = sorted(states, key=lambda state: not state.active)
    path = Path(name).expanduser() if name.startswith("~") else Path(name)
    for absolute in dict.fromkeys((os.path.normpath(path.absolute()), os.path.realpath(path))):
        for state in states:
            if state.kind == "files" and (inside := _below(absolute, state.location)):
                yield state.name, uri_of(inside)
    for state in states:
        if name.startswith(f"{state.name}/"):
            yield state.name, name[len(state.name) + 1 :]


def _below(path: str, location: str) -> str | None:
    """The rest of a path below a location; both as they are, and with links followed."""
    for root in (location, os.path.realpath(location)):
        prefix = root.rstrip("/") + "/"
        if path.startswith(prefix):
            return path[len(prefix) :]
    return None
