"""A small file of JSON in the user's cache: what is convenient to know at the next start.

One that is missing, damaged or cannot be written costs finding it out again, and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path


class JsonFile:
    """Values by name. Each write replaces the file; two processes at once may lose one of two entries."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @classmethod
    def of_user(cls, name: str) -> JsonFile:
        """In the user's cache folder."""
        import platformdirs

        return cls(Path(platformdirs.user_cache_dir("headwater")) / name)

    def read(self) -> dict[str, object]:
        try:
            entries = json.loads(self._file.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return entries if isinstance(entries, dict) else {}

    def add(self, name: str, value: object) -> None:
        self._write(self.read() | {name: value})

    def drop(self, name: str) -> None:
        """Idempotent."""
        entries = self.read()
        if entries.pop(name, None) is not None:
            self._write(entries)

    def _write(self, entries: dict[str, object]) -> None:
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._file, entries)


def write_json(file: Path, content: object) -> None:
    """Replace a file in a folder that is there: whoever reads it finds the old or the new. Raises OSError."""
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.stem}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as body:
            json.dump(content, body)
        Path(temporary).replace(file)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
