"""``headwater explain``: the whole history of one document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ops.commands.common import located, opened_ledger, settings_of
from ops.showing import ago, counted, duration, moment, plain, size

if TYPE_CHECKING:
    from ingestion.ledger.ledger import Ledger
    from ingestion.ledger.views import DocumentView

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
    """The life of one document: changed, seen, claimed, published; what waits, and why.

    PATH is a file, or SOURCE/URI as search and status print it.
    """
    from ops.at_source import source_now, why_unknown
    from ops.naming import find_document

    settings = settings_of(config, data)
    with opened_ledger(settings) as ledger:
        view = find_document(ledger, path)
        if view is None:
            raise click.ClickException(plain(why_unknown(settings, ledger, path)))
        for line in explained(view, ledger, source_now(settings, ledger, view)):
            click.echo(line)


def explained(view: DocumentView, ledger: Ledger, at_source: str) -> Iterator[str]:
    """Standing, what is live, what waits, what lies there now, and every attempt that is kept."""
    from ingestion.ledger.publishing import HISTORY
    from ops.timeline import timeline

    now = ledger.now()
    yield plain(f"{view.source}/{view.uri}")
    reason = f" ({plain(view.reason)})" if view.reason else ""
    yield f"  {view.state}: {_STATES[view.state]}{reason}"
    looked_at = _at(view.observed_at, now)
    yield f"  document {view.document_id}, {size(view.size_bytes)}, last looked at {looked_at}"
    yield f"  at the source now: {plain(at_source)}"
    yield from _live(view, ledger, now)
    yield from _waiting(view, ledger, now)
    yield from _elsewhere(view, ledger)
    history = ledger.views.history(view.document_id)
    yield f"  timeline ({counted(len(history), 'step')}, oldest first):"
    yield from timeline(history, whole=len(history) < HISTORY)


def _live(view: DocumentView, ledger: Ledger, now: float) -> Iterator[str]:
    if view.generation is None or view.published_at is None:
        yield "  live: nothing"
        return
    chunks = counted(len(ledger.views.chunks_of(view.document_id)), "chunk")
    stale = "" if view.pending_since is None else f", stale for {duration(now - view.pending_since)}"
    yield f"  live: generation {view.generation}, {chunks}, published {_at(view.published_at, now)}{stale}"


def _elsewhere(view: DocumentView, ledger: Ledger) -> Iterator[str]:
    for one in ledger.views.elsewhere(view.document_id):
        what = "being built" if one.edition_state == "building" else "kept for going back"
        generation = "nothing yet" if one.generation is None else f"generation {one.generation}"
        error = f": {plain(one.error)}" if one.error else ""
        yield f"  in the edition {one.edition} ({what}): {one.state}, {generation}{error}"


def _waiting(view: DocumentView, ledger: Ledger, now: float) -> Iterator[str]:
    if view.state not in ("pending", "failed"):
        return
    since = "" if view.pending_since is None else f", for {duration(now - view.pending_since)}"
    attempts = counted(view.attempts, "failed attempt")
    yield f"  wanted: generation {view.wanted}{since}, {view.lane} lane, {attempts}"
    if view.error:
        yield f"  last error: {plain(view.error)}"
    if view.state == "failed":
        yield "  next try: none; mend the cause, then: headwater dead replay"
    else:
        yield f"  next try: {_next(view, ledger, now)}"


def _next(view: DocumentView, ledger: Ledger, now: float) -> str:
    """Who has it now: a worker, the queue, or nobody yet."""
    one = ledger.views.under_way(view.document_id)
    if one.claimed_at is not None and one.lease_until is not None:
        since = f"a worker has had it for {duration(now - one.claimed_at)}"
        if one.lease_until > now:
            return f"under way: {since}"
        return f"{since} and fell silent {duration(now - one.lease_until)} ago: it is given to another one"
    if view.not_before > now:
        return f"in {duration(view.not_before - now)}"
    if one.sent_at is not None:
        sent = duration(now - one.sent_at)
        return f"as soon as a worker of the {view.lane} lane is free, a message was sent {sent} ago"
    return "as soon as a worker is free; no message is on its way, a daemon or headwater schedule sends one"


def _at(at: float, now: float) -> str:
    return f"{moment(at)} ({ago(now - at)})"
