"""``headwater dead``: documents whose attempts ran out; to look at, to try again, to give up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ops.commands.common import located, opened_ledger, places, settings_of
from ops.showing import ago, counted, plain, reason_for

if TYPE_CHECKING:
    from ingestion.ledger.ledger import Ledger
    from ingestion.ledger.views import DocumentView

_PAGE = 500


@click.group("dead", invoke_without_command=True)
@click.pass_context
@located
def command(ctx: click.Context, config: Path | None, data: Path | None) -> None:
    """Documents whose attempts ran out. Without a command: list.

    DOCUMENTS are paths or SOURCE/URI, as they are listed.
    """
    ctx.obj = (config, data)
    if ctx.invoked_subcommand is None:
        _list(config, data)


@command.command("list")
@located
@click.pass_context
def list_(ctx: click.Context, config: Path | None, data: Path | None) -> None:
    """What failed, why, and since when."""
    _list(*places(ctx, config, data))


@command.command("replay")
@click.argument("documents", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every dead letter.")
@located
@click.pass_context
def replay(
    ctx: click.Context,
    documents: tuple[str, ...],
    everything: bool,
    config: Path | None,
    data: Path | None,
) -> None:
    """Try dead letters again."""
    with opened_ledger(settings_of(*places(ctx, config, data))) as ledger:
        number = ledger.claims.replay(_chosen(ledger, documents, everything))
    click.echo(f"{counted(number, 'document')} will be tried again. See: headwater status")


@command.command("drop")
@click.argument("documents", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every dead letter.")
@located
@click.pass_context
def drop(
    ctx: click.Context,
    documents: tuple[str, ...],
    everything: bool,
    config: Path | None,
    data: Path | None,
) -> None:
    """Give dead letters up until their documents change; what is live of them stays."""
    from ingestion.ledger.dropping import drop as give_up

    with opened_ledger(settings_of(*places(ctx, config, data))) as ledger:
        number = give_up(ledger.database, _chosen(ledger, documents, everything))
    click.echo(f"{counted(number, 'document')} given up, each until it changes.")


def _list(config: Path | None, data: Path | None) -> None:
    with opened_ledger(settings_of(config, data)) as ledger:
        failed = list(_failed(ledger))
    now = time.time()
    for view in failed:
        since = f"failed {ago(now - view.failed_at)}" if view.failed_at is not None else "failed"
        still = "its last good revision is searchable" if view.generation else "nothing of it is searchable"
        name = f"{view.source}/{view.uri}"
        click.echo(f"{plain(name)}  {since}, {still}")
        click.echo(f"    {reason_for(name, view.error)}")
    if failed:
        click.echo(
            f"\n{counted(len(failed), 'dead letter')}. Mend the cause, then: headwater dead replay --all"
        )
    else:
        click.echo("No dead letters.")


def _failed(ledger: Ledger) -> Iterator[DocumentView]:
    after = 0
    while page := ledger.views.documents(state="failed", after=after, limit=_PAGE):
        yield from page
        after = page[-1].document_id


def _chosen(ledger: Ledger, names: tuple[str, ...], everything: bool) -> list[int]:
    from ops.naming import find_document

    if everything == bool(names):
        raise click.UsageError("Name documents, or say --all.")
    if everything:
        return [view.document_id for view in _failed(ledger)]
    chosen: list[int] = []
    for name in names:
        view = find_document(ledger, name)
        if view is None or view.state != "failed":
            raise click.UsageError(f"{name!r} is no dead letter. See: headwater dead list")
        chosen.append(view.document_id)
    return chosen
