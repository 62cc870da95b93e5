"""Checks of what may be read: documents by us, secrets by nobody else."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from ingestion.sources.paths import uri_of
from ingestion.sources.patterns import Patterns
from ops.findings import Finding, note, ok
from ops.kinds.files import FilesSettings
from ops.settings import Settings
from ops.settings_stores import SECRET_FILES, SECRETS, has_password
from ops.showing import counted, plain

MOST_LOOKED_AT = 20_000  # files of a source: some tenths of a second
SHOWN = 3
BY_EFFECTIVE_USER = os.access in os.supports_effective_ids


def documents(source: FilesSettings) -> Iterator[Finding]:
    """Files and folders of a source that this user may not read. Opens none."""
    refused, looked_at, whole = _refused(source)
    about = f"permissions of {source.name}"
    if refused:
        first = ", ".join(plain(uri_of(path)) for path in refused[:SHOWN])
        more = ", ..." if len(refused) > SHOWN else ""
        yield note(
            about,
            f"{counted(len(refused), 'place')} may not be read: {first}{more}",
            "Give this user read permission (folders: also x), or exclude them in the settings.",
        )
    else:
        so_far = "" if whole else " (the first of them; the others were not looked at)"
        yield ok(about, f"{counted(looked_at, 'file')} may be read{so_far}")


def secrets(settings: Settings) -> Iterator[Finding]:
    """Files with secrets that every user of the machine may read."""
    open_ones = [(name, file) for name, file in _files_with_secrets(settings) if _mode(file) & stat.S_IROTH]
    for name, file in open_ones:
        yield note(
            "secrets",
            f"{plain(str(file))} ({name}) may be read by every user of this machine.",
            f"chmod 600 {plain(str(file))}, unless nobody else is here, as in a container.",
        )


def _files_with_secrets(settings: Settings) -> Iterator[tuple[str, Path]]:
    for table, key in SECRET_FILES:
        file = getattr(getattr(settings, table), key)
        if file is not None:
            yield f"{table}.{key}", file
    for source in settings.sources:
        for key in type(source).model_fields:
            if key.endswith("_file") and getattr(source, key) is not None:
                yield f"{key} of the source {source.name}", getattr(source, key)
    if settings.config is not None and any(
        _is_in_file(settings, str(table), str(key)) for table, key in SECRETS
    ):
        yield "the settings", settings.config


def _is_in_file(settings: Settings, table: str, key: str) -> bool:
    value = getattr(getattr(settings, table), key)
    if value is None or not settings.in_force()[f"{table}.{key}"]["from"].startswith(str(settings.config)):
        return False
    return key != "url" or has_password(value.get_secret_value())


def _mode(file: Path) -> int:
    try:
        return file.stat().st_mode
    except OSError:
        return 0


def _refused(source: FilesSettings) -> tuple[Sequence[str], int, bool]:
    """Paths that may not be read, how many files were looked at, and whether those were all."""
    patterns = Patterns(source.include, source.exclude)
    root = os.fspath(source.root)
    refused: list[str] = []
    looked_at, pending = 0, [""]
    while pending:
        below = pending.pop()
        try:
            entries = list(os.scandir(f"{root}/{below}"))
        except OSError:
            refused.append(below or ".")
            continue
        for entry in entries:
            path = below + entry.name
            if entry.is_dir(follow_symlinks=False):
                if patterns.enters(path, entry.name):
                    pending.append(path + "/")
            elif entry.is_file(follow_symlinks=False) and patterns.takes_file(path, entry.name):
                looked_at += 1
                if not os.access(entry.path, os.R_OK, effective_ids=BY_EFFECTIVE_USER):
                    refused.append(path)
        if looked_at >= MOST_LOOKED_AT:
            return refused, looked_at, not pending
    return refused, looked_at, True
