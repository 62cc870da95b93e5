"""Servers, a ledger, and web sources."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from ingestion.database import Database
from ingestion.sources.web.fetching import Fetcher
from tests.servers.web import WebServer
from tests.wiki import MakeWiki, Wiki


@pytest.fixture
def other() -> Iterator[WebServer]:
    """Another host."""
    one = WebServer()
    yield one
    one.stop()


@pytest.fixture
def make_wiki(database: Database, server: WebServer) -> Iterator[MakeWiki]:
    with contextlib.ExitStack() as undo:

        def make(*paths: str) -> Wiki:
            one = Wiki(database, server, *paths)
            undo.callback(one.fetcher.close)
            return one

        yield make


@pytest.fixture
def wiki(make_wiki: MakeWiki) -> Wiki:
    return make_wiki()


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    one = Fetcher(user_agent="t", allowed=["127.0.0.1"], per_host=2)
    yield one
    one.close()
