"""``headwater approve``: shows what is held in a source, and retires exactly that."""

from __future__ import annotations

from pathlib import Path

import click

from ops.commands.common import located, opened_ledger, require_source, settings_of
from ops.showing import counted, plain


@click.command("approve")
@click.argument("source")
@click.option("--yes", is_flag=True, help="Do not ask.")
@located
def command(source: str, yes: bool, config: Path | None, data: Path | None) -> None:
    """Let deletions that were held back take effect.

    Shows the documents that are no longer there and stay searchable until this is run. Only those
    shown are retired; what is held later waits for another approval.
    """
    with opened_ledger(settings_of(config, data)) as ledger:
        require_source(ledger, source)
        held, reasons, shown = ledger.documents.held(source)
        if not held:
            click.echo(f"Nothing is held in {source}.")
            return
        for entry in held:
            click.echo(f"  {plain(entry.uri)}")
        why = ", ".join(sorted(set(reasons.values())))
        click.echo(f"{counted(len(held), 'document')} of {source} held: {plain(why)}.")
        if not yes:
            click.confirm("Retire them? They will no longer be found.", abort=True)
        approved = ledger.documents.approve(source, shown)
        click.echo(f"{counted(len(approved), 'document')} retired.")
        if len(approved) < len(held):
            click.echo(f"{counted(len(held) - len(approved), 'document')} came back meanwhile and stay.")
