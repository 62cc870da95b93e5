"""``headwater status``: what is known now, beside a running daemon or without one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ops.commands.common import located, opened_ledger, settings_of
from ops.showing import ago, counted, duration, held_are_served, moment, plain, seconds_of, size

if TYPE_CHECKING:
    from ingestion.ledger.ledger import Ledger
    from ops.settings import Settings

Json = dict[str, Any]


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="What GET /v1/status answers.")
@click.option("--watch", "watched", is_flag=True, help="Show it again every second, until Ctrl-C.")
@located
def command(as_json: bool, watched: bool, config: Path | None, data: Path | None) -> None:
    """Sources, states, lags, what waits and what is wrong, data, model and settings."""
    from ingestion.clock import SystemClock
    from ops.status import status_report

    if as_json and watched:
        raise click.UsageError("--json is said once; leave --watch out.")
    settings = settings_of(config, data)
    with opened_ledger(settings) as ledger:
        if watched and sys.stdout.isatty():
            _watch(settings, ledger)
            return
        report = status_report(settings, ledger, SystemClock())
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    for line in shown(report, seconds_of(report["at"])):
        click.echo(line)


def _watch(settings: Settings, ledger: Ledger) -> None:
    from rich.console import Console

    from ingestion.clock import SystemClock
    from ops.latest import LOOKED_AT
    from ops.live import Seen, watch
    from ops.status import status_report

    def look() -> Seen:
        report = status_report(settings, ledger, SystemClock())
        return Seen(report, ledger.views.latest(LOOKED_AT), ledger.now())

    watch(look, Console(highlight=False, markup=False, emoji=False))


def shown(report: Json, now: float) -> Iterator[str]:
    """The report as lines for people."""
    yield _daemon(report, now)
    yield _freshness(report["fresh_as_of"], now)
    for source in report["sources"]:
        yield ""
        yield from _source(source, now)
    yield ""
    for lane in report["lanes"]:
        oldest = lane["oldest_age_s"]
        age = "" if oldest is None else f", the oldest change {duration(oldest)} ago"
        yield f"{lane['lane']} lane: {lane['pending']:,} waiting{age}"
    if report["dead_letters"]:
        yield f"{counted(report['dead_letters'], 'dead letter')}: see headwater dead"
    yield from (_canary(canary, now) for canary in report["canaries"])
    yield from _audit(report["audit"], now)
    yield ""
    yield from _data(report)
    yield from _model(report["model"])
    yield from _editions(report["editions"], report["model"]["name"])
    yield from _settings(report)


def _daemon(report: Json, now: float) -> str:
    daemon = report["daemon"]
    if daemon is None and report["data"]["broker"]:
        return "No daemon of its own runs here: roles in processes of theirs work beside the broker."
    if daemon is None:
        return "No daemon runs on this data: nothing is kept current. Start one with: headwater up"
    where = f" at {daemon['url']}" if daemon["url"] else ", not listening yet"
    started = ago(now - seconds_of(daemon["started_at"]))
    return f"A daemon runs{where} (pid {daemon['pid']}, version {daemon['version']}, started {started})."


def _freshness(fresh_as_of: str | None, now: float) -> str:
    if fresh_as_of is None:
        return "Fresh as of: not known before every source was listed once."
    at = seconds_of(fresh_as_of)
    return f"Fresh as of {moment(at)} ({ago(now - at)})."


def _source(source: Json, now: float) -> Iterator[str]:
    left = "" if source["active"] else "  (not in service: kept, not served)"
    yield f"{source['name']}  {plain(source['location'])}{left}"
    counts = {state: number for state, number in source["documents"].items() if number}
    states = ", ".join(f"{number:,} {state}" for state, number in counts.items())
    yield f"  documents      {states or 'none'}"
    if source["active"]:
        yield f"  {source['verdict']:<13}  {plain(source['reason'])}"
        yield f"  index lag      {duration(source['index_lag_s'])}"
        yield f"  watermark      {_at(source['watermark'], now)}"
        yield f"  last listing   {_at(source['listed_at'], now)}"
        if source["next_look_at"] and seconds_of(source["next_look_at"]) > now:
            yield f"  next listing   {moment(seconds_of(source['next_look_at']))}"
        if budget := source.get("looks_per_hour"):
            every = duration(3600 / budget)
            yield f"  looks          {budget:,} an hour, one every {every}, where pages change most"
        yield from _promise(source)
    if to_do := source.get("to_do"):
        yield f"  left           no settings that run have it. To have its documents removed: {to_do}"
    if source["fault"]:
        yield f"  fault          {plain(source['fault'])}"
    if held := source["held"]:
        why = plain(", ".join(held["reasons"]))
        yield f"  held           {counted(held['documents'], 'document')} not there: {why}."
        for uri in held["first"]:
            yield f"                 {plain(uri)}"
        if held["documents"] > len(held["first"]):
            yield "                 ..."
        served = held_are_served(held.get("lost", 0))
        yield f"                 {served} If they are really gone: {held['to_do']}"


def _promise(source: Json) -> Iterator[str]:
    """The objective, what was kept of it, and how long changes took."""
    promised = source["objective"]
    yield (
        f"  objective      {promised['share'] * 100:g} % of changes within {promised['within_s']:g} s, "
        f"of deletions within {promised['deletions_within_s']:g} s"
    )
    yield (
        f"  error budget   {source['error_budget_left'] * 100:.0f} % left of "
        f"{counted(promised['over_days'], 'day')}"
    )
    for kind, took in source["last_hour"].items():
        if took["number"]:
            times = ", ".join(f"{name} {duration(took[f'{name}_s'])}" for name in ("p50", "p95", "p99"))
            yield f"  last hour      {counted(took['number'], kind.removesuffix('s'))}: {times}"


def _canary(canary: Json, now: float) -> str:
    about = f"canary: {canary['kind']}, {ago(now - seconds_of(canary['at']))}"
    if canary["silent"]:
        return (
            f"{about}, and silent since: who is to have it sing does not run, or cannot write to the ledger"
        )
    if canary["failed"] is None:
        return f"{about}: " + ", ".join(f"{step} {duration(took)}" for step, took in canary["took_s"].items())
    last = canary["succeeded_at"]
    since = "it never succeeded" if last is None else f"it last succeeded {ago(now - seconds_of(last))}"
    return f"{about}: its {canary['failed']} failed; {since}. {plain(canary['detail'])}"


def _audit(audit: Json | None, now: float) -> Iterator[str]:
    """What the last audit found; whether it still differs is for the next one to say."""
    from ingestion.records import Drift
    from ops.drift import phrases

    if audit is None:
        yield "audit:  none yet"
        return
    what = f"audit:  {ago(now - seconds_of(audit['at']))}, {counted(audit['chunks'], 'chunk')}"
    drift = {Drift(kind): number for kind, number in audit["drift"].items()}
    found = [phrase for _, phrase in phrases(drift)]
    yield f"{what}: {', '.join(found) or 'no drift'}"
    if found:
        to_do = "it was mended" if audit["repair"] else "to have it mended: headwater audit --repair"
        yield f"        {to_do}"
    yield from (f"        {plain(fault)}" for fault in audit["faults"])


def _at(time_of: str | None, now: float) -> str:
    if time_of is None:
        return "none yet"
    at = seconds_of(time_of)
    return f"{moment(at)} ({ago(now - at)})"


def _data(report: Json) -> Iterator[str]:
    data = report["data"]
    where = f"{data['file']}, {size(data['size_bytes'])}" if data["file"] else data["ledger"]
    yield f"data:   {plain(where)}, {counted(report['chunks'], 'chunk')}"
    for name in ("index", "broker"):
        if data[name]:
            yield f"{name + ':':<7} {plain(data[name])}"


def _model(model: Json) -> Iterator[str]:
    yield f"model:  {model['name']}, {plain(model['fault'] or model['path'] or model['url'] or 'built in')}"
    if model["runtime"]:
        yield f"        runtime {model['runtime']}, {model['precision']}: {plain(model['why'])}"
    for other in model["alternatives"]:
        yield f"        or {other['runtime']}: {plain(other['note'])}"
    if measured := model["measured"]:
        yield f"        measured: {measured['texts_per_s']} texts/s with {plain(measured['embedder'])}"
        yield from (f"        not used: {plain(refused)}" for refused in measured["refused"])
    if model["index_made_with"]:
        yield f"        the index was made with: {model['index_made_with']}"


def _editions(editions: Json, wanted: str) -> Iterator[str]:
    from ops.commands.rebuild import shown as shown_editions

    lines = list(shown_editions(editions, wanted))
    if len(lines) > 1:  # something besides the live one, which is told above
        yield "index:  " + lines[0]
        yield from (f"        {line}" for line in lines[1:])


def _settings(report: Json) -> Iterator[str]:
    yield f"settings in force ({plain(report['config'] or 'no file')}):"
    for name, setting in report["settings"].items():
        if setting["from"] != "default":
            yield f"  {name} = {plain(json.dumps(setting['value'], ensure_ascii=False))}  ({setting['from']})"
    defaults = sum(setting["from"] == "default" for setting in report["settings"].values())
    yield f"  {counted(defaults, 'other')} by default (headwater status --json shows all)"
