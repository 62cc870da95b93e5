"""One POST over real sockets: what servers do to a connection, and how long that may take."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingestion.errors import EmbedderUnavailable
from retrieval.embedding.remote import transport as transport_module
from retrieval.embedding.remote.connection import Place
from retrieval.embedding.remote.faults import Late, Passing
from retrieval.embedding.remote.transport import Reply, Transport

PEM = Path(__file__).parent / "localhost.pem"  # of localhost, signed by itself, until 2126
TIMEOUT_S = 0.5
LONG_S = 5.0  # beyond which a limit was not kept, on any machine
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

Speak = Callable[[socket.socket, int], object]
"""One request on a connection, and how many there were on it before."""


class Server:
    """Accepts connections and lets ``speak`` answer on each, until it closes them or says no more."""

    def __init__(self, speak: Speak, context: ssl.SSLContext | None = None) -> None:
        self.speak = speak
        self.context = context
        self.accepted: list[socket.socket] = []
        self.heads: list[bytes] = []
        self.over = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        scheme = "https" if self.context else "http"
        return f"{scheme}://127.0.0.1:{self._listening.getsockname()[1]}/v1/embeddings"

    def close(self) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for one in self.accepted:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self._listening.accept()
            except OSError:
                return
            self.accepted.append(one)
            self._threads.append(threading.Thread(target=self._serve, args=(one,)))
            self._threads[-1].start()

    def _serve(self, one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self.context:
                one = self.context.wrap_socket(one, server_side=True)
            number = 0
            while one.fileno() >= 0 and self._request(one):
                self.speak(one, number)
                number += 1
        one.close()

    def _request(self, one: socket.socket) -> bool:
        """Read a head, and the short body that came with it; False at the end of the connection."""
        head = one.recv(65536)
        self.heads.append(head)
        return bool(head)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(speak: Speak, context: ssl.SSLContext | None = None) -> Server:
        started.append(Server(speak, context))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def reach() -> Iterator[Callable[[Server], Transport]]:
    opened: list[Transport] = []

    def make(server: Server) -> Transport:
        opened.append(Transport(server.url, "a-key", connections=2))
        return opened[-1]

    yield make
    for transport in opened:
        transport.close()


Serve = Callable[..., Server]
Reach = Callable[[Server], Transport]


def post(transport: Transport, body: bytes = b"{}", *, timeout_s: float = LONG_S) -> Reply:
    return transport.post(body, timeout_s=timeout_s, most_bytes=1000)


def says(answer: bytes) -> Speak:
    return lambda one, number: one.sendall(answer)


def test_what_is_sent(serve: Serve, reach: Reach) -> None:
    server = serve(says(FINE))
    assert post(reach(server), b'{"a":1}') == Reply(200, {"content-length": "2"}, b"{}")
    host = server.url.split("/")[2]
    head, _, body = server.heads[0].partition(b"\r\n\r\n")
    assert body == b'{"a":1}'
    assert head.decode().split("\r\n") == [
        "POST /v1/embeddings HTTP/1.1",
        f"Host: {host}",
        "User-Agent: headwater",
        "Accept: application/json",
        "Accept-Encoding: identity",
        "Authorization: Bearer a-key",
        "Content-Type: application/json",
        "Content-Length: 7",
    ]


@pytest.mark.parametrize(
    ("begin", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["body", "chunks", "no length", "headers", "continue"],
)
def test_an_answer_that_drips_is_given_up_in_time(
    serve: Serve, reach: Reach, begin: bytes, drop: bytes
) -> None:
    """Each byte comes in time; the answer does not."""

    def drip(one: socket.socket, number: int) -> None:
        one.sendall(begin)
        while not server.over.wait(TIMEOUT_S / 5):
            one.sendall(drop)

    server = serve(drip)
    began = time.monotonic()
    with pytest.raises(Late, match=r"did not answer within 0\.5 s"):
        post(reach(server), timeout_s=TIMEOUT_S)
    assert TIMEOUT_S <= time.monotonic() - began < LONG_S


def test_a_server_that_reads_nothing_is_given_up_in_time(serve: Serve, reach: Reach) -> None:
    over = threading.Event()
    server = serve(lambda one, number: over.wait(LONG_S))
    began = time.monotonic()
    with pytest.raises(Late):
        post(reach(server), b"x" * 50_000_000, timeout_s=TIMEOUT_S)
    assert time.monotonic() - began < LONG_S
    over.set()


def test_a_handshake_that_does_not_end_is_given_up_in_time(serve: Serve) -> None:
    over = threading.Event()
    server = serve(lambda one, number: over.wait(LONG_S))
    transport = Transport(server.url.replace("http:", "https:"), None, connections=1)
    began = time.monotonic()
    with pytest.raises(Late):
        post(transport, timeout_s=TIMEOUT_S)
    assert time.monotonic() - began < LONG_S
    over.set()
    transport.close()


def test_one_request_after_the_other_on_one_connection(serve: Serve, reach: Reach) -> None:
    server = serve(says(FINE))
    transport = reach(server)
    for _ in range(3):
        post(transport)
    assert len(server.accepted) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n\r\n{}",
    ],
    ids=["close", "1.0", "no length"],
)
def test_a_connection_that_ends_with_its_answer_is_not_used_again(
    serve: Serve, reach: Reach, answer: bytes
) -> None:
    def once(one: socket.socket, number: int) -> None:
        one.sendall(answer)
        one.close()

    server = serve(once)
    transport = reach(server)
    for _ in range(2):
        assert post(transport).body == b"{}"
    assert len(server.accepted) == 2


def test_a_connection_that_the_server_closed_meanwhile_costs_no_call(serve: Serve, reach: Reach) -> None:
    server = serve(says(FINE))
    transport = reach(server)
    post(transport)
    server.accepted[0].shutdown(socket.SHUT_RDWR)
    assert post(transport).status == 200
    assert len(server.accepted) == 2


def test_a_connection_that_was_idle_for_long_is_not_used_again(
    serve: Serve, reach: Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(says(FINE))
    transport = reach(server)
    post(transport)
    monkeypatch.setattr(transport_module, "_IDLE_S", 0.0)
    post(transport)
    assert len(server.accepted) == 2


def test_no_more_connections_are_kept_than_calls_are_made_together(serve: Serve, reach: Reach) -> None:
    together = threading.Barrier(4)

    def meet(one: socket.socket, number: int) -> None:
        together.wait(LONG_S)
        one.sendall(FINE)

    server = serve(meet)
    transport = reach(server)
    threads = [threading.Thread(target=post, args=(transport,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(transport._kept) == 2
    transport.close()
    assert not transport._kept


def test_chunks_are_put_together(serve: Serve, reach: Reach) -> None:
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
    server = serve(says(chunks))
    transport = reach(server)
    for _ in range(2):
        assert post(transport).body == b"{}"
    assert len(server.accepted) == 1


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 1001\r\n\r\n",
        b"Content-Length: 99999999999\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nffffffffff\r\n",
        b"\r\n",
    ],
    ids=["length", "great length", "chunk", "great chunk", "no length"],
)
def test_no_more_is_read_than_vectors_can_be(serve: Serve, reach: Reach, head: bytes) -> None:
    server = serve(says(b"HTTP/1.1 200 OK\r\n" + head + b"x" * 1001))
    with pytest.raises(EmbedderUnavailable, match="more than 1,000 bytes"):
        post(reach(server))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}",
        b"SSH-2.0-secret\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: secret\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"secret" * 20_000 + b"\r\n\r\n",
        b"",
    ],
    ids=["body", "chunk", "other", "no chunk", "many headers", "long header", "nothing"],
)
def test_what_is_no_answer_may_pass(serve: Serve, reach: Reach, answer: bytes) -> None:
    def once(one: socket.socket, number: int) -> None:
        one.sendall(answer)
        one.close()

    with pytest.raises(Passing, match="cannot be reached") as caught:
        post(reach(serve(once)))
    assert "secret" not in str(caught.value)


def test_an_answer_to_a_request_that_was_not_read_is_heard(serve: Serve, reach: Reach) -> None:
    def refuse(one: socket.socket, number: int) -> None:
        one.sendall(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
        one.close()  # with much of the request unread: the system sends a reset

    assert post(reach(serve(refuse)), b"x" * 50_000_000).status == 413


def test_the_environment_has_no_say_in_where_it_goes(
    serve: Serve, reach: Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = serve(says(FINE))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, elsewhere.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert post(reach(serve(says(FINE)))).status == 200
    assert not elsewhere.accepted


def test_only_an_authority_that_is_trusted_is_spoken_to(
    serve: Serve, reach: Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    server = serve(says(FINE), context)
    with pytest.raises(Passing, match="certificate verify failed"):
        post(reach(server))
    assert not server.heads
    monkeypatch.setenv("SSL_CERT_FILE", str(PEM))
    transport = reach(server)
    for _ in range(3):
        assert post(transport).body == b"{}"
    assert len(server.accepted) <= 3  # a ticket that came late may have cost the first one


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://localhost/v1", Place("localhost", 80, "localhost", "/v1")),
        ("https://localhost:443/v1", Place("localhost", 443, "localhost", "/v1")),
        ("https://localhost:80/v1", Place("localhost", 80, "localhost:80", "/v1")),
        ("http://[::1]:8000/v1", Place("::1", 8000, "[::1]:8000", "/v1")),
        ("http://bücher.de/ü%20x", Place("xn--bcher-kva.de", 80, "xn--bcher-kva.de", "/%C3%BC%20x")),
    ],
)
def test_where_an_address_leads(url: str, place: Place) -> None:
    assert Place.of(url) == place
