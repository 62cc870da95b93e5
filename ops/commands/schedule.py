"""``headwater schedule``: the role that sends what is due and keeps house."""

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


@click.command("schedule")
@served
def command(host: str | None, port: int | None, config: Path | None, data: Path | None) -> None:
    """Send what is due, end leases, sweep and audit, as a process of its own.

    One is enough; several do no harm.
    """
    run(_make, role="scheduler", config=config, data=data, host=host, port=port)


def _make(settings: Settings, clock: Clock, printing: Printing, tracing: Tracing) -> Role:
    from ops.roles.schedule import ScheduleRole

    return ScheduleRole(settings, clock, listener=printing.outcome)
