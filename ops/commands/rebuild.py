"""``headwater rebuild``: another index beside the live one, with another model or anew, and the switch."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ops.commands.common import GivenPath, located, opened_ledger, settings_of
from ops.showing import counted, duration, moment, plain, seconds_of

if TYPE_CHECKING:
    from ingestion.ledger.ledger import Ledger
    from ingestion.ledger.values import Building, EditionView, Gate
    from ops.settings import Settings

Json = dict[str, Any]
Work = Callable[[], None]

POLL_S = 0.2
KEEP_HOURS = 24.0
_ACTIONS = ("pause", "resume", "cancel", "back", "status")


@click.command("rebuild")
@click.option("--model", help="The model of the new index (default: that of the settings).")
@click.option("--min-recall", type=click.FloatRange(0, 1), help="Do not switch below this recall.")
@click.option("--queries", type=GivenPath(), metavar="FILE", help="Questions for it, as JSON lines.")
@click.option("--accept-failed", is_flag=True, help="Switch even if documents failed in the new index.")
@click.option(
    "--keep",
    "keep_hours",
    type=click.FloatRange(0),
    default=KEEP_HOURS,
    show_default=True,
    help="Hours for which the index before is kept for --back.",
)
@click.option("--wait", is_flag=True, help="Show the progress until searches go to the new index.")
@click.option("--pause", is_flag=True, help="Build no more until --resume.")
@click.option("--resume", is_flag=True, help="Go on building.")
@click.option("--cancel", is_flag=True, help="Give up the index that is being built.")
@click.option("--back", is_flag=True, help="Let searches go to the index before, which was kept up to date.")
@click.option("--status", is_flag=True, help="How far it is.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@located
def command(
    model: str | None,
    min_recall: float | None,
    queries: Path | None,
    keep_hours: float,
    accept_failed: bool,
    wait: bool,
    as_json: bool,
    config: Path | None,
    data: Path | None,
    **actions: bool,
) -> None:
    """Build another index beside the live one and let searches go to it, without a pause.

    Edits go to both. A running daemon does the work; without one it is done here.
    """
    asked = [name for name in _ACTIONS if actions[name]]
    _check(asked, model, min_recall, queries, accept_failed=accept_failed)
    from ops.rebuilding import read_gate

    settings = settings_of(config, data)
    gate = None if min_recall is None or queries is None else read_gate(min_recall, queries)
    with opened_ledger(settings) as ledger:
        reason = _done(
            settings,
            ledger,
            asked[0] if asked else None,
            model=model,
            gate=gate,
            accept_failed=accept_failed,
            keep_s=keep_hours * 3600,
            wait=wait,
            quiet=as_json,
        )
        _say(ledger, settings, reason, as_json=as_json)
    if reason:
        raise SystemExit(1)


def _check(
    asked: list[str],
    model: str | None,
    min_recall: float | None,
    queries: Path | None,
    *,
    accept_failed: bool,
) -> None:
    if len(asked) > 1:
        raise click.UsageError(f"Give one of {', '.join(f'--{one}' for one in asked)}.")
    if (min_recall is None) != (queries is None):
        raise click.UsageError("--min-recall and --queries belong together.")
    if asked and model is not None:
        raise click.UsageError(f"--model is for a new index, not for --{asked[0]}.")
    if asked not in ([], ["resume"]) and (min_recall is not None or accept_failed):
        raise click.UsageError(f"--min-recall and --accept-failed are not for --{asked[0]}.")


def _done(
    settings: Settings,
    ledger: Ledger,
    action: str | None,
    *,
    model: str | None,
    gate: Gate | None,
    accept_failed: bool,
    keep_s: float,
    wait: bool,
    quiet: bool,
) -> str:
    """Do what was asked; returns what keeps it from being complete."""
    from ops.rebuilding import Wish, begin

    if action == "status":
        return _awaited(settings, ledger, quiet=quiet) if wait else ""
    if action == "back":
        return _back(settings, ledger)
    if action is None:
        begin(settings, ledger, Wish(model, gate, accept_failed, keep_s))
    else:
        building = _building(ledger)
        if action == "cancel":
            ledger.editions.cancel()
            return ""
        if action == "pause":
            ledger.editions.pause(building.edition)
            return ""
        ledger.editions.resume(building.edition, gate, accept_failed=accept_failed)
    return _awaited(settings, ledger, quiet=quiet) if wait or not _others_work(settings) else ""


def _building(ledger: Ledger) -> EditionView:
    from ingestion.errors import Misconfigured
    from ingestion.ledger.values import EditionState

    view = ledger.editions.in_state(EditionState.BUILDING)
    if view is None:
        raise Misconfigured("No index is being built.", hint="Begin one with: headwater rebuild")
    return view


def _others_work(settings: Settings) -> bool:
    from ops.rebuilding import others_work

    return others_work(settings)


def _awaited(settings: Settings, ledger: Ledger, *, quiet: bool) -> str:
    from ops.rebuilding import await_switch

    edition = _building(ledger).edition
    stop = _stop()
    with stop, _worker(settings, ledger, lambda: stop.asked) as (book, work), _meter(quiet) as told:
        return await_switch(book, edition, told, lambda: stop.asked, work)


def _back(settings: Settings, ledger: Ledger) -> str:
    from ops.rebuilding import go_back, kept_edition, went_back
    from ops.stores import make_index

    kept = kept_edition(ledger)
    with contextlib.closing(make_index(settings, ledger.database)) as index:
        if went_back(ledger, index, kept):
            return ""
        stop = _stop()
        with stop, _worker(settings, ledger, lambda: stop.asked) as (_, work):
            go_back(ledger, index, kept, work, lambda: stop.asked)
    return ""


@contextlib.contextmanager
def _worker(
    settings: Settings, ledger: Ledger, stopping: Callable[[], bool]
) -> Iterator[tuple[Ledger, Work]]:
    """The work between two looks: somebody else's, or ours."""
    if _others_work(settings):
        yield ledger, lambda: time.sleep(POLL_S)
        return
    from ops.rebuilding import working_here

    with working_here(settings, stopping) as here:
        yield here


