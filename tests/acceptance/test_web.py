"""Pages of a web server, kept searchable by `headwater up`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.acceptance.program import Program
from tests.servers.web import Answer, WebServer

SETTINGS = """
[[sources]]
name = "wiki"
kind = "web"
sitemaps = ["{url}/sitemap.xml"]
allow_private_hosts = ["127.0.0.1"]
"""


@pytest.fixture
def web() -> Iterator[WebServer]:
    server = WebServer()
    yield server
    server.stop()


def test_a_page_becomes_searchable_and_follows_an_edit(web: WebServer, tmp_path: Path) -> None:
    leave = "<main><h1>Leave</h1><p>Annual leave is {days} days.</p></main><footer>{made}</footer>"
    web.pages["/leave"] = Answer(leave.format(days="thirty", made=1).encode())
    web.pages["/pay"] = Answer(b"<main><h1>Pay</h1><p>Paid on the last day of each month.</p></main>")
    config = tmp_path / "headwater.toml"
    config.write_text(SETTINGS.format(url=web.url))

    def hinted(path: str) -> None:
        hint = {"uris": [f"{web.url}{path}"]}
        response = httpx.post(f"{program.listening()}/v1/sources/wiki/hints", json=hint, trust_env=False)
        assert response.status_code == 202, response.text

    def shows(words: str) -> bool:
        return any(words in hit["text"] for hit in program.search("annual leave days"))

    with Program(tmp_path / "data", "--config", config) as program:
        program.start().ready()
        (hit,) = [one for one in program.search("annual leave") if "Annual leave" in one["text"]]
        assert (hit["uri"], hit["heading_path"]) == (f"{web.url}/leave", ["Leave"])
        embedded = program.texts_embedded()
        web.pages["/leave"] = Answer(leave.format(days="thirty-one", made=2).encode())
        hinted("/leave")
        program.until(lambda: shows("thirty-one days"), what="the edit is found")
        assert not shows("thirty days")
        assert program.texts_embedded() <= embedded + 2
        embedded = program.texts_embedded()
        web.pages["/leave"] = Answer(leave.format(days="thirty-one", made=3).encode())
        web.paths()
        hinted("/leave")
        program.until(lambda: "/leave" in web.paths(200), what="the page is looked at")
        web.stop()
        try:
            assert "cannot be looked at" in program.command("sync", "--config", config).stdout
            assert shows("thirty-one days"), "a server that is away takes nothing with it"
            assert program.texts_embedded() == embedded, "what changes beside the text costs nothing"
        finally:
            web.start()
