"""What several commands need: where the settings and the data are, and the ledger without the rest."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ingestion.ledger.ledger import Ledger
    from ops.settings import Settings

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class GivenPath(click.Path):
    """A path that was really given. An empty one, of a variable not set, would be the current folder."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("is empty; name a folder or a file.", param, ctx)
        return super().convert(value, param, ctx)


_PATH = GivenPath()


def located(function: Decorated) -> Decorated:
    """Adds ``--config`` and ``--data``."""
    function = click.option(
        "--data", type=_PATH, metavar="DIR", help="The data folder (default: the settings')."
    )(function)
    return click.option(
        "--config", type=_PATH, metavar="FILE", help="The settings file (default: ./headwater.toml)."
    )(function)


def places(ctx: click.Context, config: Path | None, data: Path | None) -> tuple[Path | None, Path | None]:
    """``--config`` and ``--data`` of a command in a group, which takes them, too: they may stand before or
    after the command's name."""
    before: tuple[Path | None, Path | None] = ctx.obj
    return config or before[0], data or before[1]


def settings_of(config: Path | None, data: Path | None, host: str | None = None) -> Settings:
    """The settings in force. Where they name no source, those that ``up`` was last given for this data
    folder count: so a second terminal needs no arguments. Raises WrongSettings."""
    from ops.remembered import with_remembered_sources
    from ops.settings import load

    return with_remembered_sources(load(config, arguments={"daemon.data": data, "daemon.host": host}))


@contextlib.contextmanager
def opened_ledger(settings: Settings) -> Iterator[Ledger]:
    """The ledger, for commands that embed nothing. Raises Misconfigured where there is no data yet."""
    from ops.opening import open_ledger

    ledger = open_ledger(settings)
    try:
        yield ledger
    finally:
        ledger.database.close()


def source_names(ledger: Ledger) -> list[str]:
    return [state.name for state in ledger.sources.all() if not state.is_own]


def require_source(ledger: Ledger, name: str) -> None:
    """Raises a usage error for a source that the ledger does not know."""
    known = source_names(ledger)
    if name not in known:
        raise click.UsageError(f"There is no source {name!r}; there are: {', '.join(known) or 'none yet'}.")
