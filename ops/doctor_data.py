"""Checks of the data file, the model, the sources and what waits for somebody."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ingestion.errors import HeadwaterError
from ingestion.ledger.canaries import CanaryState
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.trying import try_to_write
from ops import backlog
from ops.backlog import Backlog, SourceBacklog
from ops.findings import Finding, note, ok, wrong
from ops.kinds.web import WebSettings
from ops.measured import last_measured
from ops.opening import data_file, open_ledger, size_bytes
from ops.settings import Settings
from ops.settings_embedding import leaves_in_the_open
from ops.showing import counted, duration, held_are_served, plain, size
from retrieval.embedding.choice import Choice

OLD_S = {"fresh": 300.0, "bulk": 24 * 3600.0}  # an edit takes seconds, a first index hours
AHEAD_S = 60.0  # a time in the ledger this far in the future is not rounding


def data(settings: Settings) -> Iterator[Finding]:
    """The data file and what it holds."""
    path = data_file(settings)
    if settings.ledger.url is None:
        if not path.exists():
            yield note(
                "data file", f"{plain(str(path))} is not there yet.", "Start with: headwater up FOLDER"
            )
            return
        yield (checked := _integrity(path))
        if checked.remedy:
            return
    try:
        ledger = open_ledger(settings)
    except HeadwaterError as error:
        yield wrong("schema", error.message, error.hint)
        return
    try:
        yield ok("schema", "is this version's")
        yield _writing(ledger)
        yield from _contents(settings, ledger)
    except HeadwaterError as error:
        yield wrong("ledger", error.message, error.hint)
    finally:
        ledger.database.close()


def _integrity(path: Path) -> Finding:
    """SQLite's own check, on a connection that cannot write. Only damage is a reason to give a file up."""
    remedy = "Stop the daemon, move the file away and start again: it is made again from the sources."
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)
        try:
            answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.Error as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            remedy = "This user must be allowed to read and write it and its folder."
        return wrong("data file", f"{plain(str(path))} cannot be read ({error}).", remedy)
    if answer != "ok":
        return wrong("data file", f"{plain(str(path))} is damaged: {plain(str(answer))}.", remedy)
    return ok("data file", f"{plain(str(path))}, {size(size_bytes(path))}, sound")


def _writing(ledger: Ledger) -> Finding:
    """What cannot be written may still be read: then no watcher can say that it sees."""
    try:
        try_to_write(ledger.database)
    except HeadwaterError as error:
        return wrong("writing", plain(error.message), plain(error.hint))
    return ok("writing", "the ledger takes what is written")


def _contents(settings: Settings, ledger: Ledger) -> Iterator[Finding]:
    yield from _edition(settings, ledger)
    found = backlog.look(ledger)
    now = ledger.now()  # the time that all of this goes by
    for source in found.active:
        yield from _source(source, ledger, now)
    yield from _pages_of_several(settings, ledger)
    yield _dead(found.active)
    yield from _waiting(found, now)
    yield from (_canary(canary, now) for canary in found.canaries)


def _pages_of_several(settings: Settings, ledger: Ledger) -> Iterator[Finding]:
    """What sitemaps of several sources name is found as often."""
    names = [source.name for source in settings.sources if isinstance(source, WebSettings)]
    twice = ledger.kept.in_several(names) if len(names) > 1 else []
    if twice:
        pages = "one page is" if len(twice) == 1 else f"{len(twice):,} pages are"
        what = f"{pages} in several of {', '.join(names)} ({plain(twice[0])}), and found as often."
        yield note("web pages", what, "Leave them out of the sitemaps or urls of all but one.")


def model(settings: Settings) -> Iterator[Finding]:
    """Where the model is, and what computes it. Loads nothing."""
    from retrieval.embedding.models import choose_runtime, find_model

    embedding = settings.embedding
    if embedding.url:
        yield _endpoint(settings)
        yield from _readable_key(settings)
        return
    try:
        choice = choose_runtime(embedding.model, embedding.runtime, embedding.precision)
        if choice is None:
            yield note("model", "hashing: no model, for tests and measurements.", "Set embedding.model.")
            return
        yield ok("model", f"{embedding.model} in {plain(str(find_model(embedding.model)))}")
    except HeadwaterError as error:
        yield wrong("model", plain(error.message), plain(error.hint))
        return
    yield ok("runtime", f"{choice.runtime}, {choice.precision}: {plain(choice.why)}")
    yield from _alternatives(choice)
    if measured := last_measured(settings.daemon.data):
        yield ok("embedding", f"{measured.texts_per_s:.1f} texts/s with {plain(measured.embedder)}")
        for refused in measured.refused:
            yield note(
                "embedding", f"not used: {plain(refused)}.", "Another one embeds; nothing is to be done."
            )


