"""Web pages that want to be somewhere else: URLs of every form that lead inside, redirects, names and
sitemaps that do, and servers that answer without end.

``python -m tests.bench.hostile_web`` looks at all of them, a test at some, with a real source, and tripwires
in the places where nobody may come.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import socket
import socketserver
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import quote
from xml.sax.saxutils import escape

import httpcore

from ingestion.database import Database
from ingestion.records import Gone
from ingestion.sources.web import fetching
from ingestion.sources.web.addresses import resolved
from ingestion.sources.web.fetching import Fetcher
from ingestion.sources.web.source import WebSource
from ingestion.sources.web.urls import normal
from tests.hostile_answers import ANSWERS
from tests.rig import Rig, ShiftedClock

NAME = "outside"
ZONE = "outside.test"
GOOD = f"good.{ZONE}"
MOST_BYTES = 1_000_000
WHOLE_S = 1.0
STATUSES = (301, 302, 303, 307, 308)
INSIDE = """
127.0.0.1 127.0.0.2 127.255.255.254 0.0.0.0 10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.254 192.168.0.1
192.168.255.254 169.254.0.1 169.254.169.254 169.254.170.2 100.64.0.1 100.100.100.200 192.0.0.192 168.63.129.16
198.18.0.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
""".split()  # noqa: SIM905 - one a line would take a screen
INSIDE_6 = """
::1 :: fe80::1 fe80::1%25lo fe80::a9fe:a9fe%251 fc00::1 fd00:ec2::254 fdff::1 fec0::1 ff02::1 ff05::1:3
2001:db8::1 100::1 ::ffff:0:127.0.0.1 64:ff9b:1::7f00:1 5f00::1 3fff::1
""".split()  # noqa: SIM905 - one a line would take a screen
OTHER_SCHEMES = """
file:///etc/passwd file://localhost/etc/passwd ftp://127.0.0.1/ gopher://127.0.0.1:6379/_INFO
dict://127.0.0.1:11211/stat ldap://127.0.0.1/ jar:http://127.0.0.1!/ data:text/html,hello javascript:alert(1)
tel:1 mailto:a@b ws://127.0.0.1/ unix:///var/run/docker.sock http+unix://%2Fvar%2Frun%2Fdocker.sock/info
about:blank netdoc:///etc/passwd sftp://127.0.0.1/ tftp://127.0.0.1/ ssh://127.0.0.1/ blob:http://127.0.0.1/x
""".split()  # noqa: SIM905 - one a line would take a screen


def forms(address: str) -> Iterator[str]:
    """The ways to write an address of IPv4 as the host of a URL, and to wrap it in one of IPv6."""
    four = ipaddress.IPv4Address(address)
    number, parts = int(four), address.split(".")
    yield address
    yield f"{address}."
    yield str(number)
    yield hex(number)
    yield f"0{number:o}"
    yield f"{parts[0]}.{number & 0xFFFFFF}"
    yield f"{parts[0]}.{parts[1]}.{number & 0xFFFF}"
    yield ".".join(f"0{int(part):o}" for part in parts)
    yield ".".join(hex(int(part)) for part in parts)
    yield ".".join(f"{int(part):03}" for part in parts)
    yield f"{hex(int(parts[0]))}.0{int(parts[1]):o}.{number & 0xFFFF}"
    yield "".join(chr(ord(one) + 0xFEE0) if one.isdigit() else one for one in address)
    yield address.replace(".", "\u3002")
    yield address.replace(".", "\uff0e")
    yield "".join(chr(0x2460 + int(one) - 1) if one in "123456789" else one for one in address)
    yield quote(address, safe="").replace("1", "%31")
    six = f"{number >> 16:x}:{number & 0xFFFF:x}"
    yield f"[::ffff:{address}]"
    yield f"[::ffff:{six}]"
    yield f"[0:0:0:0:0:ffff:{six}]"
    yield f"[::{six}]"
    yield f"[::ffff:0:{six}]"
    yield f"[64:ff9b::{six}]"
    yield f"[64:ff9b:1::{six}]"
    yield f"[2002:{six}::1]"
    yield f"[2001:0:{six}::{~number >> 16 & 0xFFFF:x}:{~number & 0xFFFF:x}]"
    yield f"[::ffff:{six}%25lo]"


def hosts() -> list[str]:
    """Every host that is inside, in every form."""
    of_four = [list(forms(address)) for address in INSIDE]
    mixed = [form for some in itertools.zip_longest(*of_four) for form in some if form]
    names = ["localhost", "LOCALHOST", "localhost.", "a.localhost", "ip6-localhost", "ip6-loopback"]
    return [*mixed, *(f"[{address}]" for address in INSIDE_6), *names, *NAMES]


Answers = Sequence[Sequence[str]]
NAMES: dict[str, Answers] = {
    "inside.test": [["127.0.0.1"]],
    "metadata.google.internal": [["169.254.169.254"]],
    "instance-data": [["169.254.169.254"]],
    "six.test": [["::1"]],
    "mapped.test": [["::ffff:127.0.0.1"]],
    "zone.test": [["fe80::1%lo"]],
    "first.test": [["127.0.0.1", "8.8.8.8"]],
    "last.test": [["8.8.8.8", "2606:4700::1111", "127.0.0.1"]],
    "six-of-two.test": [["8.8.8.8", "::1"]],
    "changes.test": [["8.8.8.8", "127.0.0.1"], ["127.0.0.1"], ["127.0.0.1"]],
    "again.test": [["10.0.0.1"], ["127.0.0.1"], ["8.8.8.8", "127.0.0.1"]],
    "nothing.test": [[]],
    "no-address.test": [["localhost"], ["0x7f.1"], ["127.1"], ["2130706433"]],
    "empty.test": [[""]],
    "many.test": [[f"8.8.{n // 256}.{n % 256}" for n in range(2000)] + ["127.0.0.1"]],
}
"""Names that the resolver of the test knows, and what it answers each time it is asked."""


@dataclass
class Tripwire:
    """Listens where nobody may come, and counts who does."""

    touched: int = 0
    port: int = 0
    _listening: list[socket.socket] = field(default_factory=list)

    def __enter__(self) -> Tripwire:
        for address in ("127.0.0.1", "127.0.0.2", "::1", *_own_addresses()):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            one = socket.socket(family, socket.SOCK_STREAM)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind((address, self.port))
            except OSError:  # this machine has no such address
                one.close()
                continue
            self.port = one.getsockname()[1]
            one.listen(64)
            self._listening.append(one)
            threading.Thread(target=self._count, args=(one,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._listening:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _count(self, one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = one.accept()
                self.touched += 1
                connection.close()


def _own_addresses() -> list[str]:
    """Of this machine in its network, if it is in one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, contextlib.suppress(OSError):
        one.connect(("192.0.2.1", 9))  # nothing is sent
        return [one.getsockname()[0]]
    return []


