"""Where a canary lives: a place of each kind of source, for its document and an anchor that stays.

The anchor is there because a place that holds nothing of what it held would be held back.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

ANCHOR = "anchor.md"
DOCUMENT = "canary.md"


class Perch(Protocol):
    """The place of one kind of source in which a canary lives. May raise OSError."""

    kind: str

    def prepare(self) -> None:
        """Make it, with its anchor. Idempotent."""

    def write(self, text: str) -> None:
        """The document holds this text from now on."""

    def delete(self) -> None:
        """The document is gone from now on. Idempotent."""


class FilesPerch:
    """A folder."""

    kind = "files"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if not (self._folder / ANCHOR).exists():
            self._put(ANCHOR, "# Anchor\n\nHeadwater's canary lives in this folder. This file stays.\n")

    def write(self, text: str) -> None:
        self.prepare()
        self._put(DOCUMENT, text)

    def delete(self) -> None:
        (self._folder / DOCUMENT).unlink(missing_ok=True)

    def _put(self, name: str, text: str) -> None:
        """As editors do: beside, under a hidden name, then in place."""
        beside = self._folder / f".{name}.new"
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, self._folder / name)  # noqa: PTH105 - says better what it does
