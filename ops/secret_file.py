"""A secret that a file holds and nothing else: a key, a password."""

from __future__ import annotations

from pathlib import Path

from ingestion.errors import Misconfigured
from ops.settings_embedding import is_file

MOST_BYTES = 64 * 1024


def read_secret(file: Path, *, setting: str, what: str) -> str:
    """The text without white space around it. Raises Misconfigured, which names the setting."""
    try:
        with file.open("rb") as body:
            secret = body.read(MOST_BYTES).decode("utf-8", "replace").strip()
    except OSError as error:
        # What is no file is not repeated: it may be the secret itself.
        named = str(file) if is_file(file) else f"the file that {setting} names"
        raise Misconfigured(
            f"{what} cannot be read from {named} ({error.strerror}).",
            hint=f"Correct {setting}, or let this user read it.",
        ) from error
    return secret
