"""From the settings of a source to the source. Apart from ``ops.wiring``, which imports every room."""

from __future__ import annotations

from ingestion.clock import Clock
from ingestion.sources.files import FilesSource
from ops.settings import SourceSettings


def make_source(settings: SourceSettings, clock: Clock) -> FilesSource:
    return FilesSource(
        settings.name,
        settings.root,
        include=settings.include,
        exclude=settings.exclude,
        max_file_bytes=settings.max_file_bytes,
        clock=clock,
    )
