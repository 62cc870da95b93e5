"""The HTTP API as a client sees it: through a real server on loopback."""

from __future__ import annotations

import contextlib
import datetime
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, get_args

import httpx
import pytest
from pydantic import BaseModel

from ingestion.clock import SystemClock
from ingestion.errors import IndexUnavailable, LedgerUnavailable, Misconfigured
from ingestion.ledger.kept import Keep, KeptLook
from ingestion.ledger.views import STATES
from retrieval.api import schemas
from retrieval.api.app import Readiness, Service, make_api
from retrieval.api.keys import hash_key
from retrieval.api.server import Server
from retrieval.api.trouble import QUIET_S, Trouble
from retrieval.hints import Hinting
from retrieval.index.memory import MemoryIndex
from retrieval.index.port import IndexHit, IndexQuery
from retrieval.pushes import Condition, Receipt
from retrieval.search import Searcher
from tests.knowledge import Knowledge

KEY = "a-key-of-sufficient-length"
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


class FaultyIndex(MemoryIndex):
    """Raises what it is told to."""

    fault: Exception | None = None

    def search(self, edition: str, query: IndexQuery) -> list[IndexHit]:
        if self.fault is not None:
            raise self.fault
        return super().search(edition, query)


class NothingPushed:
    """Takes nothing: what it takes is another test's."""

    def push(self, source: str, given: Sequence[Keep], condition: Condition | None = None) -> Receipt:
        raise AssertionError

    def kept(self, source: str, uri: str) -> KeptLook:
        raise AssertionError


class Desk:
    """A knowledge base behind a server."""

    def __init__(self, *, keys: tuple[str, ...] = ()) -> None:
        self.index = FaultyIndex()
        self.knowledge = Knowledge(index=self.index, sources=("handbook", "wiki"))
        self.readiness = Readiness(True)
        self.searcher = Searcher(
            self.knowledge.ledger,
            self.index,
            self.knowledge.embed_query,
            SystemClock(),
            on_demand=lambda _: None,
        )
        service = Service(
            searcher=self.searcher,
            ledger=self.knowledge.ledger,
            clock=SystemClock(),
            host="127.0.0.1",
            key_hashes=tuple(hash_key(key) for key in keys),
            status=lambda: {"version": "0", "path": "na\udcefve"},
            ready=lambda: self.readiness,
            metrics=lambda accept: (f"accepts {accept}\n".encode(), "text/plain; version=0.0.4"),
            pushing=NothingPushed(),
            hinting=Hinting((), lambda source, places: None, {}),
        )
        self.server = Server(make_api(service), "127.0.0.1", 0)
        self.server.start()
        self.http = httpx.Client(base_url=self.server.url, timeout=10.0)

    def search(self, **body: Any) -> httpx.Response:
        return self.http.post("/v1/search", json=body)

    def close(self) -> None:
        self.http.close()
        self.searcher.close()
        self.server.stop()


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    one = Desk()
    one.knowledge.write("leave.md", ["annual leave is thirty days", "sick leave needs a note"])
    one.knowledge.write("wiki.md", ["annual reports"], source="wiki")
    yield one
    one.close()


@pytest.fixture(scope="module")
def guarded() -> Iterator[Desk]:
    one = Desk(keys=("another-key-long-enough", KEY))
    yield one
    one.close()


@pytest.fixture(autouse=True)
def _whole(desk: Desk) -> Iterator[None]:
    yield
    desk.index.fault, desk.readiness = None, Readiness(True)


