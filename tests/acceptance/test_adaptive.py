"""Pages that `headwater up` looks at where they change most."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.program import Program
from tests.servers.web import Answer, WebServer

SETTINGS = """
[[sources]]
name = "wiki"
kind = "web"
sitemaps = ["{url}/sitemap.xml"]
allow_private_hosts = ["127.0.0.1"]
adaptive = {{ looks_per_hour = 36000 }}
"""


@pytest.fixture
def web() -> Iterator[WebServer]:
    server = WebServer()
    yield server
    server.stop()


def test_an_edit_is_found_between_two_listings(web: WebServer, tmp_path: Path) -> None:
    web.pages["/ferry/"] = Answer(b"<main><p>The ferry leaves at noon.</p></main>")
    web.pages["/pay"] = Answer(b"<main><p>Paid monthly.</p></main>")
    config = tmp_path / "headwater.toml"
    config.write_text(SETTINGS.format(url=web.url))

    def shows(words: str) -> bool:
        return any(words in hit["text"] for hit in program.search("ferry leaves"))

    with Program(tmp_path / "data", "--config", config) as program:
        program.start().ready()
        assert shows("at noon")
        assert program.source("wiki")["looks_per_hour"] == 36000
        web.pages["/ferry/"] = Answer(b"<main><p>The ferry leaves at one.</p></main>")
        program.until(lambda: shows("at one"), what="the edit is found")
        assert not shows("at noon")
