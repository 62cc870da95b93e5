"""``headwater export``: every live chunk as JSON lines, as of one moment."""

from __future__ import annotations

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


@click.command("export")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A file; else standard output.")
@located
def command(out: Path | None, config: Path | None, data: Path | None) -> None:
    """Write every live chunk as a line of JSON: ids, place, heading and text.

    The lines are those of one moment, whatever is published meanwhile. An existing file is replaced
    only once the export is complete; a device or a pipe is written to.
    """
    with opened_ledger(settings_of(config, data)) as ledger:
        if out is None:
            if sys.stdout is None:
                raise click.ClickException("The standard output is closed; name a file with --out.")
            _spooled(ledger, sys.stdout.buffer)
        else:
            number = _to_file(ledger, Path(os.path.realpath(out)))
            click.echo(f"{counted(number, 'chunk')} written to {plain(str(out))}", err=True)


def _spooled(ledger: Ledger, into: IO[bytes]) -> int:
    with tempfile.TemporaryFile() as spool:
        text = io.TextIOWrapper(spool, encoding="utf-8", errors="backslashreplace")
        number = _export(ledger, text)
        text.flush()
        spool.seek(0)
        shutil.copyfileobj(spool, into)
        text.detach()
    return number


def _to_file(ledger: Ledger, out: Path) -> int:
    """``out`` is no symbolic link: what it leads to would stay as it was."""
    try:
        if out.exists() and not out.is_file():
            with out.open("wb") as device:
                return _spooled(ledger, device)
        return _replaced(ledger, out)
    except OSError as error:
        raise click.ClickException(
            plain(f"{out} could not be written ({error.strerror or error}); nothing was changed.")
        ) from error


def _replaced(ledger: Ledger, out: Path) -> int:
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
            number = _export(ledger, file)
            file.flush()
            os.fchmod(file.fileno(), 0o666 & ~_umask())
            temporary.replace(out)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return number


def _export(ledger: Ledger, file: IO[str]) -> int:
    from ops.exporting import export
    from retrieval.index.embedded import EmbeddedIndex

    return export(ledger, EmbeddedIndex(ledger.database), file)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
