"""``headwater hash-key``: the hash of an API key, as the settings hold it."""

from __future__ import annotations

import sys

import click


@click.command("hash-key")
def command() -> None:
    """Hash an API key for [api] keys. Asks for the key, or reads it from a pipe."""
    from ops.settings_keys import MIN_KEY_CHARACTERS
    from retrieval.api.keys import hash_key

    key = click.prompt("Key", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline().strip()
    if len(key) < MIN_KEY_CHARACTERS:
        raise click.UsageError(
            f"A key needs at least {MIN_KEY_CHARACTERS} characters. "
            'Make one with: python3 -c "import secrets; print(secrets.token_urlsafe(32))"'
        )
    click.echo(hash_key(key))
