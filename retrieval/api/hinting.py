"""The address where others say that something has changed: with a key, or signed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from pydantic import BaseModel, Field

from retrieval.api.guard import AUTHENTICATED, SIGNATURE
from retrieval.api.problems import invalid, problem
from retrieval.api.representation import dumped
from retrieval.hints import Hinting

PATH = "/v1/sources/{source}/hints"
MAX_URIS = 1000
MAX_URI_CHARACTERS = 2000


class HintsBody(BaseModel):
    uris: Annotated[list[str], Field(max_length=MAX_URIS, description="of documents, or of all below: 'a/'")]


class HintsOut(BaseModel):
    source: str
    hints: Annotated[int, Field(description="0: the whole source is looked at")]


def add_hinting(app: FastAPI, hinting: Hinting) -> None:
    body_schema = HintsBody.model_json_schema()

    @app.post(
        PATH,
        status_code=202,
        response_model=HintsOut,
        openapi_extra={"requestBody": {"content": {"application/json": {"schema": body_schema}}}},
    )
    def hints(source: str, request: Request, body: Annotated[bytes, Depends(_body)]) -> Response:
        """Have documents looked at now. Where the body names none, as those of webhooks do, all are."""
        signature = request.headers.get(SIGNATURE)
        if signature is not None and not hinting.is_signed(source, body, signature):
            return _unsigned()
        if signature is None and not request.scope.get(AUTHENTICATED):
            return _unsigned()
        uris = _uris(body)
        if fault := _fault(uris):
            return invalid([("uris", fault)])
        hinting.hint(source, uris or [""])
        content = {"source": source, "hints": len(uris)}
        return Response(dumped(content), 202, media_type="application/json")


async def _body(request: Request) -> bytes:
    return await request.body()


def _uris(body: bytes) -> Sequence[Any]:
    """What the body names; nothing where it is somebody else's words."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return ()
    uris = told.get("uris") if isinstance(told, dict) else None
    return uris if isinstance(uris, list) else ()


def _fault(uris: Sequence[Any]) -> str | None:
    if len(uris) > MAX_URIS:
        return f"holds {len(uris):,}; send {MAX_URIS:,} at a time, or none to have all looked at."
    for uri in uris:
        if not isinstance(uri, str) or not uri or "\0" in uri or len(uri) > MAX_URI_CHARACTERS:
            return f"should hold texts of up to {MAX_URI_CHARACTERS:,} characters."
    return None


def _unsigned() -> Response:
    return problem(
        401,
        "The signature is not that of this body and this source.",
        hint="Sign the body with the secret in hint_secret_file of the source (X-Hub-Signature-256: "
        "sha256=...), or send an API key.",
    )