def _alternatives(choice: Choice) -> Iterator[Finding]:
    for other in choice.alternatives:
        yield ok(f"instead of {choice.runtime}", f"{other.runtime}: {plain(other.note)}")


def _endpoint(settings: Settings) -> Finding:
    """Asks the endpoint for one word, as a start does."""
    from ops.remote import remote_embedder

    place = f"{settings.embedding.model} at {settings.embedding.url}"
    try:
        embedder = remote_embedder(settings.embedding)
        assert embedder is not None
        try:
            embedder.load()
        finally:
            embedder.close()
    except HeadwaterError as error:
        return wrong("model", plain(error.message), plain(error.hint))
    return ok("model", f"{plain(place)} answers, with {embedder.dimensions} dimensions")


def _readable_key(settings: Settings) -> Iterator[Finding]:
    """A key over plain HTTP is read by every machine in between."""
    embedding = settings.embedding
    has_key = embedding.api_key is not None or embedding.api_key_file is not None
    if embedding.url and has_key and leaves_in_the_open(embedding.url):
        yield note(
            "key",
            f"it goes to {plain(embedding.url)} unencrypted, with every text",
            "Use https in embedding.url, unless the network in between is yours.",
        )


def _edition(settings: Settings, ledger: Ledger) -> Iterator[Finding]:
    from ops.equipping import close_embedder, embedder_of, embedder_of_live

    live = ledger.sources.live_edition()
    if live is None:
        return
    try:
        embedder = embedder_of(settings.embedding)
        description = embedder.description
    except HeadwaterError:
        return  # told by the check of the model
    if embedder.fingerprint == live.fingerprint:
        close_embedder(embedder)
        yield ok("index", f"made with this model ({live.description})")
        return
    made_with = f"it was made with {live.description}, and the settings name {description}"
    try:
        own, _ = embedder_of_live(settings.embedding, embedder, ledger)
    except HeadwaterError as error:
        close_embedder(embedder)
        yield wrong("index", plain(error.message), plain(error.hint))
        return
    close_embedder(own)
    if own.fingerprint == live.fingerprint:
        yield note(
            "index",
            f"{made_with}; its own model goes on serving.",
            "Set embedding.model back, or make an index with the other one: headwater rebuild",
        )
    else:  # made before its settings were kept
        yield wrong("index", f"{made_with}.", "Set embedding.model back; then: headwater rebuild --model")


def _source(source: SourceBacklog, ledger: Ledger, now: float) -> Iterator[Finding]:
    name, state = f"source {source.state.name}", source.state
    if state.fault:
        yield wrong(name, plain(state.fault), "Once that is mended the next scan clears this.")
    elif state.listed_at is None:
        yield note(name, "was not listed yet.", "headwater up lists it.")
    elif state.listed_at > now + AHEAD_S:
        ahead = duration(state.listed_at - now)
        yield wrong(name, f"was listed {ahead} in the future.", "Set this machine's clock.")
    else:
        lag = duration(source.index_lag_s(now))
        yield ok(name, f"{plain(state.location)}, listed {duration(now - state.listed_at)} ago, lag {lag}")
    if source.lag.held:
        served = held_are_served(ledger.documents.count_held_lost(state.name))
        yield wrong(
            name,
            f"{counted(source.lag.held, 'document')} not there and held. {served}",
            f"Bring them back, or: headwater approve {state.name}",
        )


def _waiting(found: Backlog, now: float) -> Iterator[Finding]:
    """What the lanes hold; old work is no fault by itself, as a first index may take hours."""
    for lane in found.lanes:
        oldest = "" if lane.oldest is None else f", the oldest change {duration(now - lane.oldest)} ago"
        about, what = f"{lane.lane} lane", f"{counted(lane.pending, 'document')} waiting{oldest}"
        if lane.oldest is not None and now - lane.oldest > OLD_S[lane.lane]:
            yield note(about, what, "See what keeps them: headwater status, headwater explain PATH")
        else:
            yield ok(about, what)


def _canary(state: CanaryState, now: float) -> Finding:
    about, ago = f"canary ({state.kind})", duration(now - state.finished_at)
    if state.is_silent(now):
        return note(
            about,
            f"silent: its last round ended {ago} ago.",
            "headwater up has it sing, or headwater schedule; its log says why not.",
        )
    if state.failed is None:
        return ok(about, f"sang {ago} ago")
    return wrong(
        about,
        f"its {state.failed} failed {ago} ago. {plain(state.detail)}",
        "Users' documents fare the same; see HeadwaterCanaryFailing in ops/runbook.md.",
    )


def _dead(sources: list[SourceBacklog]) -> Finding:
    number = sum(source.lag.failed for source in sources)
    if number:
        return wrong("dead letters", counted(number, "document") + ".", "See: headwater dead")
    return ok("dead letters", "none")
