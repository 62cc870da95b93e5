"""One POST to the endpoint: bounded in time and in size, never sent anywhere else.

Redirects are not followed, as the key would go where they point; proxies and credentials of the
environment are not used. It never tries twice and never judges what was answered.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ingestion.errors import EmbedderUnavailable
from retrieval.embedding.remote.faults import Late, Passing

if TYPE_CHECKING:
    import httpx

CONNECT_S = 10.0
_IDLE_S = 30.0  # servers close what has been idle for a minute; a request on such a connection is lost


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """POSTs JSON to one address. Safe to call from several threads; opens its connections when used."""

    def __init__(self, url: str, key: str | None, *, connections: int) -> None:
        """``key`` goes into the Authorization header, and nowhere else; so many ``connections`` are kept."""
        import httpx  # 0.1 s that no local embedder needs

        self.url = url
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "headwater"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._client = httpx.Client(
            headers=headers,
            trust_env=False,
            follow_redirects=False,
            # The system's certificates, so that those of one's own authority count.
            verify=ssl.create_default_context() if url.startswith("https:") else True,
            limits=httpx.Limits(max_keepalive_connections=connections, keepalive_expiry=_IDLE_S),
        )

    def post(self, body: bytes, *, timeout_s: float, most_bytes: int) -> Reply:
        """The reply, whatever its status.

        Raises Late when there is none in time, Passing when the connection breaks, and
        EmbedderUnavailable for one of more than ``most_bytes``.
        """
        import httpx

        ends = time.monotonic() + timeout_s
        timeout = httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s))
        headers = {"Content-Type": "application/json"}
        try:
            with self._client.stream(
                "POST", self.url, content=body, headers=headers, timeout=timeout
            ) as response:
                received = self._received(response, ends, most_bytes)
                return Reply(response.status_code, _plain(response.headers), received)
        except httpx.TimeoutException as error:
            raise self._late(timeout_s) from error
        except (UnicodeError, httpx.InvalidURL) as error:  # a host that cannot even be looked up
            raise EmbedderUnavailable(
                f"The embedding endpoint {self.url} has an address that cannot be.",
                hint="Check embedding.url.",
            ) from error
        except (httpx.HTTPError, OSError) as error:
            raise Passing(
                f"The embedding endpoint {self.url} cannot be reached ({_reason(error)}).",
                hint="Check that it runs, and embedding.url; it is tried again.",
            ) from error

    def close(self) -> None:
        """Close its connections. Idempotent."""
        self._client.close()

    def _received(self, response: httpx.Response, ends: float, most_bytes: int) -> bytes:
        received = bytearray()
        for part in response.iter_bytes():
            received += part
            if len(received) > most_bytes:
                raise EmbedderUnavailable(
                    f"The embedding endpoint {self.url} answered with more than {most_bytes:,} bytes, which "
                    "is more than the vectors asked for can be.",
                    hint="Check embedding.url, embedding.runtime and embedding.dimensions.",
                )
            if time.monotonic() > ends:  # the client's own limit begins again with each part
                raise self._late(0.0)
        return bytes(received)

    def _late(self, timeout_s: float) -> Late:
        within = f" within {timeout_s:g} s" if timeout_s else " in time"
        return Late(
            f"The embedding endpoint {self.url} did not answer{within}.",
            hint="If it is only slow, raise embedding.timeout_s or lower embedding.batch_texts.",
        )


def _plain(headers: httpx.Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _reason(error: Exception) -> str:
    """The system's own words, or the kind of fault: other messages may quote what was sent."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, OSError) and below.strerror:
            return below.strerror
        below = below.__cause__ or below.__context__
    return type(error).__name__
