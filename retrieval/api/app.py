"""The HTTP API: unpack, call, answer. It decides nothing that the searcher or the ledger can decide.

Endpoints are plain functions in the server's thread pool, because everything below is synchronous;
``/healthz`` alone is a coroutine, so that it answers while every thread is busy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from ingestion.clock import Clock
from ingestion.errors import BadQuery
from ingestion.ledger.ledger import Ledger
from retrieval.api import schemas
from retrieval.api.guard import AUTHENTICATED, Guard
from retrieval.api.hinting import add_hinting
from retrieval.api.problems import MEDIA_TYPE, install, problem
from retrieval.api.pushing import add_pushing
from retrieval.api.representation import (
    Json,
    document_json,
    dumped,
    history_json,
    search_json,
    server_timing,
    source_json,
)
from retrieval.hints import Hinting
from retrieval.pushes import Pushing
from retrieval.search import Searcher

_MAX_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether every source's first listing is indexed and everything answers; if not, why not.

    ``degraded``: what is away and no reason to ask elsewhere.
    """

    ready: bool
    reasons: Sequence[str] = ()
    degraded: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """What the API speaks for.

    ``key_hashes`` as made by ``retrieval.api.keys.hash_key``: with any, every request but ``/healthz``
    and ``/readyz`` needs one of the keys. ``host`` is what the server is bound to. ``status`` gives
    values that JSON knows; ``metrics`` takes an Accept header and gives a body and its content type;
    ``pushing`` takes documents, ``hinting`` hints of changes.
    """

    searcher: Searcher
    ledger: Ledger
    clock: Clock
    host: str
    key_hashes: Sequence[str]
    status: Callable[[], dict[str, Any]]
    ready: Callable[[], Readiness]
    metrics: Callable[[str], tuple[bytes, str]]
    pushing: Pushing
    hinting: Hinting


def make_api(service: Service) -> FastAPI:
    """The ASGI application. Nothing is opened or started by it."""
    app = FastAPI(
        title="Headwater",
        description="Answers from a knowledge base that is kept current, and says how fresh each one is.",
        docs_url=None,  # those pages load their scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        responses={
            "default": {"description": "A problem", "content": {MEDIA_TYPE: {"schema": _problem_schema()}}}
        },
    )
    app.add_middleware(Guard, key_hashes=service.key_hashes, host=service.host)
    install(app, service.clock.monotonic)
    _add_search(app, service)
    _add_views(app, service)
    add_pushing(app, service.pushing)
    add_hinting(app, service.hinting)
    _add_operations(app, service)
    return app


def _add_search(app: FastAPI, service: Service) -> None:
    body_schema = schemas.SearchBody.model_json_schema()

    @app.post(
        "/v1/search",
        response_model=schemas.SearchOut,
        openapi_extra={
            "requestBody": {"required": True, "content": {"application/json": {"schema": body_schema}}}
        },
    )
    def search(body: Annotated[schemas.SearchBody, Depends(_search_body)]) -> Response:
        """The passages that answer a question best, each with its age."""
        response = service.searcher.search(body.request())
        return _json(search_json(response), {"Server-Timing": server_timing(response.timings)})


def _add_views(app: FastAPI, service: Service) -> None:
    @app.get("/v1/status")
    def status() -> Response:
        """What the service is doing, with which settings, data and model."""
        return _json(service.status())

    @app.get("/v1/sources", response_model=schemas.SourcesOut)
    def sources() -> Response:
        """Every source with its watermark, its lag and how many documents are in which state."""
        states, lags, now = service.ledger.sources.all(), service.ledger.views.lags(), service.clock.now()
        shown = [source_json(state, lags.get(state.name), now) for state in states if not state.is_own]
        return _json({"sources": shown})

    @app.get("/v1/documents", response_model=schemas.DocumentsOut)
    def documents(query: Annotated[schemas.DocumentsQuery, Query()]) -> Response:
        """Documents in the order in which they were first seen, a page at a time."""
        _require_source(service.ledger, query.source)
        page = service.ledger.views.documents(
            source=query.source, state=query.state, after=int(query.cursor), limit=query.limit + 1
        )
        more, shown = len(page) > query.limit, page[: query.limit]
        cursor = str(shown[-1].document_id) if more else None
        return _json({"documents": [document_json(view) for view in shown], "next_cursor": cursor})

    @app.get("/v1/documents/{document_id}", response_model=schemas.DocumentHistoryOut)
    def document(document_id: Annotated[int, Path(ge=1, le=_MAX_ID)]) -> Response:
        """One document with the history of what was tried for it."""
        view = service.ledger.views.document(document_id)
        if view is None:
            return problem(404, f"There is no document {document_id}.", hint="GET /v1/documents lists all.")
        history = history_json(service.ledger.views.history(document_id))
        return _json({**document_json(view), "history": history})


def _add_operations(app: FastAPI, service: Service) -> None:
    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz")
    async def healthz() -> Response:
        """The process is alive."""
        return _json({"alive": True})

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz")
    def readyz(request: Request) -> Response:
        """200 once it answers from everything that was there at its start; 503 with reasons until then."""
        readiness = service.ready()
        if readiness.ready:
            shown = list(readiness.degraded) if request.scope.get(AUTHENTICATED) else []
            return _json({"ready": True, "degraded": shown} if readiness.degraded else {"ready": True})
        reasons = readiness.reasons if request.scope.get(AUTHENTICATED) else ()
        faults = [("", reason) for reason in reasons]
        return problem(503, "Not ready: " + (" ".join(reasons) or "see /v1/status."), faults=faults)

    @app.get("/metrics")
    def metrics(request: Request) -> Response:
        """For Prometheus."""
        body, content_type = service.metrics(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})


async def _search_body(request: Request) -> schemas.SearchBody:
    """JSON whatever its declared type, which `curl -d` gets wrong; the guard keeps web pages out."""
    try:
        return schemas.SearchBody.model_validate_json(await request.body())
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in faults]) from None


def _require_source(ledger: Ledger, name: str | None) -> None:
    if name is None:
        return
    states = ledger.sources.all()
    if name not in [state.name for state in states]:
        known = ", ".join(state.name for state in states if not state.is_own)
        raise BadQuery("source", f"There is no such source. There are: {known or 'none'}.")


def _json(content: Json, headers: dict[str, str] | None = None) -> Response:
    return Response(dumped(content), headers=headers, media_type="application/json")


def _problem_schema() -> Json:
    return schemas.ProblemOut.model_json_schema()
