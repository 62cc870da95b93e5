"""The connection to one Weaviate: its REST interface for collections, its gRPC interface for chunks.

It speaks gRPC with the messages that Weaviate's own client publishes, not through that client's methods:
those wait up to a minute for a server that is away, whatever timeout they were given, and keep of an error
only its words. Here every call ends within its time, is tried once more where the connection was dropped
(all of them are idempotent), and an error is known by its code.

Nothing is opened before the first call, nor inherited by a forked process.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import httpx

from ingestion import tls
from ingestion.errors import IndexUnavailable, Misconfigured

if TYPE_CHECKING:
    import grpc

Reply = TypeVar("Reply")

WRITES = 3.0  # times as long as a question may a write take
RECONNECT_S = 2.0  # for the second try: a server that was restarted answers within that, one that is away not
_CHANNEL = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
)


class KeyRefused(IndexUnavailable):
    """Weaviate does not take the key: nothing is lost, and a person has to act."""


class Doubtful(Exception):
    """Weaviate answered a call with an error of its own; the collection tells what it means.

    ``said`` is for the one error that has a meaning in no code: it may quote what was asked.
    """

    def __init__(self, code: str, said: str) -> None:
        super().__init__(code)
        self.code = code
        self.said = said


@dataclass(frozen=True, slots=True)
class Address:
    """Where a Weaviate answers. ``shown`` may be told to anyone: it holds no credentials."""

    url: str
    grpc_target: str
    secure: bool

    @property
    def shown(self) -> str:
        return self.url.split("://", 1)[1]

    @classmethod
    def of(cls, url: str, grpc_port: int) -> Address:
        """Raises Misconfigured."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise Misconfigured(
                "The address of Weaviate is not one like http://localhost:8080.",
                hint="Check index.url; a key belongs into index.api_key.",
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        port = f":{parts.port}" if parts.port else ""
        path = parts.path.rstrip("/")
        secure = parts.scheme == "https"
        return cls(f"{parts.scheme}://{host}{port}{path}", f"{host}:{grpc_port}", secure)


