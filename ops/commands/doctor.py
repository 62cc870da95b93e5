"""``headwater doctor``: what is wrong here, and what to do."""

from __future__ import annotations

from pathlib import Path

import click

from ops.commands.common import located, settings_of


@click.command("doctor")
@located
def command(config: Path | None, data: Path | None) -> None:
    """Check the machine, the data, the sources and the service; say what to do.

    Ends with code 1 if something is wrong.
    """
    from ingestion.clock import SystemClock
    from ops.doctor import examine, is_wrong

    found = []
    for finding in examine(settings_of(config, data), SystemClock()):
        found.append(finding)
        click.echo(f"{finding.verdict:<6}{finding.about}: {finding.what}")
        if finding.remedy:
            click.echo(f"      -> {finding.remedy}")
    if is_wrong(found):
        raise SystemExit(1)
