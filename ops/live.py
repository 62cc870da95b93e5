"""``headwater status --watch``: the state of everything, drawn again every second until Ctrl-C.

Fits into 80 columns, and into the lines there are: sources that owe something come first.
"""

from __future__ import annotations

import datetime
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ingestion.errors import HeadwaterError
from ingestion.ledger.views import LatestView
from ops.latest import changes, errors, rates
from ops.showing import ago, duration, milliseconds, plain, reason_for, seconds_of

Json = dict[str, Any]

EVERY_S = 1.0
NOTICED_S = 0.1  # so soon is Ctrl-C noticed
MOST_CHANGES = 8
MOST_ERRORS = 4
TROUBLES = 2  # told in words: a canary's first, then sources'
FRAME_LINES = 14  # beside the sources, changes and errors themselves
_COLOURS = {
    "current": "green",
    "idle": "green",
    "lagging": "yellow",
    "held": "yellow",
    "partial": "yellow",
    "starved": "red",
    "stuck": "red",
    "blind": "red",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One look: the status report, what happened last, and the ledger's time."""

    report: Json
    latest: Sequence[LatestView]
    now: float


@dataclass(frozen=True, slots=True)
class _Room:
    """How many lines each part has."""

    sources: int
    changes: int
    errors: int

    @classmethod
    def within(cls, height: int) -> _Room:
        left = max(6, height - FRAME_LINES)
        newest, failed = min(MOST_CHANGES, left * 2 // 5), min(MOST_ERRORS, left // 5)
        return cls(left - newest - failed, newest, failed)


def watch(look: Callable[[], Seen], console: Console, pause: Callable[[float], None] = time.sleep) -> None:
    """Draw until Ctrl-C or SIGTERM; the terminal is left as it was. A ledger that is away is waited for."""
    end = _End()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end.tell)
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while not end.told:
                live.update(_drawn(look, console), refresh=True)
                end.wait(EVERY_S, pause)
    except KeyboardInterrupt:
        return


class _End:
    """Ctrl-C, or SIGTERM. The first only makes a note: an exception out of nowhere is lost where a library
    happens to clean up. Who cannot wait for a look under way presses again."""

    told = False

    def tell(self, *_: object) -> None:
        if self.told:
            raise KeyboardInterrupt
        self.told = True

    def wait(self, seconds: float, pause: Callable[[float], None]) -> None:
        for _ in range(round(seconds / NOTICED_S)):
            if self.told:
                return
            pause(NOTICED_S)


def _drawn(look: Callable[[], Seen], console: Console) -> RenderableType:
    try:
        return frame(look(), console.height)
    except HeadwaterError as error:
        return Text(plain(f"{error}  It is asked again."), style="red")


def frame(seen: Seen, height: int) -> RenderableType:
    """Everything, in as many lines as there are."""
    room = _Room.within(height)
    report = seen.report
    return Group(
        _title(report, seen.now),
        Text(),
        _sources(report["sources"], room.sources),
        Text(),
        *_lanes(report, seen),
        Text(),
        _events("newest changes", changes(seen.latest, room.changes), "none yet", (3, 1)),
        Text(),
        _events("newest errors", errors(seen.latest, room.errors), "none", (2, 3)),
    )


def _title(report: Json, now: float) -> RenderableType:
    fresh = report["fresh_as_of"]
    age = "not known yet" if fresh is None else ago(now - seconds_of(fresh))
    line = Table.grid(expand=True)
    line.add_column(no_wrap=True)
    line.add_column(justify="right", no_wrap=True)
    line.add_row(
        Text.assemble((f"Headwater {report['version']}", "bold"), f"  fresh as of: {age}"),
        f"{_time_of_day(now)}  Ctrl-C ends",
    )
    return line


def _sources(sources: Sequence[Json], room: int) -> RenderableType:
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("source", no_wrap=True, ratio=1, min_width=10, overflow="ellipsis")
    table.add_column("", no_wrap=True)
    for name in ("lag", "live", "pending", "failed", "held", "p95", "budget"):
        table.add_column(name, justify="right", no_wrap=True)
    active = sorted((one for one in sources if one["active"]), key=_urgency)
    for source in active[:room]:
        table.add_row(*_row(source))
    if len(active) <= room:
        return table
    return Group(table, Text(f"... and {len(active) - room:,} more"))


def _urgency(source: Json) -> tuple[bool, float, str]:
    """What owes most first; what is in order by name."""
    fine = _COLOURS.get(_verdict(source), "") == "green"
    return fine, -source["index_lag_s"], source["name"]


def _row(source: Json) -> Iterator[RenderableType]:
    """Objectives are told where the report has them."""
    counts, verdict = source["documents"], _verdict(source)
    hour = source.get("last_hour", {}).get("changes", {}).get("p95_s")
    budget = source.get("error_budget_left")
    yield Text(plain(source["name"]))
    yield Text(verdict, style=_COLOURS.get(verdict, ""))
    yield duration(source["index_lag_s"])
    for state in ("live", "pending", "failed", "held"):
        number = counts.get(state, 0)
        yield Text(f"{number:,}", style="red" if number and state in ("failed", "held") else "")
    yield "-" if hour is None else milliseconds(hour)
    yield "-" if budget is None else f"{budget * 100:.0f} %"


def _verdict(source: Json) -> str:
    """The report's, else what can be told without one."""
    given: str | None = source.get("verdict")
    return given or ("fault" if source["fault"] else "")


def _lanes(report: Json, seen: Seen) -> Iterator[RenderableType]:
    for lane in report["lanes"]:
        oldest = lane["oldest_age_s"]
        age = "" if oldest is None else f", the oldest change {duration(oldest)} ago"
        yield Text(f"{lane['lane']:<6} {lane['pending']:,} waiting{age}", no_wrap=True, overflow="ellipsis")
    pace = rates(seen.latest, seen.now)
    yield Text(f"rates  {pace.documents:.1f} documents/s, {pace.texts:.1f} texts/s in the last minute")
    yield from [*_silent(report["canaries"]), *_troubles(report["sources"])][:TROUBLES]


def _silent(canaries: Sequence[Json]) -> Iterator[RenderableType]:
    for canary in canaries:
        if canary["silent"]:
            yield Text("canary: it is silent", style="yellow")
        elif canary["failed"] is not None:
            told = plain(f"canary: its {canary['failed']} failed. {canary['detail']}")
            yield Text(told, style="yellow", no_wrap=True, overflow="ellipsis")


def _troubles(sources: Sequence[Json]) -> Iterator[RenderableType]:
    for source in sorted(sources, key=_urgency):
        if source["active"] and (why := source["fault"] or _reason(source)):
            told = plain(f"{source['name']}: {why}")
            yield Text(told, style="yellow", no_wrap=True, overflow="ellipsis")


def _reason(source: Json) -> str | None:
    """Why a verdict is no good one."""
    return None if _COLOURS.get(_verdict(source)) in (None, "green") else source.get("reason")


def _events(
    title: str, events: Sequence[LatestView], nothing: str, shares: tuple[int, int]
) -> RenderableType:
    """``shares``: how the room is divided between names and what is said of them."""
    table = Table.grid(expand=True, padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, ratio=shares[0], overflow="ellipsis")
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, ratio=shares[1], overflow="ellipsis")
    for one in events:
        name, said = Text(plain(one.name)), Text(_said(one))
        table.add_row(_time_of_day(one.finished_at), name, one.outcome, said)
    return Group(Text(title, style="bold"), table if events else Text(nothing))


def _said(one: LatestView) -> str:
    if one.detail:
        return reason_for(one.name, one.detail)
    if one.changed_at is None:
        return ""
    return f"after {milliseconds(max(0.0, one.finished_at - one.changed_at))}"


def _time_of_day(at: float) -> str:
    try:
        local = datetime.datetime.fromtimestamp(at, datetime.UTC).astimezone()
    except (OverflowError, ValueError, OSError):  # of a clock that is far off
        return "--:--:--"
    return local.strftime("%H:%M:%S")