@contextlib.contextmanager
def _meter(quiet: bool) -> Iterator[Callable[[EditionView, Building], None]]:
    from ops.progress import PlainMeter, meter_for

    meter = (
        PlainMeter(_unsaid, time.monotonic) if quiet else meter_for(sys.stdout, click.echo, time.monotonic)
    )
    try:
        yield lambda view, backlog: meter.show(backlog.done, backlog.total)
    finally:
        meter.clear()


def _unsaid(_line: str) -> None:
    return


def _stop() -> Any:
    from ops.commands.sync import Interrupt

    return Interrupt()


def _say(ledger: Ledger, settings: Settings, reason: str, *, as_json: bool) -> None:
    from ingestion.clock import SystemClock
    from ops.editions_report import editions_report

    report = editions_report(ledger, SystemClock())
    if as_json:
        click.echo(json.dumps({**report, "reason": reason}, indent=2))
        return
    for line in shown(report, settings.embedding.model):
        click.echo(line)
    if reason:
        click.echo(plain(reason))


def shown(report: Json, wanted: str) -> Iterator[str]:
    """The editions as lines for people. ``wanted``: the model that the settings name."""
    live, building, kept = report["live"], report["building"], report["kept"]
    if live is not None:
        yield f"searches go to  {live['name']}: {plain(live['description'])}"
    if building is not None:
        yield f"being built     {building['name']}: {plain(building['description'])}"
        yield f"                {_progress(building)}"
        if building["fault"]:
            yield f"                {plain(building['fault'])}"
    if kept is not None:
        until = f", until {moment(seconds_of(kept['until']))}" if kept["until"] else ""
        yield f"kept            {kept['name']}: {plain(kept['description'])}{until}. headwater rebuild --back"
    if live is not None and live["model"] not in (None, wanted) and building is None:
        yield (
            f'The settings name another model. Set embedding.model = "{plain(live["model"])}" there; '
            "until then the index goes on serving, too."
        )


def _progress(building: Json) -> str:
    share = 100 * building["done"] // building["documents"] if building["documents"] else 100
    parts = [f"{building['done']:,} of {counted(building['documents'], 'document')} ({share} %)"]
    if building["failed"]:
        parts.append(f"{building['failed']:,} failed")
    if building["paused"]:
        parts.append("paused: headwater rebuild --resume")
    elif building["left_s"] is not None:
        parts.append(f"about {duration(building['left_s'])} left")
    return ", ".join(parts)
