"""The command line: which commands there are, and what becomes of errors. Each command is a module of
``ops.commands``, imported when it is asked for; importing one costs next to nothing.

Exit codes: 0 done, 1 something is wrong with the data or the service, 2 wrong usage or settings.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from ingestion.errors import BadQuery, HeadwaterError, ModelMissing, WrongEdition, WrongSettings
from ops.showing import plain_lines

COMMANDS = (
    "up",
    "search",
    "status",
    "check",
    "sources",
    "source",
    "sql",
    "sync",
    "rebuild",
    "explain",
    "dead",
    "approve",
    "audit",
    "export",
    "doctor",
    "hash-key",
    "watch",
    "worker",
    "schedule",
    "api",
    "exporter",
)
"""In the order of the help."""

_FAULTS_OF_WHO_ASKS = (BadQuery, WrongSettings, ModelMissing, WrongEdition)


class Commands(click.Group):
    """Finds each command in its module, and turns the project's errors into a message and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"ops.commands.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except HeadwaterError as error:
            for line in plain_lines(_told(error)):
                click.echo(line, err=True)
            ctx.exit(exit_code(error))


def _told(error: HeadwaterError) -> str:
    field = f"{error.field}: " if isinstance(error, BadQuery) and error.field else ""
    return "\n".join(part for part in (field + error.message, error.hint) if part)


def exit_code(error: HeadwaterError) -> int:
    """2 where the question or the settings are to be changed, else 1."""
    return 2 if isinstance(error, _FAULTS_OF_WHO_ASKS) else 1


def _show_version(ctx: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        from ops.version import version

        click.echo(f"headwater {version()}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def headwater() -> None:
    """Keeps a knowledge base current, and says how fresh every answer is.

    Start with: headwater up FOLDER
    """


def main() -> None:
    """The entry point of the program ``headwater``."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # whatever a terminal cannot show
    headwater(prog_name="headwater")


if __name__ == "__main__":
    main()
