"""Errors as RFC 9457 problem details, whatever went wrong and wherever.

A problem says what failed and what to do; it never holds a trace, a secret, or what was sent.
"""

from __future__ import annotations

import http
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingestion.errors import (
    BadQuery,
    HeadwaterError,
    Misconfigured,
    PushRefused,
    Refusal,
    Transient,
)
from retrieval.api.trouble import Trouble

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
USED = "/v1/"  # what needs the stores; /healthz answers without them

Fault = tuple[str, str]  # field, what is wrong with it

_DETAILS = {
    404: "Nothing is served here. The API is described at /openapi.json.",
    405: "This address does not understand that method.",
}

_REFUSED = {
    Refusal.SOURCE: 404,
    Refusal.UNKNOWN: 404,
    Refusal.KEY: 422,
    Refusal.SIZE: 413,
    Refusal.CONDITION: 412,
}


def problem(
    status: int,
    detail: str,
    *,
    hint: str = "",
    faults: Sequence[Fault] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document. ``faults`` become ``errors``, each with its field."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if hint:
        content["hint"] = hint
    if faults:
        content["errors"] = [{"field": field, "message": message} for field, message in faults]
    body = json.dumps(content).encode()
    return Response(body, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def install(app: FastAPI, monotonic: Callable[[], float]) -> None:
    """Make every error of the application a problem. Adds the outermost middleware: call this last."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    trouble = Trouble(monotonic)
    app.add_exception_handler(HeadwaterError, lambda _, error: _ours(error, trouble))
    app.add_middleware(Unforeseen, trouble=trouble)


def invalid(faults: Sequence[Fault]) -> Response:
    named = " ".join(f"{field}: {message}" if field else message for field, message in faults)
    return problem(422, named, faults=faults)


def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return invalid([(_field(fault), _message(fault)) for fault in error.errors()])


def _field(fault: Mapping[str, Any]) -> str:
    """``sources.0`` for the first of the sources; '' for the body as a whole."""
    return ".".join(str(part) for part in fault["loc"][1:])  # behind body, query or path


def _message(fault: Mapping[str, Any]) -> str:
    kind, context = str(fault["type"]), fault.get("ctx", {})
    if kind == "extra_forbidden":
        return "is not known here; look for a misspelling, or leave it out."
    if kind == "missing":
        return "is missing."
    if kind == "json_invalid":
        return f"The body is not JSON: {context.get('error', 'it cannot be read')}."
    if kind == "model_type":
        return "The body should be a JSON object."
    if kind == "value_error":
        return str(context.get("error", fault["msg"]))
    return str(fault["msg"]).replace("Input should", "should", 1) + "."


def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = _DETAILS.get(error.status_code, str(error.detail))
    return problem(error.status_code, detail, headers=error.headers)


def _ours(error: Exception, trouble: Trouble) -> Response:
    assert isinstance(error, HeadwaterError)
    if isinstance(error, BadQuery):
        return invalid([(error.field, error.message)])
    if isinstance(error, PushRefused):
        return problem(_REFUSED[error.refusal], error.message, hint=error.hint)
    if isinstance(error, Transient | Misconfigured):
        headers = {"Retry-After": str(RETRY_AFTER_S)} if isinstance(error, Transient) else {}
        trouble.met(error)
        return problem(503, error.message, hint=error.hint, headers=headers)
    log.error("a request failed: %s", error)
    return problem(500, error.message, hint=error.hint)


class Unforeseen:
    """ASGI middleware: an error that nobody foresaw is logged with its trace, and answered. What is answered
    well ends the trouble there was.

    The framework's own handler raises it again, and the server then cuts the connection, under the next
    request of a client that keeps it open.
    """

    def __init__(self, app: ASGIApp, *, trouble: Trouble) -> None:
        self._app = app
        self._trouble = trouble

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def sent(message: Message) -> None:
            nonlocal started
            started = True
            if message.get("status", 500) < 400 and scope["path"].startswith(USED):
                self._trouble.over()
            await send(message)

        try:
            await self._app(scope, receive, sent)
        except Exception:
            if started or scope["type"] != "http":
                raise
            log.exception("%s %s failed", scope["method"], scope["path"])
            await _UNFORESEEN(scope, receive, send)


_UNFORESEEN = problem(500, "The request failed for a reason nobody foresaw; the service's log has it.")
