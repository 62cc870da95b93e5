"""What comes in and goes out over HTTP: fields, limits and their meaning, as the API describes itself.

Requests are checked by these models. Responses are written by ``retrieval.api.representation`` and not
checked again on their way out: that costs more than the search; a test keeps the two equal.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from retrieval.answers import BLANK, MAX_QUERY_CHARACTERS, MAX_TIMEOUT_S, MAX_TOP_K, SearchRequest, cleaned
from retrieval.freshness import Freshness

MAX_TIMEOUT_MS = int(MAX_TIMEOUT_S * 1000)
MAX_PAGE = 1000
_MAX_KEY = 2**63 - 1  # what a database column holds

Time = Annotated[str, Field(description="RFC 3339, UTC")]
State = Literal["live", "pending", "failed", "held", "skipped", "retired"]


def _not_blank(query: str) -> str:
    if not cleaned(query):
        raise ValueError(BLANK)
    return query


class SearchBody(BaseModel):
    """A question."""

    model_config = ConfigDict(extra="forbid", strict=True)

    query: Annotated[str, StringConstraints(max_length=MAX_QUERY_CHARACTERS), AfterValidator(_not_blank)]
    top_k: Annotated[int, Field(ge=1, le=MAX_TOP_K)] = 10
    sources: Annotated[list[str], Field(min_length=1, max_length=1000)] | None = None
    freshness: Literal["any", "fresh", "wait"] = "any"
    timeout_ms: Annotated[int, Field(ge=0, le=MAX_TIMEOUT_MS)] = 5000
    min_generation: Annotated[int, Field(ge=0, le=_MAX_KEY)] | None = None

    def request(self) -> SearchRequest:
        return SearchRequest(
            query=self.query,
            top_k=self.top_k,
            sources=None if self.sources is None else tuple(self.sources),
            freshness=Freshness(self.freshness),
            timeout_s=self.timeout_ms / 1000,
            min_generation=self.min_generation,
        )


class DocumentsQuery(BaseModel):
    """Which documents to list. Retired ones are listed only when ``state`` asks for them."""

    model_config = ConfigDict(extra="forbid")

    source: str | None = None
    state: State | None = None
    cursor: Annotated[str, Field(pattern=r"^[0-9]{1,18}$", description="next_cursor of the page before")] = (
        "0"
    )
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 100


class HitOut(BaseModel):
    text: str
    source: str
    uri: str
    document_id: int
    chunk_id: str
    heading_path: list[str]
    place: Annotated[str, Field(description="page, slide, sheet and rows, cell; empty where there is none")]
    start: Annotated[int, Field(description="in characters of the decoded or extracted text")]
    end: int
    score: Annotated[float, Field(description="higher is better; comparable within one answer only")]
    changed_at: Time
    published_at: Time
    age_s: Annotated[float, Field(description="since changed_at")]
    stale: Annotated[bool, Field(description="a newer revision is known and not published yet, or failed")]
    stale_for_s: Annotated[float | None, Field(description="since the oldest unpublished change")]
    generation: int


class NotAwaitedOut(BaseModel):
    document_id: int
    source: str
    uri: str
    state: Literal["failed", "held"]


class SearchOut(BaseModel):
    hits: list[HitOut]
    fresh_as_of: Annotated[Time | None, Field(description="every change up to then is in the answer")]
    took_ms: float
    mode: Annotated[
        Literal["hybrid", "text"],
        Field(description="text: the question could not be embedded, words alone were searched"),
    ]
    min_generation_met: Annotated[
        bool | None, Field(description="null: not asked for; false: the time ran out first")
    ]
    not_awaited: Annotated[
        list[NotAwaitedOut], Field(description="documents that min_generation does not wait for")
    ]


class SourceOut(BaseModel):
    name: str
    kind: str
    location: str
    active: bool
    fault: str | None
    listed_at: Time | None
    next_look_at: Annotated[Time | None, Field(description="the next complete listing, by its schedule")]
    heartbeat_at: Time | None
    event_at: Time | None
    watermark: Time | None
    index_lag_s: float
    documents: dict[str, int]


class SourcesOut(BaseModel):
    sources: list[SourceOut]


class DocumentOut(BaseModel):
    document_id: int
    source: str
    uri: str
    state: State
    reason: str
    size_bytes: int
    generation: Annotated[int | None, Field(description="of the live revision")]
    wanted: Annotated[int, Field(description="generation of the newest change that was observed")]
    lane: str | None
    changed_at: Time
    observed_at: Time
    pending_since: Time | None
    published_at: Time | None
    attempts: int
    not_before: Time | None
    error: str | None
    failed_at: Time | None


class DocumentsOut(BaseModel):
    documents: list[DocumentOut]
    next_cursor: Annotated[str | None, Field(description="null on the last page")]


class AttemptOut(BaseModel):
    generation: int
    lane: str
    outcome: str
    changed_at: Time | None
    observed_at: Time | None
    claimed_at: Time | None
    staged_at: Time | None
    finished_at: Time
    chunks: int
    embedded: int
    reused: int
    detail: str
    edition: str | None


class DocumentHistoryOut(DocumentOut):
    history: Annotated[list[AttemptOut], Field(description="oldest first")]


class ProblemOut(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    hint: str | None = None
    errors: list[dict[str, str]] | None = None
