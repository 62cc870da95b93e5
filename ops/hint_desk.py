"""Hints of changes, to whoever watches: the secrets that they are signed with are read at the start."""

from __future__ import annotations

from pathlib import Path

from ingestion.errors import Misconfigured
from ops.secret_file import read_secret
from ops.settings import Settings
from retrieval.hints import Hint, Hinting

MIN_SECRET_CHARACTERS = 16


def make_hinting(settings: Settings, hint: Hint) -> Hinting:
    """Raises Misconfigured for a secret that cannot be read, or is none."""
    names = [source.name for source in settings.sources]
    secrets = {
        source.name: _secret(source.hint_secret_file, source.name).encode()
        for source in settings.sources
        if source.hint_secret_file is not None
    }
    return Hinting(names, hint, secrets)


def _secret(file: Path, name: str) -> str:
    setting = f"hint_secret_file of the source {name}"
    secret = read_secret(file, setting=setting, what="The secret of its hints")
    if len(secret) < MIN_SECRET_CHARACTERS:
        raise Misconfigured(
            f"{setting} holds no secret of {MIN_SECRET_CHARACTERS} characters or more.",
            hint='Make one with: python3 -c "import secrets; print(secrets.token_urlsafe(32))"',
        )
    return secret
