"""``headwater exporter``: the role that shows states to monitors."""

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


@click.command("exporter")
@served
def command(host: str | None, port: int | None, config: Path | None, data: Path | None) -> None:
    """Show the states of sources, documents and broker at /metrics, as a process of its own.

    The port is that of the settings (daemon.port) unless one is given. headwater up does it by itself.
    """
    run(_make, role="exporter", config=config, data=data, host=host, port=port, always_serves=True)


def _make(settings: Settings, clock: Clock, printing: Printing, tracing: Tracing) -> Role:
    from ops.roles.exporter import ExporterRole

    return ExporterRole(settings, clock)
