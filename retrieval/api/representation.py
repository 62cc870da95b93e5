"""Values of the project as JSON: field names and units as in ``retrieval.api.schemas``."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Sequence
from typing import Any

from ingestion.lag import index_lag
from ingestion.ledger.values import SourceLag, SourceState
from ingestion.ledger.views import AttemptView, DocumentView
from retrieval.answers import Hit, SearchResponse, Timings
from retrieval.freshness import fresh_as_of

Json = dict[str, Any]

_EARLIEST_S, _LATEST_S = -62_135_596_800.0, 253_402_300_799.0  # years 1 and 9999


def dumped(content: Json) -> bytes:
    """UTF-8 JSON. Half a surrogate pair, which UTF-8 cannot hold, becomes its JSON escape."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


def rfc3339(seconds: float) -> str:
    """``2026-11-21T09:30:00.250000Z``; times beyond the calendar are its ends."""
    within = min(max(seconds, _EARLIEST_S), _LATEST_S)
    moment = datetime.datetime.fromtimestamp(within, datetime.UTC)
    return moment.isoformat(timespec="microseconds")[:-6] + "Z"


def search_json(response: SearchResponse) -> Json:
    return {
        "hits": [hit_json(hit) for hit in response.hits],
        "fresh_as_of": _time(response.fresh_as_of),
        "took_ms": _ms(response.timings.total_s),
        "mode": response.mode,
        "min_generation_met": response.min_generation_met,
        "not_awaited": [dataclasses.asdict(one) for one in response.not_awaited],
    }


def hit_json(hit: Hit) -> Json:
    return {
        "text": hit.text,
        "source": hit.source,
        "uri": hit.uri,
        "document_id": hit.document_id,
        "chunk_id": hit.chunk_id,
        "heading_path": list(hit.heading_path),
        "place": hit.place,
        "start": hit.start,
        "end": hit.end,
        "score": round(hit.score, 6),
        "changed_at": rfc3339(hit.changed_at),
        "published_at": rfc3339(hit.published_at),
        "age_s": round(hit.age_s, 3),
        "stale": hit.stale,
        "stale_for_s": None if hit.stale_for_s is None else round(hit.stale_for_s, 3),
        "generation": hit.generation,
    }


def server_timing(timings: Timings) -> str:
    """The ``Server-Timing`` header: milliseconds by part."""
    parts = {
        "total": timings.total_s,
        "embed": timings.embed_s,
        "index": timings.index_s,
        "fence": timings.fence_s,
        "wait": timings.wait_s,
    }
    return ", ".join(f"{name};dur={_ms(seconds)}" for name, seconds in parts.items())


def source_json(state: SourceState, lag: SourceLag | None, now: float) -> Json:
    oldest = lag.oldest_pending if lag else None
    return {
        "name": state.name,
        "kind": state.kind,
        "location": state.location,
        "active": state.active,
        "fault": state.fault,
        "listed_at": _time(state.listed_at),
        "next_look_at": _time(state.next_look_at),
        "heartbeat_at": _time(state.heartbeat_at),
        "event_at": _time(state.event_at),
        "watermark": _time(fresh_as_of([state], {} if oldest is None else {state.name: oldest})),
        "index_lag_s": round(index_lag(oldest, now), 3),
        "documents": dict(lag.counts) if lag else {},
    }


def document_json(view: DocumentView) -> Json:
    return {
        "document_id": view.document_id,
        "source": view.source,
        "uri": view.uri,
        "state": view.state,
        "reason": view.reason,
        "size_bytes": view.size_bytes,
        "generation": view.generation,
        "wanted": view.wanted,
        "lane": view.lane,
        "changed_at": rfc3339(view.changed_at),
        "observed_at": rfc3339(view.observed_at),
        "pending_since": _time(view.pending_since),
        "published_at": _time(view.published_at),
        "attempts": view.attempts,
        "not_before": _time(view.not_before or None),
        "error": view.error,
        "failed_at": _time(view.failed_at),
    }


def history_json(attempts: Sequence[AttemptView]) -> list[Json]:
    return [
        {
            **dataclasses.asdict(one),
            "changed_at": _time(one.changed_at),
            "observed_at": _time(one.observed_at),
            "claimed_at": _time(one.claimed_at),
            "staged_at": _time(one.staged_at),
            "finished_at": rfc3339(one.finished_at),
        }
        for one in attempts
    ]


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
