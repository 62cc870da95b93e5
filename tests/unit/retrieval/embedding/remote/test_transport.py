"""One POST over real sockets: what servers do to a connection, and how long that may take."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from ingestion.errors import EmbedderUnavailable
from retrieval.embedding.remote.faults import Late, Passing
from retrieval.embedding.remote.transport import Reply, Transport

TIMEOUT_S = 0.5
LONG_S = 5.0  # beyond which a limit was not kept, on any machine
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

Speak = Callable[[socket.socket, int], object]
"""One request on a connection, and how many there were on it before."""


class Server:
    """Accepts connections and lets ``speak`` answer on each, until it closes them or says no more."""

    def __init__(self, speak: Speak) -> None:
        self.speak = speak
        self.accepted: list[socket.socket] = []
        self.heads: list[bytes] = []
        self.over = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}/v1/embeddings"

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
            number = 0
            while one.fileno() >= 0 and self._request(one):
                self.speak(one, number)
                number += 1
        one.close()

    def _request(self, one: socket.socket) -> bool:
        """Read a head and its body, unless that is long; False at the end of the connection."""
        read = b""
        while (left := _left(read)) > 0:
            part = one.recv(left)
            if not part:
                return False
            read += part
        self.heads.append(read)
        return True


def _left(read: bytes) -> int:
    """How much of a request may still be read; only of a short one, the body is."""
    head, ended, body = read.partition(b"\r\n\r\n")
    if not ended:
        return 1
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    return length - len(body) if length < 1000 else 0


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(speak: Speak) -> Server:
        started.append(Server(speak))
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
    request, *headers = head.decode().split("\r\n")
    assert request == "POST /v1/embeddings HTTP/1.1"
    assert sorted(headers) == [
        "Accept-Encoding: identity",
        "Accept: application/json",
        "Authorization: Bearer a-key",
        "Connection: keep-alive",
        "Content-Length: 7",
        "Content-Type: application/json",
        f"Host: {host}",
        "User-Agent: headwater",
    ]


@pytest.mark.parametrize("status", ["100 Continue", "102 Processing", "103 Early Hints"])
def test_what_comes_before_an_answer_is_none(serve: Serve, reach: Reach, status: str) -> None:
    def hint(one: socket.socket, number: int) -> None:
        one.sendall(f"HTTP/1.1 {status}\r\n\r\n".encode())
        one.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)

    transport = reach(serve(hint))
    assert [(reply.status, reply.body) for reply in (post(transport), post(transport))] == [
        (200, b"0"),
        (200, b"1"),
    ]


def test_a_redirect_is_an_answer(serve: Serve, reach: Reach) -> None:
    elsewhere = serve(says(FINE))
    moved = f"HTTP/1.1 307 Moved\r\nLocation: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n"
    assert post(reach(serve(says(moved.encode())))).status == 307
    assert not elsewhere.accepted


@pytest.mark.parametrize(
    ("begin", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    ],
    ids=["body", "chunks", "no length"],
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
    with pytest.raises(Late, match="did not answer in time"):
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
        b"HTTP/1.1 200 OK\r\nX: " + b"secret" * 50_000 + b"\r\n\r\n",
        b"",
    ],
    ids=["body", "chunk", "other", "no chunk", "long header", "nothing"],
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