def problem_of(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = response.json()
    assert found["status"] == status
    assert found["type"] == "about:blank"
    assert found["title"]
    assert found["detail"]
    schemas.ProblemOut.model_validate(found)
    return found


def conforms(model: type[BaseModel], content: dict[str, Any]) -> None:
    """Exactly the documented fields, at every depth, in strict types."""
    strict: Any = type(model.__name__, (model,), {"model_config": {"strict": True}, "__module__": __name__})
    assert json.loads(strict.model_validate(content).model_dump_json()) == content


def test_a_search_answers_with_the_documented_fields(desk: Desk) -> None:
    response = desk.search(query="annual leave is thirty days", top_k=2, sources=["handbook"])
    assert response.status_code == 200
    content = response.json()
    conforms(schemas.SearchOut, content)
    first = content["hits"][0]
    assert (first["text"], first["uri"]) == ("annual leave is thirty days", "leave.md")
    assert RFC3339.fullmatch(first["changed_at"])
    assert RFC3339.fullmatch(content["fresh_as_of"])
    changed_at = datetime.datetime.fromisoformat(first["changed_at"])
    assert abs(changed_at.timestamp() - time.time()) < 60
    assert (content["mode"], content["min_generation_met"], content["not_awaited"]) == ("hybrid", None, [])


def test_the_time_is_split_by_part(desk: Desk) -> None:
    response = desk.search(query="annual leave")
    parts = dict(part.split(";dur=") for part in response.headers["server-timing"].split(", "))
    assert parts.keys() == {"total", "embed", "index", "fence", "wait"}
    milliseconds = {name: float(value) for name, value in parts.items()}
    assert milliseconds["total"] == response.json()["took_ms"]
    assert sum(milliseconds.values()) <= 2 * milliseconds["total"] + 0.01


def test_a_search_needs_no_content_type(desk: Desk) -> None:
    body = b'{"query": "annual leave"}'
    for headers in ({}, {"Content-Type": "application/x-www-form-urlencoded"}):
        assert desk.http.post("/v1/search", content=body, headers=headers).status_code == 200


def test_min_generation_is_answered_in_the_response(desk: Desk) -> None:
    content = desk.search(query="leave", min_generation=1, timeout_ms=1000).json()
    conforms(schemas.SearchOut, content)
    assert content["min_generation_met"] is True


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"query": "is missing."}),
        ({"query": " "}, {"query": "is empty"}),
        ({"query": ""}, {"query": "is empty"}),
        ({"query": "\0"}, {"query": "is empty"}),
        ({"query": 7}, {"query": "valid string"}),
        ({"query": "a" * 200_001}, {"query": "at most 200000 characters"}),
        ({"query": "a", "top_k": 0}, {"top_k": "greater than or equal to 1"}),
        ({"query": "a", "top_k": 1_000_000}, {"top_k": "less than or equal to 100"}),
        ({"query": "a", "top_k": "5"}, {"top_k": "valid integer"}),
        ({"query": "a", "top_k": True}, {"top_k": "valid integer"}),
        ({"query": "a", "timeout_ms": 10**9}, {"timeout_ms": "less than or equal to 60000"}),
        ({"query": "a", "sources": []}, {"sources": "at least 1"}),
        ({"query": "a", "sources": ["handbook", 1]}, {"sources.1": "valid string"}),
        ({"query": "a", "sources": ["nowhere"]}, {"sources": "There are: handbook, wiki"}),
        ({"query": "a", "freshness": "soon"}, {"freshness": "'any', 'fresh' or 'wait'"}),
        ({"query": "a", "min_generation": 10**12}, {"min_generation": "never issued"}),
        ({"query": "a", "min_generation": 10**30}, {"min_generation": "less than or equal to"}),
        ({"qeury": "a"}, {"query": "is missing.", "qeury": "misspelling"}),
        (
            {"query": "", "top_k": -1, "limit": 5},
            {"query": "is empty", "top_k": "greater than or equal to 1", "limit": "not known"},
        ),
    ],
)
def test_every_fault_of_a_request_is_named_with_its_field(
    desk: Desk, body: dict[str, Any], fields: dict[str, str]
) -> None:
    found = problem_of(desk.search(**body), 422)
    assert {fault["field"] for fault in found["errors"]} == fields.keys()
    for fault in found["errors"]:
        assert fields[fault["field"]] in fault["message"]
        assert fault["message"] in found["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"leave"',
        b"null",
        b'{"query": "\xff"}',
        b'{"query": "\\ud800"}',
        b"[" * 100_000,
        b'{"query": NaN}',
    ],
)
def test_a_body_that_is_no_question_is_refused(desk: Desk, body: bytes) -> None:
    found = problem_of(desk.http.post("/v1/search", content=body), 422)
    assert "JSON" in found["detail"] or "query" in found["detail"]


