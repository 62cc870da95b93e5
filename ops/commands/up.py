"""``headwater up``: everything in one process, in the foreground."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from ops.commands.common import GivenPath, located


@click.command("up")
@click.argument("folders", nargs=-1, metavar="[FOLDER]...", type=GivenPath())
@located
@click.option("--host", help="The address to listen on (default: 127.0.0.1).")
@click.option("--port", type=int, help="The port to listen on; 0 for any free one (default: 7878).")
def command(
    folders: tuple[Path, ...], config: Path | None, data: Path | None, host: str | None, port: int | None
) -> None:
    """Keep folders searchable: watch, index, serve, measure. Ctrl-C ends it.

    Folders given here take the place of the settings' sources.
    """
    from ingestion.clock import SystemClock
    from ops.printing import Printing
    from ops.progress import meter_for
    from ops.remembered import remember_sources
    from ops.settings import load

    settings = load(
        config,
        arguments={
            "sources": list(folders) or None,
            "daemon.data": data,
            "daemon.host": host,
            "daemon.port": port,
        },
    )
    if not settings.sources:
        raise click.UsageError(
            "There is nothing to keep searchable. Name a folder: headwater up ~/notes; "
            "or put [[sources]] into headwater.toml."
        )
    from ops.ending import end_now
    from ops.running import run  # the rooms are imported only once the settings are right

    clock = SystemClock()
    meter = meter_for(sys.stdout, _write, clock.monotonic)
    run(settings, Printing(meter, clock), started=lambda: remember_sources(settings))
    end_now(0)  # everything is closed; the interpreter's own end waits for a model that is being imported


def _write(line: str) -> None:
    """Lines reach a pipe or a log at once. A disk that is full or a reader that left ends no service."""
    with contextlib.suppress(OSError):
        click.echo(line)
