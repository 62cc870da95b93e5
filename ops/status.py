"""The report behind ``headwater status`` and ``GET /v1/status``: one function, one shape.

Computed from the ledger, the settings and the daemon's note alone, so it is the same whether a daemon
answers, hangs or does not run.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import SecretStr

from ingestion.clock import Clock
from ingestion.errors import HeadwaterError
from ingestion.ledger.canaries import CanaryState
from ingestion.ledger.ledger import Ledger
from ops import backlog
from ops.backlog import SourceBacklog
from ops.drift import audit_json
from ops.editions_report import editions_report
from ops.lock import DaemonNote, running_daemon
from ops.measured import last_measured
from ops.opening import data_file, size_bytes
from ops.promises import Sizes, promise_json
from ops.settings import Settings
from ops.settings_stores import masked
from ops.version import version
from retrieval.api.representation import rfc3339, source_json

Json = dict[str, Any]

HELD_SHOWN = 5


def status_report(settings: Settings, ledger: Ledger, clock: Clock) -> Json:
    """What is known now, in values that JSON knows. Raises LedgerUnavailable."""
    daemon = running_daemon(settings.daemon.data)
    found = backlog.look(ledger)
    now = ledger.now()  # the time that all of this goes by
    sizes = ledger.punctuality.last_hour()
    fresh_as_of = found.fresh_as_of
    return {
        "version": version(),
        "at": rfc3339(now),
        "fresh_as_of": None if fresh_as_of is None else rfc3339(fresh_as_of),
        "daemon": None if daemon is None else _daemon(daemon),
        "sources": [
            _source(source, sizes, ledger, now) | _in_settings(source, settings) for source in found.sources
        ],
        "lanes": [
            {
                "lane": lane.lane,
                "pending": lane.pending,
                "oldest_age_s": None if lane.oldest is None else round(max(0.0, now - lane.oldest), 3),
            }
            for lane in found.lanes
        ],
        "canaries": [_canary(one, now) for one in found.canaries],
        "audit": None if found.audit is None else audit_json(found.audit),
        "dead_letters": sum(source.lag.failed for source in found.active),
        "chunks": ledger.views.live_chunk_count(),
        "data": _data(settings),
        "model": _model(settings, ledger),
        "config": None if settings.config is None else str(settings.config),
        "editions": editions_report(ledger, clock),
        "settings": settings.in_force(),
    }


def _daemon(note: DaemonNote) -> Json:
    return {
        "pid": note.pid,
        "url": note.url if note.port else None,
        "started_at": rfc3339(note.started_at),
        "version": note.version,
    }


def _canary(state: CanaryState, now: float) -> Json:
    """``failed`` is the step at which its last round did, else None; ``silent``: the next one is overdue."""
    return {
        "kind": state.kind,
        "at": rfc3339(state.finished_at),
        "silent": state.is_silent(now),
        "failed": state.failed,
        "detail": state.detail,
        "took_s": {step: round(seconds, 3) for step, seconds in state.took.items()},
        "succeeded_at": None if state.succeeded_at is None else rfc3339(state.succeeded_at),
    }


def _source(source: SourceBacklog, sizes: Sizes, ledger: Ledger, now: float) -> Json:
    """Of one that left the settings nothing is promised."""
    shown = source_json(source.state, source.lag, now)
    if source.state.active:
        shown |= promise_json(source, sizes, ledger, now)
    shown["held"] = _held(source, ledger) if source.lag.held else None
    return shown


def _in_settings(source: SourceBacklog, settings: Settings) -> Json:
    """``looks_per_hour`` is None where documents are not looked at one by one, ``to_do`` where nothing is."""
    name, configured = source.state.name, {one.name: one for one in settings.sources}
    left = not source.state.active and name not in configured
    return {
        "looks_per_hour": configured[name].looks_per_hour if name in configured else None,
        "to_do": f"headwater source remove {name}" if left else None,
    }


def _held(source: SourceBacklog, ledger: Ledger) -> Json:
    entries, reasons, _ = ledger.documents.held(source.state.name)
    return {
        "documents": len(entries),
        "lost": ledger.documents.count_held_lost(source.state.name),
        "reasons": sorted(set(reasons.values())),
        "first": [entry.uri for entry in entries[:HELD_SHOWN]],
        "to_do": f"headwater approve {source.state.name}",
    }


def _data(settings: Settings) -> Json:
    """``file`` is None where the ledger is a server's; ``ledger``, ``index`` and ``broker`` are None where
    they lie in the data file or the process."""
    path = data_file(settings) if settings.ledger.url is None else None
    return {
        "file": None if path is None else str(path),
        "size_bytes": None if path is None else size_bytes(path),
        "ledger": _masked(settings.ledger.url),
        "index": settings.index.url,
        "broker": _masked(settings.broker.url),
    }


def _masked(url: SecretStr | None) -> str | None:
    return None if url is None else masked(url.get_secret_value())


def _model(settings: Settings, ledger: Ledger) -> Json:
    """``index_made_with`` is the live edition's; ``path`` and ``runtime`` are None where nothing is computed
    from a folder; ``precision`` is what is expected, and ``measured`` says what embedded last."""
    from retrieval.embedding.models import choose_runtime, find_model

    embedding, edition = settings.embedding, ledger.sources.live_edition()
    model: Json = {
        "name": embedding.model,
        "path": None,
        "url": settings.embedding.url,
        "fault": None,
        "index_made_with": None if edition is None else edition.description,
        **dict.fromkeys(("runtime", "precision", "why")),
        "alternatives": [],
        "measured": _measured(settings),
    }
    if embedding.url:
        return model
    try:
        choice = choose_runtime(embedding.model, embedding.runtime, embedding.precision)
        if choice is not None:
            model |= {**asdict(choice), "path": str(find_model(embedding.model))}
    except HeadwaterError as error:
        model["fault"] = str(error)
    return model


def _measured(settings: Settings) -> Json | None:
    measured = last_measured(settings.daemon.data)
    if measured is None:
        return None
    return {
        "embedder": measured.embedder,
        "texts": measured.texts,
        "texts_per_s": round(measured.texts_per_s, 1),
        "at": rfc3339(measured.at),
        "refused": list(measured.refused),
    }
