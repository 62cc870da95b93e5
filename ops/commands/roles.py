"""What the commands of the roles share: options, and the way from a command line to a process."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ops.commands.common import located

if TYPE_CHECKING:
    from ingestion.clock import Clock
    from ops.printing import Printing
    from ops.roles.process import Role
    from ops.settings import Settings

LINE_EVERY_S = 30.0  # of progress: logs of many processes are read together

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def served(function: Decorated) -> Decorated:
    """Adds ``--host`` and ``--port``, and what every command takes."""
    function = click.option(
        "--port", type=click.IntRange(0, 65535), help="Answer /healthz, /readyz and /metrics on this port."
    )(function)
    function = click.option("--host", help="The address to answer on (default: the settings').")(function)
    return located(function)


def run(
    make: Callable[[Settings, Clock, Printing], Role],
    *,
    config: Path | None,
    data: Path | None,
    host: str | None,
    port: int | None,
    always_serves: bool = False,
) -> None:
    """Run a role until it is asked to end. ``port`` None: no HTTP, unless it ``always_serves``: then the
    settings' port."""
    from ingestion.clock import SystemClock
    from ops.commands.common import settings_of
    from ops.outages import Outages
    from ops.printing import Printing
    from ops.progress import PlainMeter

    settings = settings_of(config, data, host)
    from ops.ending import end_now
    from ops.roles.health import Health  # the rooms are imported only once the settings are right
    from ops.roles.process import run_role

    clock = SystemClock()
    outages = Outages(clock)
    meter = PlainMeter(_write, clock.monotonic, every_s=LINE_EVERY_S)
    printing = Printing(meter, clock, begins=outages.begins)
    if always_serves and port is None:
        port = settings.daemon.port
    health = Health(settings, host=settings.daemon.host, port=port)
    code = run_role(settings, make(settings, clock, printing), health, printing, outages, clock)
    end_now(code)  # everything is closed; the interpreter's own end waits for threads of libraries


def _write(line: str) -> None:
    """Lines reach a pipe or a log at once. A disk that is full or a reader that left ends no service."""
    with contextlib.suppress(OSError):
        click.echo(line)
        sys.stdout.flush()
