"""Asks a running daemon over HTTP, with nothing but the standard library: a command that does only this
starts at once."""

from __future__ import annotations

import http.client
import json
from typing import Any, Literal
from urllib.parse import urlsplit

from ingestion.errors import BadQuery, HeadwaterError

CONNECT_S = 2.0


class Unanswered(HeadwaterError):
    """The daemon is there and did not answer."""


def ask(
    url: str,
    method: Literal["GET", "POST"],
    path: str,
    *,
    body: object = None,
    key: str = "",
    timeout_s: float = CONNECT_S,
) -> Any:
    """The JSON answer. Raises Unanswered, BadQuery for a request that was refused for what it asks, and
    HeadwaterError with the daemon's own words for everything else."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=timeout_s)
    headers = {"Accept": "application/json"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    if key:
        headers["Authorization"] = f"Bearer {key}"
    try:
        connection.request(method, path, None if body is None else _encoded(body), headers)
        answer = connection.getresponse()
        raw = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise _unanswered(url, error) from error
    finally:
        connection.close()
    return _judged(url, answer.status, raw)


def _encoded(body: object) -> bytes:
    """Bytes of an argument that are no text, as a terminal of another encoding sends them, are question
    marks: no JSON can hold them."""
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def _judged(url: str, status: int, raw: bytes) -> Any:
    try:
        content = json.loads(raw)
    except ValueError:
        content = None
    if status < 400 and content is not None:
        return content
    problem = content if isinstance(content, dict) else {}
    detail = str(problem.get("detail") or f"The daemon at {url} answered with status {status}.")
    if status == 401:
        raise HeadwaterError(detail, hint="Put the key into HEADWATER_API_KEY.")
    if status == 422:
        raise BadQuery("", detail)
    raise HeadwaterError(detail, hint=str(problem.get("hint") or ""))


def _unanswered(url: str, error: Exception) -> Unanswered:
    reason = "it took too long" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    return Unanswered(
        f"The daemon at {url} did not answer ({reason}).",
        hint="If it stays so, end it and start it again: nothing is lost. See: headwater doctor",
    )
