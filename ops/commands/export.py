"""``headwater export``: every live chunk as JSON lines, as of one moment."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from ops.commands.common import located, opened_ledger, settings_of
from ops.showing import counted, plain

if TYPE_CHECKING:
    from ingestion.ledger.ledger import Ledger
    from retrieval.index.port import Index


@click.command("export")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A file; else standard output.")
@located
def command(out: Path | None, config: Path | None, data: Path | None) -> None:
    """Write every live chunk as a line of JSON: ids, place, heading and text.

    The lines are those of one moment, whatever is published meanwhile. An existing file is replaced
    only once the export is complete; a device or a pipe is written to.
    """
    from ops.stores import make_index

    settings = settings_of(config, data)
    with (
        opened_ledger(settings) as ledger,
        contextlib.closing(make_index(settings, ledger.database)) as index,
    ):
        if out is None:
            if sys.stdout is None:
                raise click.ClickException("The standard output is closed; name a file with --out.")
            _spooled(ledger, index, sys.stdout.buffer)
        else:
            number = _to_file(ledger, index, Path(os.path.realpath(out)))
            click.echo(f"{counted(number, 'chunk')} written to {plain(str(out))}", err=True)


def _spooled(ledger: Ledger, index: Index, into: IO[bytes]) -> int:
    with tempfile.TemporaryFile() as spool:
        text = io.TextIOWrapper(spool, encoding="utf-8", errors="backslashreplace")
        number = _export(ledger, index, text)
        text.flush()
        spool.seek(0)
        shutil.copyfileobj(spool, into)
        text.detach()
    return number


def _to_file(ledger: Ledger, index: Index, out: Path) -> int:
    """``out`` is no symbolic link: what it leads to would stay as it was."""
    try:
        if out.exists() and not out.is_file():
            with out.open("wb") as device:
                return _spooled(ledger, index, device)
        return _replaced(ledger, index, out)
    except OSError as error:
        raise click.ClickException(
            plain(f"{out} could not be written ({error.strerror or error}); nothing was changed.")
        ) from error


def _replaced(ledger: Ledger, index: Index, out: Path) -> int:
    with tempfile.NamedTemporaryFile(
        "w+",
        dir=out.parent,
        prefix=f".{out.name[:100]}.",
        encoding="utf-8",
        errors="backslashreplace",
        delete=False,
    ) as file:
        temporary = Path(file.name)
        try:
            number = _export(ledger, index, file)
            file.flush()
            os.fchmod(file.fileno(), 0o666 & ~_umask())
            temporary.replace(out)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return number


def _export(ledger: Ledger, index: Index, file: IO[str]) -> int:
    from ops.exporting import export

    return export(ledger, index, file)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
