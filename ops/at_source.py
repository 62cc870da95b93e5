"""What a source holds at a place now, in words: whether a document there would be indexed, and why not.

Looks and reads nothing but sizes and times; changes nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ingestion.clock import SystemClock
from ingestion.errors import HeadwaterError
from ingestion.records import Gone, Observation, Skipped
from ingestion.sources.paths import path_of
from ops.kinds.base import Means, SourceSettings
from ops.kinds.files import FilesSettings
from ops.naming import readings
from ops.settings import Settings

if TYPE_CHECKING:
    from ingestion.ledger.ledger import Ledger
    from ingestion.ledger.views import DocumentView


def source_now(settings: Settings, ledger: Ledger, view: DocumentView) -> str:
    """What lies there now, compared with the last look."""
    source = _configured(settings, view.source)
    if source is None:
        return "its source is not in the settings: it is kept, and not served"
    try:
        seen = source.source(_means(settings, ledger)).look(view.uri)
    except HeadwaterError as error:
        return f"it cannot be looked at: {error}"
    if isinstance(seen, Gone):
        return _gone(source, view.uri, seen)
    if isinstance(seen, Skipped):
        return f"it is there, and would be skipped: {seen.reason}"
    entry = ledger.documents.find(view.source, [view.uri]).get(view.uri)
    if entry is not None and entry.fingerprint == seen.fingerprint:
        return "it is there, as it was when it was last looked at"
    if view.state == "skipped":
        return "it is there"
    return "it is there, and has changed since it was last looked at"


def why_unknown(settings: Settings, ledger: Ledger, path: str) -> str:
    """Why the ledger knows no such document: what its source says when it is looked at now."""
    for name, uri in readings(ledger.sources.all(), path):
        source = _configured(settings, name)
        if source is not None:
            return _unknown(source, _means(settings, ledger), uri, path)
    for state in ledger.sources.all():
        if os.path.realpath(path) == os.path.realpath(state.location):
            return f"{path} is the folder of the source {state.name}; name a file in it."
    places = [f"{one.name} ({one.location})" for one in ledger.sources.all() if not one.is_own]
    known = ", ".join(places)
    return f"{path} lies in none of the sources: {known or 'there are none'}."


def _unknown(source: SourceSettings, means: Means, uri: str, path: str) -> str:
    name = source.name
    try:
        seen: Observation = source.source(means).look(uri)
    except HeadwaterError as error:
        return f"Nothing is known of {path}: {error}"
    if isinstance(seen, Gone):
        return f"Nothing is known of {path}, and {name} does not hold it: {_gone(source, uri, seen)}."
    if isinstance(seen, Skipped):
        return f"{path} is in {name}, not listed yet, and would be skipped: {seen.reason}."
    return f"{path} is in {name} and was not seen yet. A daemon sees it at once; else: headwater sync"


def _gone(source: SourceSettings, uri: str, seen: Gone) -> str:
    """The source's evidence, and of what is no regular file, what it is."""
    if not isinstance(source, FilesSettings):
        return seen.evidence
    try:
        place = source.root / path_of(uri)
    except ValueError:
        return seen.evidence
    if seen.evidence.startswith("not a regular file"):
        return _kind(source.root, place)
    linked = _linked(source.root, place)
    return (
        seen.evidence if linked is None else f"{linked} is a symbolic link, and no linked folder is entered"
    )


def _kind(root: Path, place: Path) -> str:
    if place.is_symlink():
        target = os.path.realpath(place)
        if not os.path.lexists(target):
            return "a symbolic link that leads nowhere"
        inside = target.startswith(os.path.realpath(root).rstrip(os.sep) + os.sep)
        return "a symbolic link to a folder" if inside else f"a symbolic link out of the source, to {target}"
    if place.is_dir():
        return "it is a folder; name a file in it"
    return "no regular file (a device, a pipe or a socket)"


def _linked(root: Path, place: Path) -> Path | None:
    """The outermost folder on the way that is a symbolic link."""
    below = place.relative_to(root)
    folders = [root / folder for folder in reversed(below.parents)][1:]
    return next((folder for folder in folders if folder.is_symlink()), None)


def _means(settings: Settings, ledger: Ledger) -> Means:
    return Means(SystemClock(), ledger, settings.daemon.data)


def _configured(settings: Settings, name: str) -> SourceSettings | None:
    return next((source for source in settings.sources if source.name == name), None)
