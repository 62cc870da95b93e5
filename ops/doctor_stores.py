"""Checks of the servers that the settings name: ledger, broker, index. Each is asked once."""

from __future__ import annotations

from collections.abc import Iterator

from ingestion.clock import Clock
from ingestion.errors import HeadwaterError
from ingestion.ledger.ledger import Ledger
from ops.findings import Finding, ok, wrong
from ops.opening import make_ledger
from ops.settings import Settings
from ops.settings_stores import masked
from ops.showing import plain
from retrieval.index.port import Index


def servers(settings: Settings, clock: Clock) -> Iterator[Finding]:
    """Nothing for what lies in the data folder or in the process."""
    if settings.broker.url is not None:
        yield _broker(settings)
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
            yield ok("ledger", f"{masked(settings.ledger.url.get_secret_value())} answers")
        if settings.index.kind != "embedded":
            from ops.stores import make_index

            index = make_index(settings, ledger.database)
            try:
                index.check()
                _check_live(ledger, index)
                yield ok("index", f"{plain(str(settings.index.url))} answers, and holds what is live")
            finally:
                index.close()
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


def _broker(settings: Settings) -> Finding:
    from ops.stores import make_broker

    try:
        broker = make_broker(settings)
        try:
            broker.check()
        finally:
            broker.close()
    except HeadwaterError as error:
        return wrong("broker", plain(error.message), plain(error.hint))
    return ok("broker", f"{broker.shown} answers")
