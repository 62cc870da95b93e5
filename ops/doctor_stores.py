"""Checks of the servers that the settings name: ledger, broker, index. Each is asked; nothing is written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ingestion.clock import Clock
from ingestion.errors import HeadwaterError
from ingestion.ledger.ledger import Ledger
from ingestion.records import Lane
from ops.findings import Finding, note, ok, wrong
from ops.opening import make_ledger
from ops.settings import Settings
from ops.settings_stores import masked
from ops.showing import duration, plain, size
from retrieval.index.port import Index
from workers.dispatch import FULL

if TYPE_CHECKING:
    from workers.redis_broker import Condition, RedisBroker

CLOCKS_DIFFER_S = 2.0
OLDEST_REDIS = (6, 2)
KEEPS_ALL = "noeviction"
NEARLY_FULL = 0.9


def servers(settings: Settings, clock: Clock) -> Iterator[Finding]:
    """Nothing for what lies in the data folder or in the process."""
    if settings.broker.url is not None:
        yield from _broker(settings)
    if settings.ledger.url is None and settings.index.kind == "embedded":
        return
    try:
        ledger = make_ledger(settings, clock)
    except HeadwaterError as error:
        if settings.ledger.url is not None:
            yield wrong("ledger", plain(error.message), plain(error.hint))
        return
    try:
        if settings.ledger.url is not None:
            shown = masked(settings.ledger.url.get_secret_value())
            yield ok("ledger", f"{shown} answers, PostgreSQL {ledger.database.server_version()}")
            yield clock_of(ledger, clock)
        if settings.index.kind != "embedded":
            yield _index(settings, ledger)
    except HeadwaterError as error:
        yield wrong("index", plain(error.message), plain(error.hint))
    finally:
        ledger.database.close()


def _check_live(ledger: Ledger, index: Index) -> None:
    """Raises IndexUnavailable where it lacks what searches should find."""
    from workers.wholeness import require_most

    edition = ledger.sources.live_edition()
    live = 0 if edition is None else ledger.audits.count_live(edition)
    if edition is not None and live:  # before that, it need not be there
        require_most(index, edition, live)


def clock_of(ledger: Ledger, clock: Clock) -> Finding:
    """This machine's clock against the database's, whose time everything in the ledger goes by.

    The answer was given between two looks at ours, so it is wrong by their distance at most.
    """
    before, began = clock.now(), time.monotonic()
    there = ledger.now()
    took_s = time.monotonic() - began
    apart = max(0.0, before - there, there - (before + took_s))
    if apart > CLOCKS_DIFFER_S:
        return wrong(
            "clock of the ledger",
            f"this machine's clock differs from the database's by {duration(apart)}.",
            "Set both by NTP: a change is dated by this machine, and its age told by the database.",
        )
    return ok("clock of the ledger", f"agrees with this machine's, within {max(apart, took_s):.3f} s")


def _index(settings: Settings, ledger: Ledger) -> Finding:
    from ops.stores import make_index
    from retrieval.index.weaviate import WeaviateIndex

    index = make_index(settings, ledger.database)
    try:
        index.check()
        _check_live(ledger, index)
        version = f", Weaviate {index.server_version()}" if isinstance(index, WeaviateIndex) else ""
        shown = plain(f"{settings.index.url} answers{version}, and holds what is live")
        return ok("index", shown)
    finally:
        index.close()


def _broker(settings: Settings) -> Iterator[Finding]:
    from ops.stores import make_broker

    try:
        broker = make_broker(settings)
        try:
            broker.check()
            yield from _condition(broker)
            yield from _queues(broker)
        finally:
            broker.close()
    except HeadwaterError as error:
        yield wrong("broker", plain(error.message), plain(error.hint))


def _condition(broker: RedisBroker) -> Iterator[Finding]:
    found = broker.condition()
    about = f"{broker.shown} answers, Redis {plain(found.version)}"
    if _numbers(found.version) < OLDEST_REDIS:
        yield note("broker", f"{about}: older than any it was tried with.", "Use Redis 6.2 or newer.")
    else:
        yield ok("broker", about)
    yield from _memory(found)


def _memory(found: Condition) -> Iterator[Finding]:
    about = "broker's memory"
    used = size(found.used_bytes)
    if found.limit_bytes is None:
        yield ok(about, f"{used}, without a limit")
    elif found.used_bytes > NEARLY_FULL * found.limit_bytes:
        yield wrong(
            about,
            f"{used} of {size(found.limit_bytes)}: once it is full no message is taken, and edits wait.",
            "Raise maxmemory, or see what else is kept there (redis-cli --bigkeys).",
        )
    else:
        yield ok(about, f"{used} of {size(found.limit_bytes)}")
    if found.limit_bytes is not None and found.eviction != KEEPS_ALL:
        yield wrong(
            about,
            f"when it is full Redis throws keys away (maxmemory-policy {plain(found.eviction)}), messages "
            "among them: their documents wait until they are sent again.",
            f"redis-cli CONFIG SET maxmemory-policy {KEEPS_ALL}, and the same in redis.conf",
        )


def _queues(broker: RedisBroker) -> Iterator[Finding]:
    for lane in Lane:
        waiting = broker.waiting(lane)
        about, what = f"queue {lane.value}", f"{waiting:,} messages that nobody has taken"
        if waiting >= FULL:
            yield note(
                about, f"{what}; no more are sent.", f"Start more of: headwater worker --lane {lane.value}"
            )
        else:
            yield ok(about, what)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
