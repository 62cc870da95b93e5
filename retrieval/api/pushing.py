"""The addresses that take documents: one of them, or many as JSON lines.

Everything is checked before anything is kept, and a batch is taken as a whole or not at all.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ingestion.errors import PushRefused, Refusal
from ingestion.ledger.kept import Keep
from retrieval.api.problems import Fault, invalid
from retrieval.api.representation import Json, dumped, rfc3339
from retrieval.pushes import Condition, Pushed, Pushing, Receipt

DOCUMENT = "/v1/sources/{source}/documents/{key:path}"
BATCH = "/v1/sources/{source}/documents"
MAX_LINES = 10_000
FAULTS_SHOWN = 20
MAX_TITLE_CHARACTERS = 500
MAX_MEDIA_TYPE_CHARACTERS = 200

# What clients say who were told nothing: the name of the document knows more.
_SAYS_NOTHING = ("application/octet-stream", "application/x-www-form-urlencoded")

Title = Annotated[str, Field(max_length=MAX_TITLE_CHARACTERS)]
MediaType = Annotated[str, Field(max_length=MAX_MEDIA_TYPE_CHARACTERS)]


class PushQuery(BaseModel):
    """What goes with a document that is sent as it is."""

    model_config = ConfigDict(extra="forbid")

    title: Title | None = None
    changed_at: AwareDatetime | None = None


class PushLine(BaseModel):
    """One line of a batch: a document as text or as base64, or one to be deleted."""

    model_config = ConfigDict(extra="forbid")

    key: Annotated[str, Field(min_length=1)]
    text: str | None = None
    base64: str | None = None
    delete: bool = False
    content_type: MediaType | None = None
    title: Title | None = None
    changed_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _one_of(self) -> PushLine:
        if sum((self.text is not None, self.base64 is not None, self.delete)) != 1:
            raise ValueError('needs exactly one of "text", "base64" and "delete": true.')
        return self

    def keep(self) -> Keep:
        """Raises ValueError for what is no base64, or no text that UTF-8 can hold."""
        body = None if self.delete else self._body()
        return Keep(self.key, body, told_type(self.content_type), self.title, _seconds(self.changed_at))

    def _body(self) -> bytes:
        if self.text is not None:
            return self.text.encode()
        return base64.b64decode(self.base64 or "", validate=True)


class PushedOut(BaseModel):
    source: str
    key: str
    digest: Annotated[str | None, Field(description="SHA-256 of the body; null: not there any more")]
    changed: Annotated[bool, Field(description="false: it was the same before")]
    generation: Annotated[int, Field(description="min_generation of a search that is to see it")]


class KeptOut(BaseModel):
    source: str
    key: str
    digest: str
    size_bytes: int
    content_type: str | None
    title: str | None
    changed_at: Annotated[str, Field(description="as the lag is measured from")]
    received_at: str


class BatchOut(BaseModel):
    source: str
    generation: int
    documents: list[Json]


def add_pushing(app: FastAPI, pushing: Pushing) -> None:
    @app.put(DOCUMENT, status_code=202, response_model=PushedOut)
    def put(
        source: str,
        key: str,
        request: Request,
        query: Annotated[PushQuery, Query()],
        body: Annotated[bytes, Depends(_body)],
    ) -> Response:
        """Hand a document over: new, or in the place of the one with that key. Twice is as good as once."""
        media_type = told_type(request.headers.get("content-type"))
        given = Keep(key, body, media_type, query.title, _seconds(query.changed_at))
        return _pushed(source, pushing.push(source, [given], _condition(request)))

    @app.get(DOCUMENT, response_model=KeptOut)
    def kept(source: str, key: str) -> Response:
        """What is kept under a key; its ETag is what If-Match takes."""
        look = pushing.kept(source, key)
        content = {
            "source": source,
            "key": key,
            "digest": look.digest,
            "size_bytes": look.size_bytes,
            "content_type": look.media_type,
            "title": look.title,
            "changed_at": rfc3339(look.changed_at),
            "received_at": rfc3339(look.received_at),
        }
        return _json(content, look.digest, code=200)

    @app.delete(DOCUMENT, status_code=202, response_model=PushedOut)
    def delete(source: str, key: str, request: Request) -> Response:
        """No search that begins after the answer shows it any more."""
        receipt = pushing.push(source, [Keep(key, None)], _condition(request))
        if not receipt.documents:
            raise PushRefused(
                Refusal.UNKNOWN,
                f"{source}/{key} was never handed over; there is nothing to delete.",
                hint="GET /v1/documents?source= lists what is there.",
            )
        return _pushed(source, receipt)

    @app.post(
        BATCH,
        status_code=202,
        response_model=BatchOut,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/x-ndjson": {"schema": PushLine.model_json_schema()}},
            }
        },
    )
    def batch(source: str, body: Annotated[bytes, Depends(_body)]) -> Response:
        """Hand many over, one a line of JSON. If one of them is wrong, none is taken."""
        given, faults = _lines(body)
        if faults:
            return invalid(faults)
        receipt = pushing.push(source, given)
        documents = [_document(one) for one in receipt.documents]
        return _json({"source": source, "generation": receipt.generation, "documents": documents})


def told_type(media_type: str | None) -> str | None:
    """The media type, where it says anything."""
    if media_type is None or media_type.partition(";")[0].strip().lower() in ("", *_SAYS_NOTHING):
        return None
    return media_type.strip()[:MAX_MEDIA_TYPE_CHARACTERS]


async def _body(request: Request) -> bytes:
    return await request.body()


def _condition(request: Request) -> Condition | None:
    """If-Match, or If-None-Match: *. Raises RequestValidationError for any other If-None-Match."""
    if (unmatched := request.headers.get("if-none-match")) is not None:
        if unmatched.strip() != "*":
            fault = {"type": "value_error", "loc": ("header", "if-none-match"), "msg": "", "ctx": {}}
            fault["ctx"] = {"error": "should be *: only what is not there is to be made."}
            raise RequestValidationError([fault])
        return Condition(exists=False)
    if (matched := request.headers.get("if-match")) is None:
        return None
    if matched.strip() == "*":
        return Condition()
    tags = (tag.strip().removeprefix("W/").strip('"') for tag in matched.split(","))
    return Condition(digests=frozenset(tags))


def _lines(body: bytes) -> tuple[list[Keep], list[Fault]]:
    given: list[Keep] = []
    faults: list[Fault] = []
    first: dict[str, int] = {}
    for number, line in enumerate(body.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            keep = PushLine.model_validate_json(line).keep()
        except ValidationError as error:
            faults += _faults(number, error)
        except (ValueError, binascii.Error) as error:
            faults.append((f"line {number}", f"holds no base64, or no text of UTF-8 ({error})."))
        else:
            if keep.uri in first:
                faults.append((f"line {number}", f"names {keep.uri!r}, as line {first[keep.uri]} does."))
            first.setdefault(keep.uri, number)
            given.append(keep)
        if len(faults) >= FAULTS_SHOWN:
            break
    if not given and not faults:
        faults.append(("", "The body holds no line; send one JSON object a line."))
    if len(given) > MAX_LINES:
        faults.append(("", f"There are {len(given):,} lines; send {MAX_LINES:,} at a time."))
    return given, faults


def _faults(number: int, error: ValidationError) -> Iterator[Fault]:
    for one in error.errors(include_url=False, include_input=False):
        at = ".".join(str(part) for part in one["loc"])
        message = str(one.get("ctx", {}).get("error", one["msg"]))
        yield f"line {number}", f"{at} {message}".strip()


def _seconds(moment: AwareDatetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _document(one: Pushed) -> Json:
    return {"key": one.uri, "digest": one.digest, "changed": one.changed}


def _pushed(source: str, receipt: Receipt) -> Response:
    (one,) = receipt.documents
    content = {"source": source, **_document(one), "generation": receipt.generation}
    return _json(content, one.digest)


def _json(content: Json, digest: str | None = None, *, code: int = 202) -> Response:
    headers = {} if digest is None else {"ETag": f'"{digest}"'}
    return Response(dumped(content), code, headers=headers, media_type="application/json")
