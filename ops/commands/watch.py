"""``headwater watch``: the role that sees changes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ops.commands.roles import run, served

if TYPE_CHECKING:
    from ingestion.clock import Clock
    from ops.printing import Printing
    from ops.roles.process import Role
    from ops.settings import Settings
    from workers.tracing import Tracing


@click.command("watch")
@served
def command(host: str | None, port: int | None, config: Path | None, data: Path | None) -> None:
    """Watch and list the sources, as a process of its own.

    Needs the folders, the ledger and the broker; it embeds nothing.
    """
    run(_make, role="watcher", config=config, data=data, host=host, port=port)


def _make(settings: Settings, clock: Clock, printing: Printing, tracing: Tracing) -> Role:
    from ops.roles.watch import WatchRole

    return WatchRole(settings, clock, listener=printing.outcome, tracing=tracing)
