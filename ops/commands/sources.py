"""``headwater sources``: what kinds of sources there are, with their settings, and which are configured."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ops.commands.common import located, settings_of
from ops.showing import ago, plain

if TYPE_CHECKING:
    from ops.kinds.base import SourceSettings
    from ops.settings import Settings

Json = dict[str, Any]

WIDTH = 100


@click.command("sources")
@click.option("--json", "as_json", is_flag=True, help="The same for programs.")
@located
def command(as_json: bool, config: Path | None, data: Path | None) -> None:
    """Kinds of sources with their settings, and the sources of these settings."""
    report = reported(settings_of(config, data))
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    for line in shown(report):
        click.echo(line)


def reported(settings: Settings) -> Json:
    from ops.kinds import KINDS

    listed = _listed(settings)
    return {
        "kinds": [
            {"kind": word, "about": _about(kind), "settings": list(_settings(kind))}
            for word, kind in KINDS.items()
        ],
        "sources": [
            {
                "name": one.name,
                "kind": one.kind,
                "place": one.place,
                "listed_s_ago": listed.get(one.name),
            }
            for one in settings.sources
        ],
    }


def shown(report: Json) -> Iterator[str]:
    yield "Kinds of sources, and their settings under [[sources]]:"
    for kind in report["kinds"]:
        yield ""
        yield from textwrap.wrap(f"{kind['kind']}: {kind['about']}", WIDTH)
        width = max(len(one["setting"]) for one in kind["settings"])
        for one in kind["settings"]:
            default = "needed" if one["needed"] else one["default"]
            yield f"  {one['setting']:<{width}}  {one['about']}" + (f" ({default})" if default else "")
    yield ""
    if not report["sources"]:
        yield "The settings name no source."
        return
    yield "Sources of these settings:"
    for source in report["sources"]:
        seen = source["listed_s_ago"]
        when = "not looked at yet" if seen is None else f"looked at {ago(seen)}"
        yield f"  {source['name']}  {source['kind']}  {plain(source['place'])}, {when}"


def _listed(settings: Settings) -> dict[str, float]:
    """Seconds since each was last looked at as a whole; nothing where there is no data yet."""
    from ingestion.errors import Misconfigured
    from ops.opening import open_ledger

    try:
        ledger = open_ledger(settings)
    except Misconfigured:
        return {}
    try:
        now = ledger.now()
        return {
            one.name: max(0.0, now - one.listed_at)
            for one in ledger.sources.all()
            if one.active and one.listed_at is not None
        }
    finally:
        ledger.database.close()


def _about(kind: type[SourceSettings]) -> str:
    return inspect.getdoc(kind).split("\n\n")[0].replace("\n", " ")  # type: ignore[union-attr]


def _settings(kind: type[SourceSettings]) -> Iterator[Json]:
    for name, field in kind.model_fields.items():
        if name == "kind":
            continue
        yield {
            "setting": name,
            "about": field.description or "",
            "needed": field.is_required(),
            "default": _default(field.default),
        }


def _default(value: Any) -> str:
    if value is None or value == () or not isinstance(value, str | int | float):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
