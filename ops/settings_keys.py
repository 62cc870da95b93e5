"""The keys of the API: plain where they are not kept, and hashed as soon as they are read.

Works on the table before it is checked key by key. No key is ever repeated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ops.settings_embedding import is_file
from ops.toml_places import Place
from retrieval.api.keys import hash_key

MIN_KEY_CHARACTERS = 16
MOST_FILE_BYTES = 64 * 1024
HASHED = re.compile(r"sha256:[0-9a-f]{64}")
KEY_HINT = 'Make a key with: python3 -c "import secrets; print(secrets.token_urlsafe(32))"'

Fault = tuple[Place, str]


def with_keys_hashed(tables: dict[str, Any], *, plain_allowed: bool) -> Iterator[Fault]:
    """Hashes keys from the environment and those of ``api.keys_file``, a key or a hash on each line; what the
    settings file lists must be hashed already. Changes the table."""
    api = tables.get("api")
    if not isinstance(api, dict):
        return
    listed = api.get("keys")
    keys: list[Any] = list(listed) if isinstance(listed, list | tuple) else []
    if plain_allowed:
        yield from _too_short(keys, "keys")
        keys = [_hashed(key) for key in keys]
    if isinstance(file := api.get("keys_file"), str):
        try:
            held = _lines(Path(file))
        except (OSError, ValueError) as error:
            yield ("api", "keys_file"), _unreadable(file, error)
            return
        yield from _too_short(held, "keys_file")
        if not held:
            yield ("api", "keys_file"), f"holds no key. {KEY_HINT}"
        keys += [_hashed(key) for key in held]
    if keys:
        tables["api"] = {**api, "keys": keys}


def _too_short(keys: Sequence[Any], name: str) -> Iterator[Fault]:
    for number, key in enumerate(keys):
        if isinstance(key, str) and not HASHED.fullmatch(key) and len(key) < MIN_KEY_CHARACTERS:
            yield ("api", name, number), f"is shorter than {MIN_KEY_CHARACTERS} characters. {KEY_HINT}"


def _hashed(key: Any) -> Any:
    return hash_key(key) if isinstance(key, str) and not HASHED.fullmatch(key) else key


def _lines(file: Path) -> list[str]:
    with file.open("rb") as body:
        text = body.read(MOST_FILE_BYTES).decode("utf-8", "replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _unreadable(file: str, error: Exception) -> str:
    # What is no file is not repeated: somebody may have put the key there.
    named = file if is_file(Path(file)) else "the file"
    reason = getattr(error, "strerror", None) or type(error).__name__
    return f"{named} cannot be read ({reason}); correct the name, or let this user read it."
