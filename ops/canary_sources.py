"""The sources of the canary: one for each kind there is, beside those of the settings."""

from __future__ import annotations

import contextlib

from ingestion.own import canary_of
from ops.kinds.base import SourceSettings
from ops.kinds.files import FilesSettings
from ops.settings import Settings
from workers.perches import FilesPerch

FOLDER = "canary"  # in the data folder


def has_canary(settings: Settings) -> bool:
    """Of several processes nobody knows whether they see the same data folder: there it is asked for."""
    canary = settings.canary
    return canary.every_s > 0 and (canary.folder is not None or settings.broker.url is None)


def canary_sources(settings: Settings) -> tuple[FilesSettings, ...]:
    if not has_canary(settings):
        return ()
    root = (settings.canary.folder or settings.daemon.data / FOLDER) / "files"
    return (FilesSettings.model_construct(name=canary_of("files"), root=root),)


def prepare_perches(settings: Settings) -> None:
    """Before they are watched: a folder that is not there yet would be a fault until it is looked at again.
    Whoever may not write there leaves it to who sings."""
    for source in canary_sources(settings):
        with contextlib.suppress(OSError):
            FilesPerch(source.root).prepare()


def watched_sources(settings: Settings) -> tuple[SourceSettings, ...]:
    """All of them: those of the settings, and the canary's."""
    return (*settings.sources, *canary_sources(settings))
