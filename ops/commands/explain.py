"""``headwater explain``: the whole history of one document."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ops.commands.common import located, opened_ledger, settings_of
from ops.showing import ago, counted, duration, milliseconds, moment, plain, size

if TYPE_CHECKING:
    from ingestion.ledger.ledger import Ledger
    from ingestion.ledger.views import AttemptView, DocumentView
    from ops.settings import Settings

_STATES = {
    "live": "its newest revision is searchable",
    "pending": "a change waits to be published",
    "failed": "dead letter: its attempts ran out",
    "held": "not there any more, still searchable until that is approved",
    "skipped": "there, and not indexed",
    "retired": "deleted, no longer found",
}


@click.command("explain")
@click.argument("path")
@located
def command(path: str, config: Path | None, data: Path | None) -> None:
    """The history of one document: revisions, stages, lags, errors.

    PATH is a file, or SOURCE/URI as search and status print it.
    """
    from ops.naming import find_document

    settings = settings_of(config, data)
    with opened_ledger(settings) as ledger:
        view = find_document(ledger, path)
        if view is None:
            raise click.ClickException(plain(_unknown(settings, ledger, path)))
        for line in explained(view, ledger, time.time()):
            click.echo(line)


def explained(view: DocumentView, ledger: Ledger, now: float) -> Iterator[str]:
    """Standing, what is live, what waits, and every attempt that is kept."""
    yield plain(f"{view.source}/{view.uri}")
    reason = f" ({plain(view.reason)})" if view.reason else ""
    yield f"  {view.state}: {_STATES[view.state]}{reason}"
    looked_at = _at(view.observed_at, now)
    yield f"  document {view.document_id}, {size(view.size_bytes)}, last looked at {looked_at}"
    if view.generation is not None and view.published_at is not None:
        chunks = counted(len(ledger.views.chunks_of(view.document_id)), "chunk")
        yield f"  live: generation {view.generation}, {chunks}, published {_at(view.published_at, now)}"
    else:
        yield "  live: nothing"
    yield from _waiting(view, now)
    for one in ledger.views.elsewhere(view.document_id):
        what = "being built" if one.edition_state == "building" else "kept for going back"
        generation = "nothing yet" if one.generation is None else f"generation {one.generation}"
        error = f": {plain(one.error)}" if one.error else ""
        yield f"  in the edition {one.edition} ({what}): {one.state}, {generation}{error}"
    history = ledger.views.history(view.document_id)
    yield f"  history ({counted(len(history), 'step')}, oldest first):"
    several = len({attempt.edition for attempt in history if attempt.edition}) > 1
    for attempt in history:
        yield from _attempt(attempt, several=several)


def _waiting(view: DocumentView, now: float) -> Iterator[str]:
    if view.state not in ("pending", "failed"):
        return
    since = "" if view.pending_since is None else f", for {duration(now - view.pending_since)}"
    attempts = counted(view.attempts, "failed attempt")
    yield f"  wanted: generation {view.wanted}{since}, {view.lane} lane, {attempts}"
    if view.error:
        yield f"  last error: {plain(view.error)}"
    if view.state == "failed":
        yield "  next try: none; mend the cause, then: headwater dead replay"
    elif view.not_before > now:
        yield f"  next try: in {duration(view.not_before - now)}"
    else:
        yield "  next try: as soon as a worker is free"


def _attempt(attempt: AttemptView, *, several: bool) -> Iterator[str]:
    """``several``: there are attempts in more than one edition, so each says in which."""
    from ops.stages import stages

    split = stages(
        changed_at=attempt.changed_at,
        observed_at=attempt.observed_at,
        claimed_at=attempt.claimed_at,
        staged_at=attempt.staged_at,
        finished_at=attempt.finished_at,
    )
    times = ", ".join(f"{stage} {milliseconds(seconds)}" for stage, seconds in split.items())
    chunks = (
        f", {counted(attempt.chunks, 'chunk')} ({attempt.embedded:,} embedded, {attempt.reused:,} reused)"
        if attempt.chunks
        else ""
    )
    yield (
        f"    {moment(attempt.finished_at)}  generation {attempt.generation}  {attempt.outcome}"
        f", {attempt.lane} lane{chunks}"
        + (f", edition {attempt.edition}" if several and attempt.edition else "")
    )
    if times:
        yield f"        {times}"
    if attempt.detail:
        yield f"        {plain(attempt.detail)}"


def _at(at: float, now: float) -> str:
    return f"{moment(at)} ({ago(now - at)})"


def _unknown(settings: Settings, ledger: Ledger, path: str) -> str:
    """Why there is no such document: what its source says when it is looked at now."""
    from ingestion.clock import SystemClock
    from ingestion.errors import HeadwaterError
    from ingestion.records import Gone, Skipped
    from ops.naming import readings
    from ops.wiring import make_source

    configured = {source.name: source for source in settings.sources}
    for name, uri in readings(ledger.sources.all(), path):
        if name not in configured:
            continue
        try:
            seen = make_source(configured[name], SystemClock()).look(uri)
        except HeadwaterError as error:
            return f"Nothing is known of {path}: {error}"
        if isinstance(seen, Gone):
            return f"Nothing is known of {path}, and {name} does not hold it: {seen.evidence}."
        if isinstance(seen, Skipped):
            return f"{path} is in {name}, not listed yet, and would be skipped: {seen.reason}."
        return f"{path} is in {name} and was not seen yet. A daemon sees it at once; else: headwater sync"
    known = ", ".join(f"{state.name} ({state.location})" for state in ledger.sources.all())
    return f"{path} lies in none of the sources: {known or 'there are none'}."
