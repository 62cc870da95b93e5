"""``headwater source``: what is done to one source. ``headwater sources`` lists them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ops.commands.common import located, opened_ledger, places, settings_of, source_names
from ops.showing import counted, plain


@click.group("source")
@click.pass_context
@located
def command(ctx: click.Context, config: Path | None, data: Path | None) -> None:
    """What is done to one source; headwater sources lists them."""
    ctx.obj = (config, data)


@command.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="For programs: asks nothing; without --yes, only says.")
@located
@click.pass_context
def remove(
    ctx: click.Context, name: str, yes: bool, as_json: bool, config: Path | None, data: Path | None
) -> None:
    """Remove the documents of a source that is no longer in the settings.

    Until then they are kept, and not found. Interrupted, it goes on when it is called again.
    """
    from ops.removing import removable
    from ops.removing import remove as carry_out

    settings = settings_of(*places(ctx, config, data))
    with opened_ledger(settings) as ledger:
        found = removable(ledger, settings, name)
        if as_json:
            removed = carry_out(ledger, settings, name) if yes and found.known else 0
            report = {"source": name, "known": found.known, "documents": found.documents, "removed": removed}
            click.echo(json.dumps(report, indent=2))
            return
        if not found.known:
            others = ", ".join(source_names(ledger)) or "none"
            click.echo(f"Nothing is kept of a source {plain(name)!r}; there are: {plain(others)}.")
            return
        click.echo(f"{counted(found.documents, 'document')} of {plain(name)} would be removed.")
        if not yes:
            click.confirm("Remove them, with everything that is kept of them?", abort=True)
        removed = carry_out(ledger, settings, name)
    click.echo(
        f"{counted(removed, 'document')} removed. The index is swept by whatever runs next on this data."
    )