def test_a_question_of_ten_thousand_words_is_answered(desk: Desk) -> None:
    words = " ".join(f"leave{number}" for number in range(10_000)) + " annual"
    assert desk.search(query=words).status_code == 200


def test_a_body_beyond_the_cap_is_refused_declared_or_not(desk: Desk) -> None:
    body = json.dumps({"query": "a" * 1_000_000}).encode()
    problem_of(desk.http.post("/v1/search", content=body), 413)
    pieces = (body[start : start + 50_000] for start in range(0, len(body), 50_000))
    problem_of(desk.http.post("/v1/search", content=pieces), 413)
    assert desk.search(query="annual").status_code == 200


def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = Desk()
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", desk.server.port)) as leaving:
            head = f"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1:{desk.server.port}\r\nContent-Length: 50\r\n"
            leaving.sendall(head.encode() + b"\r\n{")
    assert desk.search(query="holiday").status_code == 200
    desk.close()  # what was under way has ended
    assert not caplog.records


def test_unknown_addresses_and_methods_are_problems(desk: Desk) -> None:
    problem_of(desk.http.get("/nowhere"), 404)
    problem_of(desk.http.get("/v1/search/"), 404)
    found = desk.http.get("/v1/search")
    problem_of(found, 405)
    assert found.headers["allow"] == "POST"


def test_an_index_that_is_down_is_said_with_what_to_do(desk: Desk) -> None:
    desk.index.fault = IndexUnavailable("The index is away.", hint="Start it.")
    response = desk.search(query="leave")
    found = problem_of(response, 503)
    assert (found["detail"], found["hint"]) == ("The index is away.", "Start it.")
    assert response.headers["retry-after"] == "1"


def test_what_keeps_requests_from_being_served_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="headwater.api")
    with contextlib.closing(Desk()) as desk:
        for number in range(3):
            desk.index.fault = IndexUnavailable(f"The index is away, in other words {number}.")
            problem_of(desk.search(query="leave"), 503)
            desk.index.fault = None
            assert desk.search(query="leave").status_code == 200  # it comes and goes
    assert [record.getMessage() for record in caplog.records] == [
        "requests are not served: The index is away, in other words 0."
    ]


def test_the_end_of_trouble_is_told_once_it_stays_away(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="headwater.api")
    now = [100.0]
    trouble = Trouble(lambda: now[0])
    trouble.over()
    trouble.met(IndexUnavailable("The index is away."))
    trouble.met(LedgerUnavailable("The ledger is away."))
    for moment in (100.0 + QUIET_S - 0.1, 100.0 + QUIET_S, 300.0):
        now[0] = moment
        trouble.over()
    trouble.met(IndexUnavailable("The index is away again."))
    assert [record.getMessage() for record in caplog.records] == [
        "requests are not served: The index is away.",
        "requests are not served: The ledger is away.",
        "requests are served again",
        "requests are not served: The index is away again.",
    ]


def test_an_unforeseen_error_tells_nothing_of_the_inside_and_is_logged(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):  # on one connection, which stays open
        desk.index.fault = ZeroDivisionError("secret detail")
        response = desk.search(query="leave")
        problem_of(response, 500)
        assert "secret" not in response.text
        assert "ZeroDivision" not in response.text
        desk.index.fault = None
        assert desk.search(query="leave").status_code == 200
    assert caplog.text.count("ZeroDivisionError: secret detail") == 3
    assert "POST /v1/search failed" in caplog.text


