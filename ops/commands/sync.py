"""``headwater sync``: look now, and carry out what was found; or say what would be done."""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ops.commands.common import located, settings_of
from ops.showing import counted, held_are_served, plain, reason_for

if TYPE_CHECKING:
    from ingestion.ledger.views import DocumentView
    from ops.foreseeing import Foreseen
    from ops.settings import Settings
    from ops.syncing import Synced

DEAD_SHOWN = 10


@click.command("sync")
@click.argument("source", required=False)
@click.option("--dry-run", is_flag=True, help="Say what would be embedded and retired; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@located
def command(source: str | None, dry_run: bool, as_json: bool, config: Path | None, data: Path | None) -> None:
    """Look at every source now, or at one, and wait until what was found is searchable.

    Beside a running daemon, that does the work; without one it is done here.
    """
    settings = settings_of(config, data)
    names = _names(settings, source)
    if dry_run:
        _dry_run(settings, names, as_json)
        return
    synced = carried_out(settings, names, quiet=as_json)
    if as_json:
        click.echo(json.dumps(_as_json(synced), indent=2))
    else:
        for line in shown(synced):
            click.echo(line)
    if not synced.complete:
        raise SystemExit(1)


def shown(synced: Synced) -> Iterator[str]:
    """What was done, for people."""
    for one in synced.listed:
        parts = [
            f"{one.wanted:,} new or changed",
            f"{one.moved:,} renamed",
            f"{one.retired:,} retired",
            f"{one.held:,} held",
            f"{one.skipped:,} skipped",
            f"{one.unchanged:,} unchanged",
        ]
        yield f"{one.source}: {', '.join(part for part in parts if not part.startswith('0 ')) or 'empty'}"
        if one.fault:
            yield f"  {plain(one.fault)}"
        if one.held or synced.lost.get(one.source):
            yield f"  Held documents are not there. {held_are_served(synced.lost.get(one.source, 0))}"
            yield f"  If they are really gone: headwater approve {one.source}"
    for view in synced.dead[:DEAD_SHOWN]:
        yield f"{_name(view)} is a dead letter {_reason(view)}"
    if synced.dead:
        yield f"{counted(len(synced.dead), 'dead letter')}. Mend the cause, then: headwater dead replay --all"
    for view in synced.waiting:
        yield f"{_name(view)} waits for another attempt {_reason(view)}"
    if synced.reason:
        yield plain(synced.reason)


def _name(view: DocumentView) -> str:
    return plain(f"{view.source}/{view.uri}")


def _reason(view: DocumentView) -> str:
    return reason_for(f"{view.source}/{view.uri}", view.error)


def _names(settings: Settings, source: str | None) -> list[str]:
    names = [one.name for one in settings.sources]
    if not names:
        raise click.UsageError("The settings name no source. Start with: headwater up FOLDER")
    if source is not None and source not in names:
        raise click.UsageError(f"There is no source {source!r}; there are: {', '.join(names)}.")
    return [source] if source is not None else names


def carried_out(settings: Settings, names: Sequence[str], *, quiet: bool) -> Synced:
    """Look at these sources, and wait until what was found is searchable; told on the terminal unless
    ``quiet``."""
    from ingestion.clock import SystemClock
    from ops.printing import Printing
    from ops.progress import PlainMeter, meter_for
    from ops.syncing import sync

    clock, stop = SystemClock(), Interrupt()
    meter = (
        PlainMeter(lambda line: None, clock.monotonic)
        if quiet
        else meter_for(sys.stdout, click.echo, clock.monotonic)
    )
    printing = Printing(meter, clock)
    try:
        with stop:
            return sync(
                settings,
                names,
                listener=printing.outcome,
                remaining=printing.backlog,
                stopping=lambda: stop.asked,
            )
    finally:
        printing.close()


class Interrupt:
    """The first Ctrl-C asks, so that what is claimed is handed back; the second one breaks off."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGINT, self._ask)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _ask(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


def _dry_run(settings: Settings, names: Sequence[str], as_json: bool) -> None:
    from ops.foreseeing import foresee
    from ops.opening import data_file
    from ops.wiring import open_parts

    with tempfile.TemporaryDirectory(prefix="headwater-") as scratch:
        # Nothing was indexed yet, and nothing is to be written.
        if settings.ledger.url is None and not data_file(settings).exists():
            daemon = settings.daemon.model_copy(update={"data": Path(scratch)})
            settings = settings.model_copy(update={"daemon": daemon})
        parts = open_parts(settings)
        try:
            counted_texts: set[str] = set()
            foreseen = [foresee(parts, name, counted_texts) for name in names]
        finally:
            parts.close()
    if as_json:
        click.echo(json.dumps({"sources": [dataclasses.asdict(one) for one in foreseen]}, indent=2))
    else:
        for line in foretold(foreseen):
            click.echo(line)
    if any(one.fault for one in foreseen):
        raise SystemExit(1)


def foretold(foreseen: Sequence[Foreseen]) -> Iterator[str]:
    """What would be done, for people."""
    for one in foreseen:
        for action, uri, reason in one.decisions:
            yield f"{action:<7} {plain(f'{one.source}/{uri}')}  {plain(reason)}"
        if one.fault:
            yield f"{one.source}: {plain(one.fault)}"
            continue
        retired = sum(action == "retire" for action, _, _ in one.decisions)
        yield (
            f"{one.source}: would embed {counted(one.texts, 'text')} ({_weight(one)}) "
            f"and retire {counted(retired, 'document')}. Nothing was written."
        )


def _weight(one: Foreseen) -> str:
    tokens = counted(one.tokens, "token")
    if one.characters is None:
        return tokens
    price = "" if one.cost is None else f", at your price about {one.cost:,.4f}"
    return f"{counted(one.characters, 'character')}, about {tokens}{price}"


def _as_json(synced: Synced) -> dict[str, object]:
    return {
        "complete": synced.complete,
        "reason": synced.reason,
        "sources": [
            {**dataclasses.asdict(one), "held_lost": synced.lost.get(one.source, 0)} for one in synced.listed
        ],
        "dead": [_failed(view) for view in synced.dead],
        "waiting": [_failed(view) for view in synced.waiting],
    }


def _failed(view: DocumentView) -> dict[str, object]:
    return {"source": view.source, "uri": view.uri, "attempts": view.attempts, "error": view.error}