class Recorder(httpcore.SyncBackend):
    """Remembers every address that was connected to."""

    def __init__(self) -> None:
        self.connected: set[tuple[str, int]] = set()

    def connect_tcp(self, host: str, port: int, *arguments: Any, **options: Any) -> httpcore.NetworkStream:
        self.connected.add((host, port))
        return super().connect_tcp(host, port, *arguments, **options)


class Outside:
    """A server under many names, each of which does something else."""

    def __init__(self) -> None:
        outside = self
        self.redirects: dict[str, tuple[int, str]] = {}  # by host and path
        self.texts: dict[str, bytes] = {}
        self.names: set[str] = set()  # as it was ever called

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError, ValueError, IndexError):
                    outside._answer(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 256

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, host: str, path: str = "/") -> str:
        self.names.add(host)
        return f"http://{host}:{self.port}{path}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(20.0)
        head = _head(connection)
        path = head.split(" ")[1]
        host = next(line for line in head.splitlines() if line.lower().startswith("host:"))
        host = host.split(":")[1].strip()
        kind = host.removesuffix(f".{ZONE}")
        if (found := self.redirects.get(f"{host}{path}")) is not None:
            status, where = found
            location = where.encode("utf-8")
            connection.sendall(b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n" % status)
            connection.sendall(b"Connection: close\r\nLocation: " + location + b"\r\n\r\n")
        elif (text := self.texts.get(f"{host}{path}")) is not None:
            length = f"Content-Length: {len(text)}\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n"
            connection.sendall(f"HTTP/1.1 200 OK\r\n{length}".encode() + text)
        elif kind in ANSWERS and path != "/robots.txt":
            ANSWERS[kind](connection, path)
        else:
            connection.sendall(b"HTTP/1.1 404 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def _head(connection: socket.socket) -> str:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        if not piece:
            raise ValueError("no request")
        received += piece
    return received.decode("latin-1")


@dataclass(frozen=True)
class Result:
    """``states``: what became of the inputs; ``nameless``: those of which nobody could say."""

    inputs: int
    states: Counter[str]
    nameless: Sequence[str]
    touched: int
    strayed: frozenset[tuple[str, int]]


@dataclass
class Inputs:
    """``urls`` to be looked at; ``named`` by a sitemap."""

    urls: list[str] = field(default_factory=list)
    named: list[str] = field(default_factory=list)


def inputs(outside: Outside, port: int, take: Callable[[int], bool], answers: Iterable[str]) -> Inputs:
    """Of all of them those whose number is taken, and servers with these answers. ``port``: that of the
    tripwire."""
    made, numbers = Inputs(), itertools.count()
    targets = [f"http://{host}:{port}/inside/{number}" for number, host in enumerate(hosts())]
    for number, target in enumerate(targets):
        if take(next(numbers)):
            made.urls.append(target)
        if take(next(numbers)):
            made.urls.append(_led(outside, number, target))
        if number % 4 == 0 and take(next(numbers)):
            host = f"robots{number}.{ZONE}"
            outside.redirects[f"{host}/robots.txt"] = (STATUSES[number % 5], target)
            made.urls.append(outside.url(host))
        if number % 4 == 1 and take(next(numbers)):
            made.named.append(f"{target}/named")
    for number, target in enumerate([*_confusing(outside.port, port), *OTHER_SCHEMES]):
        if take(next(numbers)):
            made.urls.append(target)
        if take(next(numbers)):
            made.named.append(target)
        if take(next(numbers)):
            made.urls.append(_led(outside, 10_000 + number, target))
    made.urls += [outside.url(f"{kind}.{ZONE}") for kind in answers]
    return made


def _led(outside: Outside, number: int, target: str) -> str:
    """A URL outside that leads to the target by one to four redirects."""
    host = f"leads{number}.{ZONE}"
    hops = number % 4
    for hop in range(hops):
        outside.redirects[f"{host}/{hop}"] = (STATUSES[(number + hop) % 5], f"/{hop + 1}")
    where = target.removeprefix("http:") if number % 3 == 0 and target.startswith("http://") else target
    outside.redirects[f"{host}/{hops}"] = (STATUSES[number % 5], where)
    return outside.url(host, "/0")


def _confusing(outside: int, inside: int) -> Iterator[str]:
    """URLs of which two programs may read two hosts."""
    good, bad = f"{GOOD}:{outside}", f"127.0.0.1:{inside}"
    for one, other in ((good, bad), (bad, good)):
        yield f"http://{one}@{other}/"
        yield f"http://{one}%40{other}/"
        yield f"http://user:{one}@{other}/"
        yield f"http://{one}\\@{other}/"
        yield f"http://{one}/\\@{other}/"
        yield f"http://{one}#@{other}/"
        yield f"http://{one}?@{other}/"
        yield f"http://{one};@{other}/"
        yield f"http://{one} @{other}/"
        yield f"http://{one}\t@{other}/"
        yield f"http://{one}&@{other}#@{one}/"
        yield f"http:\\\\{one}@{other}/"
        yield f"http://@{one}@{other}/"
    yield from (
        f"http:{bad}/", f"http:/{bad}/", f"http:///{bad}/", f"http:////{bad}/", f"//{bad}/", f"{bad}/",
        f"\\\\{bad}\\", f"http://[{bad}]/", f"http://[::1]{bad}/", f"http://127.0.0.1:{inside}:80/",
        f"http://127.0.0.1:0{inside}/", f"http://127.0.0.1:+{inside}/", "http://127.0.0.1:99999/",
        "http://127.0.0.1:-1/", "http://:80/", "http://./", "http://../", f"http://%31%32%37.0.0.1:{inside}/",
        f"http://127.0.0.1%00.{ZONE}:{inside}/", f"http://127.0.0.1%2f.{ZONE}:{inside}/",
        f"http://{'a' * 300}.test/", f"http://{'a.' * 200}test/", f"http://x{'y' * 2000}/",
        f"http://\u202e{bad}/", f"http://127\u20240.0.1:{inside}/", f"http://loc\u00adalhost:{inside}/",
        f"http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3:{inside}/", f"http://xn--/:{inside}/",
        f"http://[fe80::1%25{bad}]/", f"http://[::]:{inside}/", f"http://[0000::1]:{inside}/",
        f"HTTP://LOCALHOST:{inside}/", f"http://localhost:{inside}/\r\nX: y", f"hTTp://{bad}/",
    )  # fmt: skip


def look_at_all(
    folder: Path, take: Callable[[int], bool] = lambda number: True, answers: Iterable[str] = ANSWERS
) -> Result:
    """A look at everything, the work that follows, and another look. Raises what either would not survive."""
    outside = Outside()
    asked = Counter[str]()

    def resolve(host: str, port: int) -> list[str]:
        name = host.lower()
        if name == ZONE or name.endswith(f".{ZONE}"):
            return ["127.0.0.1"]
        if (answers := NAMES.get(name)) is not None:
            asked[name] += 1
            return list(answers[(asked[name] - 1) % len(answers)])
        return _resolved_here(host, port)

    with contextlib.ExitStack() as stack:
        stack.callback(outside.close)
        tripwire = stack.enter_context(Tripwire())
        stack.enter_context(mock.patch.object(fetching, "WHOLE_S", WHOLE_S))
        stack.enter_context(mock.patch.object(fetching, "CONNECT_S", 1.0))
        made = inputs(outside, tripwire.port, take, answers)
        good = outside.url(GOOD, "/page")
        outside.texts[f"{GOOD}/page"] = b"<main><h1>Good</h1><p>A page as it should be.</p></main>"
        locs = "".join(f"<url><loc>{escape(url)}</loc></url>" for url in made.named)
        outside.texts[f"{GOOD}/sitemap.xml"] = f"<urlset>{locs}</urlset>".encode()
        clock = ShiftedClock()
        fetcher = Fetcher(user_agent="tests", allowed=outside.names, per_host=4, clock=clock, resolve=resolve)
        stack.callback(fetcher.close)
        recorder = Recorder()
        fetcher._backend._inner = recorder
        database = Database.file(folder / "ledger.db")
        stack.callback(database.close)
        source = WebSource(
            NAME,
            Rig(database, [], clock=clock).ledger.kept,
            fetcher,
            urls=[good, *made.urls],
            sitemaps=[outside.url(GOOD, "/sitemap.xml")],
            max_document_bytes=MOST_BYTES,
            user_agent="tests",
            clock=clock,
        )
        rig = Rig(database, [source], clock=clock)
        rig.recover()
        rig.sync(NAME)
        clock.shift_s += 3600.0
        return _judged(rig, source, made, outside.port, tripwire, recorder)


def _resolved_here(host: str, port: int) -> list[str]:
    """As the system does, but for asking the network."""
    if "localhost" in host.lower() or host.startswith("ip6-"):
        return resolved(host, port)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return [str(one[4][0]) for one in found]


def _judged(
    rig: Rig, source: WebSource, made: Inputs, port: int, tripwire: Tripwire, recorder: Recorder
) -> Result:
    listing = source.list()
    documents = rig.states()
    states, nameless = Counter[str](), []
    for uri in dict.fromkeys(map(normal, [*made.urls, *made.named])):
        if uri in listing.unseen:
            states["unseen"] += 1
        elif uri in documents:
            states[documents[uri]] += 1
        elif isinstance(gone := source.look(uri), Gone):
            states[f"gone ({gone.evidence})"] += 1
        else:
            nameless.append(uri)
    return Result(
        len(made.urls) + len(made.named),
        states,
        nameless,
        tripwire.touched,
        frozenset(recorder.connected - {("127.0.0.1", port)}),
    )


def told(result: Result) -> str:
    states: Iterable[str] = (f"{number} {state}" for state, number in result.states.most_common())
    return ", ".join(states)
