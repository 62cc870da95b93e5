"""Digests of large files, remembered between starts.

What is remembered is a convenience: a cache that is missing, damaged or cannot be written costs the time
to read the file again, and nothing else.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from retrieval.embedding.json_file import JsonFile


class DigestCache:
    """SHA-256 of files, kept in one JSON file by path and by everything a look can tell of a change."""

    def __init__(self, file: Path) -> None:
        self._entries = JsonFile(file)

    @classmethod
    def of_user(cls) -> DigestCache:
        """In the user's cache folder."""
        import platformdirs

        return cls(Path(platformdirs.user_cache_dir("headwater")) / "digests.json")

    def digest(self, path: Path) -> str:
        """Hexadecimal SHA-256 of a file's bytes. Raises OSError when it cannot be read."""
        path = path.resolve()
        look = _look(path)
        remembered = self._entries.read().get(str(path))
        if isinstance(remembered, list) and len(remembered) == 2 and remembered[0] == look:
            return str(remembered[1])
        with path.open("rb") as body:
            digest = hashlib.file_digest(body, "sha256").hexdigest()
        if _look(path) == look:
            self._entries.add(str(path), [look, digest])
        return digest


def _look(path: Path) -> str:
    """Change time too: a copy may carry its old modification time over, never its change time."""
    seen = path.stat()
    return f"{seen.st_size} {seen.st_mtime_ns} {seen.st_ctime_ns} {seen.st_dev} {seen.st_ino}"