def test_sources_show_their_lag_and_counts(desk: Desk) -> None:
    content = desk.http.get("/v1/sources").json()
    conforms(schemas.SourcesOut, content)
    assert [one["name"] for one in content["sources"]] == ["handbook", "wiki"]
    assert content["sources"][0]["documents"]["live"] == 1


def test_documents_are_listed_page_by_page() -> None:
    desk = Desk()
    ids = [desk.knowledge.write(f"{number}.md", ["text"]) for number in range(5)]
    pages: list[list[int]] = []
    cursor: str | None = "0"
    while cursor is not None:
        content = desk.http.get("/v1/documents", params={"limit": 2, "cursor": cursor}).json()
        conforms(schemas.DocumentsOut, content)
        pages.append([one["document_id"] for one in content["documents"]])
        cursor = content["next_cursor"]
    assert pages == [ids[:2], ids[2:4], ids[4:]]
    desk.close()


def test_documents_are_filtered_by_source_and_state(desk: Desk) -> None:
    def uris(**params: str) -> list[str]:
        content = desk.http.get("/v1/documents", params=params).json()
        return [one["uri"] for one in content["documents"]]

    assert uris() == ["leave.md", "wiki.md"]
    assert uris(source="wiki") == ["wiki.md"]
    assert uris(source="wiki", state="live") == ["wiki.md"]
    assert uris(state="failed") == []


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"source": "nowhere"}, "source"),
        ({"state": "odd"}, "state"),
        ({"cursor": "abc"}, "cursor"),
        ({"cursor": "-1"}, "cursor"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"offset": "3"}, "offset"),
    ],
)
def test_a_listing_that_cannot_be_is_refused(desk: Desk, params: dict[str, str], field: str) -> None:
    found = problem_of(desk.http.get("/v1/documents", params=params), 422)
    assert [fault["field"] for fault in found["errors"]] == [field]


def test_a_document_shows_its_history(desk: Desk) -> None:
    listed = desk.http.get("/v1/documents").json()["documents"][0]
    content = desk.http.get(f"/v1/documents/{listed['document_id']}").json()
    conforms(schemas.DocumentHistoryOut, content)
    assert [one["outcome"] for one in content["history"]] == ["published"]
    problem_of(desk.http.get("/v1/documents/999"), 404)
    for odd in ("abc", "0", "9" * 30):
        problem_of(desk.http.get(f"/v1/documents/{odd}"), 422)


def test_status_and_metrics_come_from_the_service(desk: Desk) -> None:
    assert desk.http.get("/v1/status").content == b'{"version":"0","path":"na\\udcefve"}'
    response = desk.http.get("/metrics", headers={"Accept": "application/openmetrics-text"})
    assert response.text == "accepts application/openmetrics-text\n"
    assert response.headers["content-type"] == "text/plain; version=0.0.4"


def test_ready_says_what_it_waits_for(desk: Desk) -> None:
    assert desk.http.get("/readyz").json() == {"ready": True}
    desk.readiness = Readiness(False, ("handbook was not listed yet.",))
    assert "handbook was not listed yet." in problem_of(desk.http.get("/readyz"), 503)["detail"]
    assert desk.http.get("/healthz").json() == {"alive": True}
    assert desk.http.head("/healthz").status_code == 200


