"""What is said of editions, by ``rebuild --status``, ``status`` and the API: one function, one shape."""

from __future__ import annotations

from typing import Any

from ingestion.clock import Clock
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Building, EditionState, EditionView
from retrieval.api.representation import rfc3339

Json = dict[str, Any]


def editions_report(ledger: Ledger, clock: Clock) -> Json:
    """``live``, ``building`` and ``kept`` (for going back), each None where there is none."""
    views = {view.state: view for view in ledger.editions.fed()}
    building, kept = views.get(EditionState.BUILDING), views.get(EditionState.RETIRING)
    live = views.get(EditionState.LIVE)
    return {
        "live": None if live is None else _edition(live),
        "building": None if building is None else _building(building, ledger.editions.backlog(building)),
        "kept": None if kept is None else _kept(kept, ledger.editions.backlog(kept), clock.now()),
    }


def left_s(done: int, waiting: int, working_s: float) -> float | None:
    """Seconds that the rest takes at the mean rate so far; None while that is not known."""
    return None if not done or not working_s else round(waiting * working_s / done, 1)


def _edition(view: EditionView) -> Json:
    return {
        "name": view.edition.name,
        "model": None if view.model is None else view.model.get("model"),
        "description": view.edition.description,
        "since": rfc3339(view.since),
    }


def _building(view: EditionView, backlog: Building) -> Json:
    gate = view.gate
    return {
        **_edition(view),
        "documents": backlog.total,
        "done": backlog.done,
        "waiting": backlog.waiting,
        "failed": backlog.failed,
        "lacking": backlog.lacking,
        "paused": view.paused,
        "fault": view.fault,
        "working_s": round(view.working_s, 1),
        "left_s": None if view.paused else left_s(backlog.done, backlog.waiting, view.working_s),
        "min_recall": None if gate is None else gate.min_recall,
        "accept_failed": view.accept_failed,
    }


def _kept(view: EditionView, backlog: Building, now: float) -> Json:
    until = view.kept_until
    return {
        **_edition(view),
        "lacking": backlog.lacking,
        "until": None if until is None else rfc3339(until),
        "left_s": None if until is None else round(max(0.0, until - now), 1),
    }
