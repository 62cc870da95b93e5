"""A real Weaviate behind TLS, and one that says it is too old."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ingestion.errors import IndexUnavailable, Misconfigured
from retrieval.index.port import IndexQuery
from retrieval.index.weaviate import WeaviateIndex
from tests.integration.test_weaviate import DIMENSIONS, EDITION, chunk, ids, made
from tests.servers.certificates import Tls, certified
from tests.servers.process import free_port
from tests.servers.weaviate import Weaviate
from tests.servers.weaviate_front import fronted


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return certified(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def secured(weaviate: Weaviate, tls: Tls) -> Iterator[Weaviate]:
    with fronted(weaviate, tls=tls) as front:
        yield front


def told_by(index: WeaviateIndex, kind: type[Exception]) -> str:
    with pytest.raises(kind) as told:
        index.create(EDITION, DIMENSIONS)
    index.close()
    return str(told.value)


def test_tls_with_an_authority_of_ones_own(
    secured: Weaviate, weaviate_prefix: str, tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both interfaces: the collection is made through the one, chunks go through the other."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.authority))
    (one,) = ids(1)
    index = made(secured, weaviate_prefix)
    assert secured.url.startswith("https://")
    index.create(EDITION, DIMENSIONS)
    index.upsert(EDITION, [chunk(one)])
    assert [hit.chunk_id for hit in index.search(EDITION, IndexQuery("quokka", None, 5))] == [one]
    index.check(EDITION)
    index.close()


def test_an_authority_that_nobody_knows_is_said_to_be(secured: Weaviate, weaviate_prefix: str) -> None:
    told = told_by(made(secured, weaviate_prefix), IndexUnavailable)
    assert "No TLS connection to Weaviate at 127.0.0.1" in told
    assert "certificate" in told
    assert "index.url" in told
    assert "SSL_CERT_FILE" in told


def test_https_to_a_port_without_tls(weaviate: Weaviate, weaviate_prefix: str) -> None:
    plain = Weaviate(weaviate.url.replace("http://", "https://"), weaviate.grpc_port, weaviate.api_key)
    assert "No TLS connection to Weaviate" in told_by(made(plain, weaviate_prefix), IndexUnavailable)


def test_a_grpc_port_without_tls_beside_https(
    secured: Weaviate,
    weaviate: Weaviate,
    weaviate_prefix: str,
    tls: Tls,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.authority))
    half = Weaviate(secured.url, weaviate.grpc_port, weaviate.api_key)
    told = told_by(made(half, weaviate_prefix), IndexUnavailable)
    assert "index.grpc_port. With https, its gRPC port has to speak TLS too" in told


@pytest.mark.parametrize("version", ["1.32.9", "0.9", ""])
def test_a_version_that_is_too_old(weaviate: Weaviate, weaviate_prefix: str, version: str) -> None:
    with fronted(weaviate, version=version) as front:
        told = told_by(made(front, weaviate_prefix), Misconfigured)
    assert f"is of version {version or 'unknown'}, which is too old" in told
    assert "1.33 or newer" in told
    assert "index.url" in told


@pytest.mark.parametrize("version", ["1.33.0", "1.40.0-rc.1", "2.0.0"])
def test_a_version_that_is_new_enough(weaviate: Weaviate, weaviate_prefix: str, version: str) -> None:
    with fronted(weaviate, version=version) as front:
        index = made(front, weaviate_prefix)
        index.create(EDITION, DIMENSIONS)
        assert index.count(EDITION) == 0
        index.close()


def test_nobody_there_is_no_question_of_tls(weaviate_prefix: str) -> None:
    nobody = Weaviate(f"https://127.0.0.1:{free_port()}", free_port(), None)
    told = told_by(made(nobody, weaviate_prefix), IndexUnavailable)
    assert "cannot be reached" in told
    assert "TLS connection" not in told
