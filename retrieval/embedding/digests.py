"""Digests of large files, remembered between starts.

What is remembered is a convenience: a cache that is missing, damaged or cannot be written costs the time
to read the file again, and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path


class DigestCache:
    """SHA-256 of files, kept in one JSON file by path and by everything a look can tell of a change."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @classmethod
    def of_user(cls) -> DigestCache:
        """In the user's cache folder."""
        import platformdirs

        return cls(Path(platformdirs.user_cache_dir("headwater")) / "digests.json")

    def digest(self, path: Path) -> str:
        """Hexadecimal SHA-256 of a file's bytes. Raises OSError when it cannot be read."""
        path = path.resolve()
        look = _look(path)
        remembered = self._read().get(str(path))
        if isinstance(remembered, list) and len(remembered) == 2 and remembered[0] == look:
            return str(remembered[1])
        with path.open("rb") as body:
            digest = hashlib.file_digest(body, "sha256").hexdigest()
        if _look(path) == look:
            self._remember(str(path), look, digest)
        return digest

    def _read(self) -> dict[str, object]:
        try:
            entries = json.loads(self._file.read_bytes())
        except (OSError, ValueError):
            return {}
        return entries if isinstance(entries, dict) else {}

    def _remember(self, path: str, look: str, digest: str) -> None:
        """Two processes at once may lose one of two entries: it is computed again."""
        entries = self._read() | {path: [look, digest]}
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self._file.parent, prefix=".digests-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as body:
                    json.dump(entries, body)
                Path(temporary).replace(self._file)
            except OSError:
                Path(temporary).unlink(missing_ok=True)
                raise


def _look(path: Path) -> str:
    """Change time too: a copy may carry its old modification time over, never its change time."""
    seen = path.stat()
    return f"{seen.st_size} {seen.st_mtime_ns} {seen.st_ctime_ns} {seen.st_dev} {seen.st_ino}"
