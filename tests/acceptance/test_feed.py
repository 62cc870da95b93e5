"""Entries of a feed, kept searchable by `headwater up`."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

import httpx
import pytest

from tests.acceptance.program import Program
from tests.servers.web import Answer, WebServer

SETTINGS = """
[[sources]]
name = "news"
kind = "feed"
urls = ["{url}/feed", "{url}/absent"]
allow_private_hosts = ["127.0.0.1"]
"""


@pytest.fixture
def web() -> Iterator[WebServer]:
    server = WebServer()
    yield server
    server.stop()


def feed(**entries: str) -> Answer:
    said = "".join(
        f"<entry><id>tag:{uri}</id><title>On {uri}</title>"
        f'<content type="html">{escape(text)}</content></entry>'
        for uri, text in entries.items()
    )
    return Answer(f'<feed xmlns="http://www.w3.org/2005/Atom">{said}</feed>'.encode())


def test_an_entry_becomes_searchable_and_follows_an_edit(web: WebServer, tmp_path: Path) -> None:
    web.pages["/feed"] = feed(ferry="<p>The ferry leaves at noon.</p>", pay="<p>Paid monthly.</p>")
    config = tmp_path / "headwater.toml"
    config.write_text(SETTINGS.format(url=web.url))

    def hinted() -> None:
        url = f"{program.listening()}/v1/sources/news/hints"
        response = httpx.post(url, json={}, trust_env=False)
        assert response.status_code == 202, response.text

    def shows(words: str) -> bool:
        return any(words in hit["text"] for hit in program.search("ferry leaves monthly"))

    with Program(tmp_path / "data", "--config", config) as program:
        program.start().ready()
        (hit,) = [one for one in program.search("ferry") if "ferry leaves" in one["text"]]
        assert (hit["uri"], hit["heading_path"]) == ("tag:ferry", ["On ferry"])
        assert f"{web.url}/absent: HTTP 404" in program.command("status", "--config", config).stdout
        web.pages["/feed"] = feed(ferry="<p>The ferry leaves at one.</p>")
        hinted()
        program.until(lambda: shows("leaves at one"), what="the edit is found")
        assert not shows("leaves at noon")
        assert shows("Paid monthly"), "what a feed no longer names stays"
