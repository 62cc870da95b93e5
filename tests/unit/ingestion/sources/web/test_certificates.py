"""Web pages behind TLS: whom one trusts, and what is said where one does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingestion.errors import SourceUnavailable
from tests.servers.certificates import Tls, certified
from tests.servers.web import WebServer
from tests.wiki import MakeWiki, page


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tls:
    made = certified(tmp_path / "tls")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    return made


@pytest.fixture
def server(tls: Tls) -> Iterator[WebServer]:
    one = WebServer(tls)
    yield one
    one.stop()


def test_an_authority_of_ones_own_is_trusted_where_the_machine_names_it(
    make_wiki: MakeWiki, server: WebServer
) -> None:
    server.pages["/a"] = page(1)
    assert make_wiki("/a").seen().keys() == {"/a"}


def expired(place: Path) -> Tls:
    return certified(place, days=-2)


def of_another(place: Path) -> Tls:
    return certified(place, here="192.0.2.7")


FAULTS: dict[str, tuple[Callable[[Path], Tls], str]] = {
    "expired": (expired, "certificate has expired"),
    "of another host": (of_another, "not valid for '127.0.0.1'"),
    "of nobody that is known": (certified, "unable to get local issuer"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_certificate_that_will_not_do_names_the_host_and_what_to_do(
    make_wiki: MakeWiki,
    server: WebServer,
    tls: Tls,
    tmp_path: Path,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wiki = make_wiki("/a")
    server.pages["/a"] = page(1)
    first = wiki.seen()
    make, reason = FAULTS[fault]
    server.tls = make(tmp_path / "other")
    if fault != "of nobody that is known":
        monkeypatch.setenv("SSL_CERT_FILE", str(server.tls.authority))
    server.stop()
    server.start()
    again = make_wiki("/a")
    with pytest.raises(SourceUnavailable) as refused:
        again.source.list()
    told = str(refused.value)
    for part in (reason, server.url.removeprefix("https://"), "SSL_CERT_FILE", "stays searchable"):
        assert part in told
    assert "holiday" in again.read("/a"), "the last revision stays"
    assert server.paths(200) == ["/a"]
    server.stop()
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.authority))
    server.tls = tls
    server.start()
    assert make_wiki("/a").seen() == first
