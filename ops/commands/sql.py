"""``headwater sql``: what makes a PostgreSQL database tell of changes by itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ops.commands.common import located, places, settings_of

if TYPE_CHECKING:
    import sqlalchemy as sa

    from ops.kinds.sql import SqlSettings

_PRINT = click.option("--print", "only_shown", is_flag=True, help="Show the statements, and run none.")


@click.group("sql")
@click.pass_context
@located
def command(ctx: click.Context, config: Path | None, data: Path | None) -> None:
    """Have a PostgreSQL database tell of changes at once, by triggers and an outbox."""
    ctx.obj = (config, data)


@command.command("install")
@click.argument("source")
@click.option(
    "--table", metavar="TABLE", help="The table that holds the key (default: the query's only one)."
)
@_PRINT
@located
@click.pass_context
def install(
    ctx: click.Context,
    source: str,
    table: str | None,
    only_shown: bool,
    config: Path | None,
    data: Path | None,
) -> None:
    """Make the outbox of a source, and the triggers that fill it. May be run again.

    Takes the user of the source's url, who needs TRIGGER on the table and CREATE on its schema.
    """
    from ingestion.sources.sql.outbox_setup import find_place, installing, table_of

    one = _source(ctx, source, config, data)
    table = table or table_of(one.query)
    if table is None:
        raise click.UsageError(
            "The query reads several tables; name the one that holds the key: --table TABLE"
        )
    url = one.database_url()
    with _connected(one) as connection:
        place = find_place(connection, source, table, one.key, url.username or "")
    _run(url, list(installing(source, place)), source, only_shown)
    if not only_shown:
        click.echo(f"{place.schema}.{place.table} tells of its changes from now on.")


@command.command("uninstall")
@click.argument("source")
@_PRINT
@located
@click.pass_context
def uninstall(
    ctx: click.Context, source: str, only_shown: bool, config: Path | None, data: Path | None
) -> None:
    """Remove the outbox of a source and its triggers. Its documents stay."""
    from ingestion.sources.sql.outbox import schemas_of
    from ingestion.sources.sql.outbox_setup import removing

    one = _source(ctx, source, config, data)
    with _connected(one) as connection:
        schemas = schemas_of(connection, source)
    if not schemas:
        click.echo(f"There is no outbox of {source}.")
        return
    _run(one.database_url(), list(removing(source, schemas)), source, only_shown)
    if not only_shown:
        click.echo("Removed. Changes are found by the change column and by listings.")


def _source(ctx: click.Context, name: str, config: Path | None, data: Path | None) -> SqlSettings:
    from ops.kinds.sql import SqlSettings

    settings = settings_of(*places(ctx, config, data))
    found = {one.name: one for one in settings.sources if isinstance(one, SqlSettings)}
    if name not in found:
        raise click.UsageError(f"There is no sql source {name!r}; there are: {', '.join(found) or 'none'}.")
    if found[name].database_url().get_backend_name() != "postgresql":
        raise click.UsageError(f"{name} is in no PostgreSQL database; only there this can be done.")
    return found[name]


@contextlib.contextmanager
def _connected(one: SqlSettings) -> Iterator[sa.Connection]:
    database = one.database()
    try:
        with database.reading() as connection:
            yield connection
    finally:
        database.close()


def _run(url: sa.URL, statements: Sequence[str], source: str, only_shown: bool) -> None:
    from ingestion.sources.sql.outbox_setup import carry_out

    if only_shown:
        click.echo("BEGIN;")
        for statement in statements:
            click.echo(f"{statement};")
        click.echo("COMMIT;")
        return
    carry_out(url, statements, source)
