"""``headwater audit``: compares sources, ledger and index, and mends what differs when it is told to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ops.commands.common import located, settings_of
from ops.showing import counted, plain

if TYPE_CHECKING:
    from ops.auditing import Audited
    from ops.settings import Settings
    from ops.syncing import Synced


@click.command("audit")
@click.option("--repair", is_flag=True, help="Mend what differs, and wait until it is searchable.")
@click.option("--deep", is_flag=True, help="Check every text, and embed every chunk anew to compare vectors.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@located
def command(repair: bool, deep: bool, as_json: bool, config: Path | None, data: Path | None) -> None:
    """Compare what the sources hold, what the ledger knows and what the index holds.

    Without --repair nothing is changed, and the command ends with 1 if anything differs. Beside a
    running daemon, that does the work of a repair; without one it is done here.
    """
    from ops.auditing import audit, still_marked

    settings = settings_of(config, data)
    names = [one.name for one in settings.sources]
    if deep and not as_json:
        click.echo("embedding every chunk anew: this takes as long as a first index", err=True)
    audited = audit(settings, names, repair=repair, deep=deep)
    synced = _carried_out(settings, names, quiet=as_json) if audited.to_be_carried_out else None
    left = still_marked(settings) if repair else 0
    if as_json:
        click.echo(json.dumps(_as_json(audited, synced, left), indent=2))
    else:
        for line in shown(audited, synced, left):
            click.echo(line)
    if not _is_in_order(audited, synced, left):
        raise SystemExit(1)


def _carried_out(settings: Settings, names: list[str], *, quiet: bool) -> Synced:
    from ops.commands.sync import carried_out

    return carried_out(settings, names, quiet=quiet)


def _is_in_order(audited: Audited, synced: Synced | None, left: int) -> bool:
    if not audited.audit.repair:
        return audited.audit.clean
    return not audited.audit.faults and not left and (synced is None or synced.complete)


def shown(audited: Audited, synced: Synced | None, left: int) -> Iterator[str]:
    """What was found and done, for people."""
    from ops.drift import phrases

    audit, findings = audited.audit, audited.findings
    for fault in audit.faults:
        yield plain(fault)
    for kind, phrase in phrases(audit.found):
        yield phrase
        names = findings.examples.get(kind, [])
        yield from (f"  {plain(name)}" for name in names)
        if names and audit.found[kind] > len(names):
            yield "  ..."
    compared = f"{counted(audit.chunks, 'chunk')} compared"
    if audit.deep:
        compared += ", the texts and vectors of all of them too"
    if not audit.found:
        yield f"No drift: {compared}."
    elif not audit.repair:
        yield f"{compared}; nothing was changed. To have it mended: headwater audit --repair"
    else:
        yield from _mended(audited, synced, left)


def _mended(audited: Audited, synced: Synced | None, left: int) -> Iterator[str]:
    from ingestion.records import Drift
    from ops.commands.sync import shown as shown_sync

    deleted = audited.audit.mended.get(Drift.CHUNK_UNKNOWN, 0)
    if deleted:
        yield f"Deleted {counted(deleted, 'chunk')} from the index."
    if audited.findings.documents:
        yield f"Made {counted(audited.findings.documents, 'document')} ready to be embedded again."
    if synced is not None:
        yield from shown_sync(synced)
    if left:
        yield (
            f"{counted(left, 'chunk')} cannot be made again yet: their documents are held, dead letters, or "
            "of sources that are not in the settings. See: headwater status"
        )
    elif synced is None or synced.complete:
        yield "Everything that differed is mended."


def _as_json(audited: Audited, synced: Synced | None, left: int) -> dict[str, object]:
    from ops.drift import audit_json

    return audit_json(audited.audit) | {
        "in_order": _is_in_order(audited, synced, left),
        "examples": {kind.value: names for kind, names in audited.findings.examples.items()},
        "documents_made_again": audited.findings.documents,
        "chunks_left": left,
    }
