"""What the trial of a runtime found, remembered between starts.

A convenience: a folder that is missing, damaged or cannot be written costs the time of another trial, and
nothing else. One file per verdict, so two processes at once write the same and lose nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

from retrieval.embedding.json_file import write_json


class Verdicts:
    """Worst cosines by everything they depend on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of_user(cls) -> Verdicts:
        """In the user's cache folder."""
        import platformdirs

        return cls(Path(platformdirs.user_cache_dir("headwater")) / "trials")

    def recall(self, *key: str) -> float | None:
        """The worst cosine found for this key; None where it was not tried, or nobody knows any more."""
        try:
            kept = json.loads(self._file(key).read_bytes())
        except (OSError, ValueError):
            return None
        if not isinstance(kept, dict) or kept.get("key") != list(key):
            return None
        worst = kept.get("worst_cosine")
        return worst if isinstance(worst, float) and -1 <= worst <= 1.001 else None

    def remember(self, worst_cosine: float, *key: str) -> None:
        """Keep it where that is possible."""
        file = self._file(key)
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, {"key": list(key), "worst_cosine": float(worst_cosine)})

    def _file(self, key: tuple[str, ...]) -> Path:
        return self._folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()}.json"