def test_the_api_describes_itself(desk: Desk) -> None:
    described = desk.http.get("/openapi.json").json()
    paths = set(described["paths"])
    assert paths == {
        "/v1/search",
        "/v1/status",
        "/v1/sources",
        "/v1/documents",
        "/v1/documents/{document_id}",
        "/v1/sources/{source}/documents",
        "/v1/sources/{source}/hints",
        "/v1/sources/{source}/documents/{key}",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    assert set(get_args(schemas.State)) == set(STATES)


def test_with_keys_everything_but_health_needs_one(guarded: Desk) -> None:
    for path in ("/v1/status", "/v1/sources", "/v1/documents", "/metrics", "/openapi.json", "/nowhere"):
        response = guarded.http.get(path)
        problem_of(response, 401)
        assert response.headers["www-authenticate"].startswith("Bearer")
    problem_of(guarded.search(query="leave"), 401)
    assert guarded.http.get("/healthz").status_code == 200
    assert guarded.http.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    "header", ["Bearer wrong", "Bearer", KEY, f"Basic {KEY}", f"Bearer {KEY}x", hash_key(KEY)]
)
def test_what_is_no_key_is_refused(guarded: Desk, header: str) -> None:
    response = guarded.http.get("/v1/sources", headers={"Authorization": header})
    problem_of(response, 401)
    assert KEY not in response.text


def test_a_key_hashes_alike_as_text_and_as_bytes() -> None:
    for key in (KEY, "schlüssel-schlüssel", "raw\udcff-bytes"):
        assert hash_key(key) == hash_key(key.encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("header", [f"Bearer {KEY}", f"bearer {KEY}", "Bearer another-key-long-enough"])
def test_each_key_opens(guarded: Desk, header: str) -> None:
    headers = {"Authorization": header, "Host": "knowledge.example", "Origin": "https://app.example"}
    assert guarded.http.get("/v1/sources", headers=headers).status_code == 200


def test_readiness_keeps_its_reasons_from_strangers(guarded: Desk) -> None:
    guarded.readiness = Readiness(False, ("secret-source was not listed yet.",))
    assert "secret-source" not in guarded.http.get("/readyz").text
    known = guarded.http.get("/readyz", headers={"Authorization": f"Bearer {KEY}"})
    assert "secret-source" in known.text
    guarded.readiness = Readiness(True)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7878", "127.0.0.1.evil.example", "10.0.0.1", "[fe80::1]", ""]
)
def test_without_keys_a_name_that_is_not_ours_is_refused(desk: Desk, host: str) -> None:
    """DNS rebinding: a page's own name resolves to this machine."""
    problem_of(desk.http.get("/v1/sources", headers={"Host": host}), 421)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:80", "127.9.9.9", "[::1]:7878"])
def test_names_of_loopback_are_ours(desk: Desk, host: str) -> None:
    assert desk.http.get("/v1/sources", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1"])
def test_without_keys_pages_of_other_origins_are_refused(desk: Desk, origin: str) -> None:
    refused = desk.http.post("/v1/search", json={"query": "leave"}, headers={"Origin": origin})
    problem_of(refused, 403)
    assert "access-control-allow-origin" not in refused.headers


def test_a_page_of_our_own_origin_may_ask(desk: Desk) -> None:
    headers = {"Origin": desk.server.url}
    assert desk.http.post("/v1/search", json={"query": "leave"}, headers=headers).status_code == 200


def test_a_port_in_use_is_said_at_once(desk: Desk) -> None:
    with pytest.raises(Misconfigured, match=f"Port {desk.server.port}"):
        Server(lambda *_: None, "127.0.0.1", desk.server.port).start()  # type: ignore[arg-type]
    with pytest.raises(Misconfigured, match="no address to listen on"):
        Server(lambda *_: None, "no.such.host.invalid", 0).start()  # type: ignore[arg-type]


def test_the_api_loads_no_model_runtime() -> None:
    """It answers /healthz two seconds after the start, and a model's libraries alone take ten."""
    heavy = ("torch", "transformers", "sentence_transformers", "sklearn", "tokenizers", "celery", "rich")
    program = f"import sys, retrieval.api.app, retrieval.api.server; print(set({heavy}) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_stopped_server_refuses_connections() -> None:
    desk = Desk()
    assert desk.http.get("/healthz").status_code == 200
    started = time.monotonic()
    desk.close()
    assert time.monotonic() - started < 5
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", desk.server.port), timeout=1.0):
        pass
    desk.close()