class Wire:
    """One process's connection, shared by its threads. ``api_key`` appears in no message."""

    def __init__(self, address: Address, api_key: str | None, timeout_s: float) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self._key = f"Bearer {api_key}" if api_key else None
        self._opening = threading.Lock()
        self._opened: _Opened | None = None

    def get(self, path: str) -> httpx.Response:
        """200 or 404, or an error."""
        return self._rest("GET", path, self.timeout_s)

    def change(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """2xx, 404 or 422, or an error."""
        return self._rest(method, path, WRITES * self.timeout_s, body)

    def ask(self, method: str, request: object) -> Any:
        """The reply to a gRPC question. Raises IndexUnavailable, Doubtful."""
        return self._call(method, request, self.timeout_s)

    def begin(self, method: str, request: object) -> Callable[[], Any]:
        """As ``ask``, but what is returned waits for the reply: others can be asked meanwhile."""
        with self._translated(self.timeout_s):
            call, metadata = getattr(self._now().stub, method), self._metadata()
            begun = call.future(request, metadata=metadata, timeout=self.timeout_s)

        def reply() -> Any:
            return self._replied(begun.result, call, request, self.timeout_s)

        return reply

    def write(self, method: str, request: object) -> Any:
        """The reply to a gRPC write, which must be one that may be repeated. Raises as ``ask``."""
        return self._call(method, request, WRITES * self.timeout_s)

    def close(self) -> None:
        with self._opening:
            opened, self._opened = self._opened, None
        if opened is not None and opened.process == os.getpid():
            opened.rest.close()
            opened.channel.close()

    def _rest(self, method: str, path: str, timeout_s: float, body: Any = None) -> httpx.Response:
        with self._translated(timeout_s):
            answer = _twice(
                partial(self._now().rest.request, method, path, json=body, timeout=timeout_s),
                lambda error: isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError),
            )
        if answer.status_code in (401, 403):
            raise self._refused()
        if not (answer.is_success or answer.status_code in (404, 422)):
            raise IndexUnavailable(
                f"Weaviate at {self.address.shown} answered {answer.status_code} to {method} {path}.",
                hint="Its log says why.",
            )
        return answer

    def _call(self, method: str, request: object, timeout_s: float) -> Any:
        with self._translated(timeout_s):
            call = getattr(self._now().stub, method)
        first = partial(call, request, metadata=self._metadata(), timeout=timeout_s)
        return self._replied(first, call, request, timeout_s)

    def _replied(self, first: Callable[[], Any], call: Any, request: object, timeout_s: float) -> Any:
        """What ``first`` gives, or a second try where the connection was dropped."""
        import grpc

        with self._translated(timeout_s):
            try:
                return first()
            except grpc.RpcError as error:
                if _code(error) is not grpc.StatusCode.UNAVAILABLE:
                    raise
            ends = min(timeout_s, RECONNECT_S)
            try:
                return call(request, metadata=self._metadata(), timeout=ends, wait_for_ready=True)
            except grpc.RpcError as error:
                if _code(error) is grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise self._away() from error
                raise

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", self._key),) if self._key else ()

    @contextlib.contextmanager
    def _translated(self, timeout_s: float) -> Iterator[None]:
        import grpc

        codes = grpc.StatusCode
        try:
            yield
        except httpx.TimeoutException as error:
            raise self._slow(timeout_s) from error
        except httpx.TransportError as error:
            fault = tls.fault_of(error)
            raise self._away() if fault is None else self._untrusted(fault) from error
        except grpc.FutureCancelledError as error:  # closed meanwhile
            raise self._away() from error
        except grpc.RpcError as error:
            code = _code(error)
            if code is codes.DEADLINE_EXCEEDED:
                raise self._slow(timeout_s) from error
            if code in (codes.UNAVAILABLE, codes.CANCELLED):
                raise self._away() from error
            if code in (codes.UNAUTHENTICATED, codes.PERMISSION_DENIED):
                raise self._refused() from error
            raise Doubtful(code.name, error.details() or "") from error

    def _now(self) -> _Opened:
        with self._opening:
            if self._opened is None or self._opened.process != os.getpid():
                self._opened = _open(self.address, self._key)
            return self._opened

    def _away(self) -> IndexUnavailable:
        return IndexUnavailable(
            f"Weaviate at {self.address.shown} (gRPC at {self.address.grpc_target}) cannot be reached.",
            hint="Is it running? Check index.url and index.grpc_port."
            + (" With https, its gRPC port has to speak TLS too." if self.address.secure else ""),
        )

    def _untrusted(self, fault: str) -> IndexUnavailable:
        return IndexUnavailable(
            f"No TLS connection to Weaviate at {self.address.shown} comes about: {fault}.",
            hint="Check index.url. An authority of your own: add it to the system's, or name a file with it "
            "in SSL_CERT_FILE.",
        )

    def _slow(self, timeout_s: float) -> IndexUnavailable:
        return IndexUnavailable(f"Weaviate at {self.address.shown} did not answer within {timeout_s:g} s.")

    def _refused(self) -> KeyRefused:
        return KeyRefused(
            f"Weaviate at {self.address.shown} refuses the key"
            + (", or its rights." if self._key else ": none."),
            hint="Check index.api_key.",
        )


@dataclass(frozen=True, slots=True)
class _Opened:
    process: int
    rest: httpx.Client
    channel: grpc.Channel
    stub: Any


def _open(address: Address, key: str | None) -> _Opened:
    import grpc
    from weaviate.proto.v1 import weaviate_pb2_grpc

    rest = httpx.Client(
        base_url=f"{address.url}/v1",
        headers={"authorization": key} if key else {},
        trust_env=False,
        # The system's certificates, so that those of one's own authority count; gRPC does not ask for them.
        verify=ssl.create_default_context() if address.secure else True,
    )
    if address.secure:
        trusted = grpc.ssl_channel_credentials(tls.authorities())
        channel = grpc.secure_channel(address.grpc_target, trusted, options=_CHANNEL)
    else:
        channel = grpc.insecure_channel(address.grpc_target, options=_CHANNEL)
    make_stub: Any = weaviate_pb2_grpc.WeaviateStub  # made by a generator, untyped
    return _Opened(os.getpid(), rest, channel, make_stub(channel))


def _twice(call: Callable[[], Reply], is_dropped: Callable[[Exception], bool]) -> Reply:
    """Once more where the connection was dropped: the first call after a restart meets a dead one."""
    try:
        return call()
    except Exception as error:
        if not is_dropped(error):
            raise
    return call()


def _code(error: grpc.RpcError) -> grpc.StatusCode:
    """Every error of a call is the call itself, too, and knows its code and its words."""
    code: grpc.StatusCode = error.code()
    return code
