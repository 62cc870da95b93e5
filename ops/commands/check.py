"""``headwater check``: whether the sources are kept current, in an exit code."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import click

from ops.commands.common import located, opened_ledger, require_source, settings_of
from ops.showing import plain

_UNITS_S = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")


class Span(click.ParamType[float]):
    """A length of time: ``60s``, ``1.5m``, ``2h``; a number alone is of seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = _SPAN.fullmatch(str(value).strip().lower())
        if found is None or found[2] not in _UNITS_S:
            self.fail(f"{value!r} is no length of time; write it as 60s, 5m, 2h or 1d.", param, ctx)
        seconds = float(found[1]) * _UNITS_S[found[2]]
        if not 0.0 < seconds < math.inf:
            self.fail("A lag can be no smaller than that.", param, ctx)
        return seconds


@click.command("check")
@click.option("--source", "names", multiple=True, metavar="SOURCE", help="Only this one; may be repeated.")
@click.option(
    "--max-lag",
    "max_lag_s",
    type=Span(),
    metavar="TIME",
    help="What a change may take, such as 60s or 5m (default: the objective's within_s).",
)
@located
def command(names: tuple[str, ...], max_lag_s: float | None, config: Path | None, data: Path | None) -> None:
    """Say of each source whether it is kept current; for cron and CI.

    Ends with code 0 if every one is current or idle, and with 1 if one is not.
    """
    from ops import backlog
    from ops.promises import judged

    with opened_ledger(settings_of(config, data)) as ledger:
        for name in names:
            require_source(ledger, name)
        found = [one for one in backlog.look(ledger).active if not names or one.state.name in names]
        now = ledger.now()
        verdicts = {one.state.name: judged(one, ledger, now, max_lag_s) for one in found}
    if missing := sorted(set(names) - verdicts.keys()):
        raise click.UsageError(f"{', '.join(missing)}: not in the settings now; nothing keeps it current.")
    if not verdicts:
        raise click.UsageError("There is no source to check.")
    width = max(len(name) for name in verdicts)
    for name, one in verdicts.items():
        click.echo(f"{name:<{width}}  {one.verdict:<8}  {plain(one.reason)}")
    if not all(one.good for one in verdicts.values()):
        raise SystemExit(1)
