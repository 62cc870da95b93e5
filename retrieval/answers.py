"""What a search is asked and what it answers, as values. Seconds throughout; times since the epoch.

The API turns these into JSON, the command line into text; neither adds anything to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from ingestion.errors import BadQuery
from retrieval.freshness import Freshness

MAX_TOP_K = 100
MAX_TIMEOUT_S = 60.0
MAX_QUERY_CHARACTERS = 200_000  # 10,000 words of any language; the embedder reads the beginning

BLANK = "is empty. Ask something: words, or a whole question."

Mode = Literal["hybrid", "text"]


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A question. ``sources`` None means all; ``timeout_s`` bounds every wait, not the search itself.

    ``min_generation``: answer once everything observed up to that generation is published.
    """

    query: str
    top_k: int = 10
    sources: tuple[str, ...] | None = None
    freshness: Freshness = Freshness.ANY
    timeout_s: float = 5.0
    min_generation: int | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """One passage. ``start`` and ``end`` count characters of the decoded text; a higher score is better.

    ``place``: where to look in a document of pages, slides, rows, ...; else ''.
    """

    text: str
    source: str
    uri: str
    document_id: int
    chunk_id: str
    heading_path: tuple[str, ...]
    start: int
    end: int
    score: float
    changed_at: float
    published_at: float
    age_s: float
    stale: bool
    stale_for_s: float | None
    generation: int
    place: str = ""


@dataclass(frozen=True, slots=True)
class NotAwaited:
    """A document that ``min_generation`` did not wait for: a dead letter, or held."""

    document_id: int
    source: str
    uri: str
    state: str


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of a search went. ``total_s`` also holds what has no part of its own."""

    total_s: float
    embed_s: float
    index_s: float
    fence_s: float
    wait_s: float


@dataclass(frozen=True, slots=True)
class SearchResponse:
    """Hits, best first. Every change up to ``fresh_as_of`` is in them; None before the first listing.

    ``mode`` is ``text`` when the question could not be embedded (the model is still being loaded, or
    failed): words alone found the hits. ``min_generation_met`` is None when no generation was asked
    for, and False when the time ran out first.
    """

    hits: tuple[Hit, ...]
    fresh_as_of: float | None
    mode: Mode
    min_generation_met: bool | None
    not_awaited: tuple[NotAwaited, ...]
    timings: Timings


class SearchObserver(Protocol):
    """Who counts searches."""

    def searched(
        self, mode: Mode, seconds: float, hits: int, candidates: int, fenced_out: int, stale: int
    ) -> None:
        """A search was answered. Called from any thread; must not raise.

        ``seconds``: without what it was asked to wait; ``candidates``: what the index found;
        ``fenced_out``: of those, what was not live; ``stale``: of the hits.
        """

    def search_failed(self) -> None:
        """A search that was a good one got no answer. Called from any thread; must not raise."""


def cleaned(query: str) -> str:
    """The question as it can be stored and sent: NULs are spaces, lone surrogates question marks."""
    return query.replace("\0", " ").encode("utf-8", "replace").decode().strip()


def check(request: SearchRequest) -> None:
    """Raises BadQuery, naming the field and its limit, for what no ledger is needed to judge."""
    if not cleaned(request.query):
        raise BadQuery("query", BLANK)
    if len(request.query) > MAX_QUERY_CHARACTERS:
        raise BadQuery(
            "query",
            f"has {len(request.query)} characters; at most {MAX_QUERY_CHARACTERS} are searched.",
        )
    if not 1 <= request.top_k <= MAX_TOP_K:
        raise BadQuery("top_k", f"must be between 1 and {MAX_TOP_K}; it is {request.top_k}.")
    if not 0 <= request.timeout_s <= MAX_TIMEOUT_S:
        raise BadQuery(
            "timeout_ms",
            f"must be between 0 and {MAX_TIMEOUT_S * 1000:.0f}; it is {request.timeout_s * 1000:g}.",
        )
    if request.sources is not None and not request.sources:
        raise BadQuery("sources", "is an empty list. Name at least one, or leave it out for all.")
    if request.min_generation is not None and request.min_generation < 0:
        raise BadQuery("min_generation", "is negative; generations start at 1.")
