"""``headwater worker``: the role that embeds and publishes."""

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


@click.command("worker")
@click.option(
    "--lane",
    type=click.Choice(["fresh", "bulk"]),
    required=True,
    help="fresh: edits; bulk: first indexes and large documents. Run both.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    help="Threads (default: 4 for fresh; for bulk 2, or what keeps an endpoint's calls busy).",
)
@served
def command(
    lane: str,
    concurrency: int | None,
    host: str | None,
    port: int | None,
    config: Path | None,
    data: Path | None,
) -> None:
    """Embed and publish what one lane holds, as a process of its own.

    Needs the folders, the ledger, the broker, the index and the model.
    """

    def make(settings: Settings, clock: Clock, printing: Printing) -> Role:
        from ingestion.records import Lane
        from ops.roles.worker import WorkerRole

        return WorkerRole(
            settings,
            clock,
            lane=Lane(lane),
            concurrency=concurrency,
            listener=printing.outcome,
            backlog=printing.backlog,
        )

    run(make, config=config, data=data, host=host, port=port)
