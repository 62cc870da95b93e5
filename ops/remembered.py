"""Which folders ``headwater up`` was given, kept beside the data for the commands of other terminals."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pydantic import TypeAdapter

from ops.kinds import AnySource
from ops.kinds.base import SourceSettings
from ops.lock import writing_to
from ops.settings import Settings

NAME = "sources.json"
_SOURCES: TypeAdapter[tuple[SourceSettings, ...]] = TypeAdapter(tuple[AnySource, ...])


def remember_sources(settings: Settings) -> None:
    """Keep the sources in force. A later ``remember_sources`` replaces them. Raises Misconfigured where
    they cannot be written."""
    path = settings.daemon.data / NAME
    temporary = path.with_name(f"{NAME}.{os.getpid()}.new")
    with writing_to(settings.daemon.data):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps([source.model_dump(mode="json") for source in settings.sources]))
        temporary.replace(path)


def with_remembered_sources(settings: Settings) -> Settings:
    """The same settings; where they name no source, with those that were kept, if there are any."""
    if settings.sources:
        return settings
    kept = _kept(settings.daemon.data / NAME)
    return settings.model_copy(update={"sources": kept}) if kept else settings


def _kept(path: Path) -> tuple[SourceSettings, ...]:
    """A note that is missing, damaged or of another version counts as none."""
    try:
        return _SOURCES.validate_python(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return ()
