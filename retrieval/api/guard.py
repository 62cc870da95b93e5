"""Who may ask what, decided before anything of a request is looked at.

Without keys the service listens on loopback only, where every web page the user opens can reach it too:
a page may make its own host name resolve to 127.0.0.1 and would then read the knowledge base as its own
origin. So the Host must be one of ours, and an Origin, where the browser sends one, must be the Host.
With keys neither matters: a page has none, and a proxy may rewrite both.

``/healthz`` and ``/readyz`` are open, and hints that are signed; everything else needs a key, ``/metrics``
too, because it names the sources (Prometheus sends a key with ``authorization: credentials_file``).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Sequence

from fastapi import Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retrieval.api.bodies import Bodies, NoRoom, TooLarge
from retrieval.api.keys import is_known
from retrieval.api.problems import RETRY_AFTER_S, problem

OPEN_PATHS = ("/healthz", "/readyz")
MAX_BODY_BYTES = 1_000_000
AUTHENTICATED = "headwater.authenticated"  # in the scope: whether whoever asks may see details

PUSHED_PATHS = "/v1/sources/"
# Whoever hears of changes there looks at the signature: it speaks of the body.
SIGNED_PATHS = re.compile(r"/v1/sources/[^/]+/hints")
SIGNATURE = "x-hub-signature-256"
MAX_PUSHED_BYTES = 64 * 1024 * 1024


class Guard:
    """ASGI middleware. ``host`` is what the service is bound to."""

    def __init__(self, app: ASGIApp, *, key_hashes: Sequence[str], host: str) -> None:
        self._app = app
        self._key_hashes = tuple(key_hashes)
        self._names = frozenset({"localhost", host.lower().strip("[]")})
        self._bodies = Bodies()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        with self._bodies.room() as room:
            try:
                messages = await room.read(receive, _most_bytes(scope))
            except ClientDisconnect:
                return  # nobody waits for an answer
            except (TooLarge, NoRoom) as refused:
                await _refused(refused, _most_bytes(scope))(scope, receive, send)
                return
            await self._app(scope, _again(messages, receive), send)

    def _refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> Response | None:
        refused = self._without_key(headers) if self._key_hashes else self._from_elsewhere(headers)
        scope[AUTHENTICATED] = refused is None
        is_signed = SIGNED_PATHS.fullmatch(scope["path"]) and SIGNATURE.encode() in headers
        return None if scope["path"] in OPEN_PATHS or is_signed else refused

    def _without_key(self, headers: dict[bytes, bytes]) -> Response | None:
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"bearer" and is_known(key.strip(), self._key_hashes):
            return None
        known = "The API key is not known." if key else "This service needs an API key."
        return problem(
            401,
            known,
            hint="Send one as 'Authorization: Bearer KEY'; [api] keys in the settings holds their hashes.",
            headers={"WWW-Authenticate": 'Bearer realm="headwater"'},
        )

    def _from_elsewhere(self, headers: dict[bytes, bytes]) -> Response | None:
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if not _is_ours(_without_port(host), self._names):
            return problem(
                421,
                "Requests without an API key must name this machine as their host.",
                hint="Use 127.0.0.1 or localhost in the address, or set [api] keys.",
            )
        origin = headers.get(b"origin")
        if origin is not None and origin.decode("latin-1").lower().partition("://")[2] != host:
            return problem(
                403,
                "Pages of other origins may not use this service without an API key.",
                hint="Ask from a program, or set [api] keys.",
            )
        return None


def _most_bytes(scope: Scope) -> int:
    """Only who has shown a key may send much."""
    pushes = scope["path"].startswith(PUSHED_PATHS) and scope[AUTHENTICATED]
    return MAX_PUSHED_BYTES if pushes else MAX_BODY_BYTES


def _refused(refusal: TooLarge | NoRoom, most_bytes: int) -> Response:
    if isinstance(refusal, TooLarge):
        return problem(413, f"The body is larger than {most_bytes} bytes.", headers={"Connection": "close"})
    return problem(
        503,
        "Too much is being handed over at once; nothing of this was taken.",
        hint="Send it again in a moment, or less at a time.",
        headers={"Connection": "close", "Retry-After": str(RETRY_AFTER_S)},
    )


def _again(messages: list[Message], receive: Receive) -> Receive:
    """What was read already, then whatever comes."""

    async def received() -> Message:
        return messages.pop(0) if messages else await receive()

    return received


def _without_port(host: str) -> str:
    """``[::1]:7878`` and ``localhost:7878`` without their ports and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_ours(name: str, names: Collection[str]) -> bool:
    if name in names:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
