"""Buckets as a source: on a real S3 server, and on one that answers what no server should."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from ingestion.database import Database
from ingestion.errors import DocumentGone, DocumentUnreadable, NotIndexable, SourceUnavailable
from ingestion.records import Gone, Seen, Skipped
from ingestion.sources.objects import bucket as bucket_module
from ingestion.sources.objects.bucket import Bucket
from ingestion.sources.objects.source import ObjectsSource
from tests.rig import SOURCE, Rig, fresh_database
from tests.servers.certificates import certified
from tests.servers.objects import ObjectServer, serving
from tests.servers.process import NotInstalled, free_port, missing

PROSE = "The ferry to the island leaves at {n} in the morning, and returns late in the evening."
LIMIT_BYTES = 10_000

Answer = tuple[int, bytes, dict[str, str]]
"""Status, body, headers."""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = fresh_database(tmp_path)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _nobodys_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


class Shelf:
    """A bucket, a source of it, and a pipeline that keeps it searchable."""

    def __init__(self, database: Database, server: ObjectServer, **settings: Any) -> None:
        self.name = server.bucket(versions=True)
        self.client, self.folder = server.client, server.folder / self.name
        self.rig = Rig(database, [])
        key = {"credentials": lambda: (server.key, server.secret)}
        self.source = made(self.rig, self.name, server.url, **key, **settings)

    def put(self, **bodies: str) -> None:
        for name, body in bodies.items():
            self.client.put_object(Bucket=self.name, Key=f"{name}.md", Body=body.encode())

    def delete(self, *keys: str) -> None:
        for key in keys:
            self.client.delete_object(Bucket=self.name, Key=key)

    def sync(self) -> dict[str, str]:
        self.rig.sync()
        return self.rig.states()


def made(rig: Rig, name: str, url: str | None, **settings: Any) -> ObjectsSource:
    of_source = {key: settings.pop(key) for key in ("prefix", "include", "exclude") if key in settings}
    bucket = Bucket(
        name,
        **{"endpoint_url": url, "region": "us-east-1", "credentials": None, "anonymous": False, **settings},
    )
    source = ObjectsSource(
        SOURCE, bucket, location=f"s3://{name}", max_document_bytes=LIMIT_BYTES, clock=rig.clock, **of_source
    )
    rig.sources[SOURCE] = source
    rig.recover()
    return source


@pytest.fixture
def shelf(database: Database, objects: ObjectServer) -> Shelf:
    return Shelf(database, objects)


def test_edits_deletions_and_renames_are_followed(shelf: Shelf) -> None:
    shelf.put(a=PROSE.format(n=1), b=PROSE.format(n=2), c=PROSE.format(n=3))
    assert shelf.sync() == {"a.md": "live", "b.md": "live", "c.md": "live"}
    shelf.rig.forget_outcomes()
    shelf.put(a=PROSE.format(n=11), moved=PROSE.format(n=2))
    shelf.delete("b.md", "c.md")
    assert shelf.sync() == {"a.md": "live", "moved.md": "live"}
    assert len(shelf.rig.embedder.texts) == 1, "the edit alone"
    shelf.put(a=PROSE.format(n=11))
    listed = shelf.rig.sync()
    assert (listed.wanted, listed.unchanged) == (0, 2), "the same again is no change"


def test_a_version_that_is_restored_revives_its_document(shelf: Shelf) -> None:
    shelf.put(a=PROSE.format(n=1), b=PROSE.format(n=2))
    shelf.sync()
    mark = shelf.client.delete_object(Bucket=shelf.name, Key="a.md")["VersionId"]
    assert isinstance(shelf.source.look("a.md"), Gone)
    with pytest.raises(DocumentGone):
        shelf.source.read("a.md")
    assert shelf.sync() == {"b.md": "live"}
    shelf.client.delete_object(Bucket=shelf.name, Key="a.md", VersionId=mark)
    assert shelf.sync() == {"a.md": "live", "b.md": "live"}
    assert shelf.rig.answers(PROSE.format(n=1))


def test_more_than_a_page_is_listed_each_once(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_module, "PAGE", 7)
    shelf.put(**{f"n{n}": str(n) for n in range(30)})
    listing = shelf.source.list()
    assert sorted(one.uri for one in listing.sightings) == sorted(f"n{n}.md" for n in range(30))


def test_a_whole_page_of_the_server_is_not_the_end(shelf: Shelf) -> None:
    """More than a thousand keys, which no server gives at once; written beside the server, for speed."""
    shelf.put(first="x")
    for n in range(1200):
        (shelf.folder / f"{n}.md").write_text("x")
    assert len(shelf.source.list().sightings) == 1201


def test_a_prefix_and_patterns_say_what_is_taken(database: Database, objects: ObjectServer) -> None:
    shelf = Shelf(database, objects, prefix="docs/", include=["*.md"], exclude=["drafts/"])
    for key in ("docs/a.md", "docs/a.txt", "docs/drafts/b.md", "docs/sub/c.md", "docs-old/d.md", "e.md"):
        shelf.client.put_object(Bucket=shelf.name, Key=key, Body=b"x")
    assert shelf.sync().keys() == {"a.md", "sub/c.md"}
    assert shelf.source.read("sub/c.md").body == b"x"
    assert isinstance(shelf.source.look("a.txt"), Gone)


def test_keys_are_taken_as_they_are(shelf: Shelf) -> None:
    keys = {"über/ß 100%.md", "%41.md", "a+b&c=d?.md", "'quo\"ted'.md", "tab\there.md", "-dash.md"}
    for key in keys | {"folder/"}:
        body = b"" if key.endswith("/") else key.encode()
        shelf.client.put_object(Bucket=shelf.name, Key=key, Body=body)
    assert shelf.sync().keys() == keys
    for key in keys:
        assert isinstance(shelf.source.look(key), Seen)
        assert shelf.source.read(key).body == key.encode()
    assert isinstance(shelf.source.look("folder/"), Gone)


def test_what_a_server_takes_for_another_object_is_none(shelf: Shelf) -> None:
    """It keeps objects as files, so that it finds these."""
    shelf.client.put_object(Bucket=shelf.name, Key="d/a.md", Body=b"x")
    for key in ("d//a.md", "/d/a.md", "d/./a.md", "d/x/../a.md"):
        assert isinstance(shelf.source.look(key), Gone)
        with pytest.raises(DocumentGone):
            shelf.source.read(key)


def test_a_large_object_is_skipped_unread(shelf: Shelf) -> None:
    shelf.put(a=PROSE, large="x" * 20_000)
    assert shelf.sync() == {"a.md": "live", "large.md": "skipped"}
    with pytest.raises(NotIndexable, match="20,000"):
        shelf.source.read("large.md")


def test_many_that_vanish_at_once_wait_for_approval(shelf: Shelf) -> None:
    shelf.put(**{f"n{n}": PROSE.format(n=n) for n in range(30)})
    shelf.sync()
    shelf.delete(*(f"n{n}.md" for n in range(20)))
    states = shelf.sync()
    assert sorted(states.values()) == ["held"] * 20 + ["live"] * 10


REFUSALS: dict[str, tuple[dict[str, Any], str, str]] = {
    "secret": ({}, "SignatureDoesNotMatch", "access_key_id"),
    "key": ({"credentials": lambda: ("unknown", "wrong-secret")}, "access key ID", "access_key_id"),
    "none": ({"credentials": None}, "credentials", ""),
    "anonymous": ({"credentials": None, "anonymous": True}, "AccessDenied", "Let this key"),
    "bucket": ({"name": "not-there"}, "does not exist", "Correct bucket"),
    "away": ({"url": f"http://127.0.0.1:{free_port()}"}, "Could not connect", ""),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_what_is_refused_retires_nothing(
    database: Database, objects: ObjectServer, shelf: Shelf, refusal: str
) -> None:
    shelf.put(a=PROSE.format(n=1), b=PROSE.format(n=2))
    shelf.sync()
    settings, words, hint = REFUSALS[refusal]
    if refusal == "secret":
        settings = {"credentials": lambda: (objects.key, "wrong-secret")}
    key = {"credentials": lambda: (objects.key, objects.secret)}
    given = {"name": shelf.name, "url": objects.url, **key, **settings}
    source = made(shelf.rig, **given)
    for attempt in (source.list, lambda: source.look("a.md"), lambda: source.read("a.md")):
        with pytest.raises(SourceUnavailable, match=words) as refused:
            attempt()
        assert "wrong-secret" not in str(refused.value) and objects.secret not in str(refused.value)
        assert hint in refused.value.hint
    shelf.rig.scan()
    assert shelf.rig.states() == {"a.md": "live", "b.md": "live"}


def test_a_secret_that_is_replaced_is_read_again(shelf: Shelf, objects: ObjectServer) -> None:
    secrets = ["wrong"]
    source = made(shelf.rig, shelf.name, objects.url, credentials=lambda: (objects.key, secrets[0]))
    with pytest.raises(SourceUnavailable):
        source.list()
    secrets[0] = objects.secret
    assert list(source.list().sightings) == []


def test_keys_come_from_the_environment_and_from_no_file(
    shelf: Shelf, objects: ObjectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "credentials"
    file.write_text(
        f"[default]\naws_access_key_id = {objects.key}\naws_secret_access_key = {objects.secret}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    with pytest.raises(SourceUnavailable):
        made(shelf.rig, shelf.name, objects.url).list()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", objects.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", objects.secret)
    assert list(made(shelf.rig, shelf.name, objects.url).list().sightings) == []


def test_a_certificate_that_does_not_match_is_told(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = certified(tmp_path)
    try:
        with serving(tmp_path, tls) as server:
            shelf = Shelf(database, server)
            shelf.put(a=PROSE)
            for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
                with pytest.raises(SourceUnavailable, match=r"SSL validation failed"):
                    made(shelf.rig, shelf.name, url, credentials=lambda: (server.key, server.secret)).list()
                monkeypatch.setenv("AWS_CA_BUNDLE", str(tls.authority))
            assert [one.uri for one in shelf.source.list().sightings] == ["a.md"]
    except NotInstalled as fault:
        missing(fault)


# A server that answers what no server should.


class Liar:
    """Answers every request as it is told, by path with its query."""

    def __init__(self) -> None:
        self.answer: Callable[[str, str], Answer] = lambda method, path: (
            404,
            b"",
            {},
        )
        liar = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, body, headers = liar.answer(self.command, self.path)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)
                if headers.get("Content-Length"):
                    self.close_connection = True

            def do_HEAD(self) -> None:
                self.do_GET()

            def log_message(self, *_: Any) -> None:
                """Nothing: the tests say what went wrong."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def liar() -> Iterator[Liar]:
    one = Liar()
    yield one
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture
def lied_to(database: Database, liar: Liar, monkeypatch: pytest.MonkeyPatch) -> ObjectsSource:
    monkeypatch.setattr(bucket_module, "TRIES", 1)
    return made(Rig(database, []), "bucket", liar.url, credentials=lambda: ("key", "secret"))


def page(
    *keys: str, more: str | None = None, truncated: bool | None = None, storage: str = "STANDARD"
) -> bytes:
    listed = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;{len(key)}&quot;</ETag><Size>1</Size><StorageClass>{storage}</StorageClass></Contents>"
        for key in keys
    )
    following = f"<NextContinuationToken>{more}</NextContinuationToken>" if more else ""
    is_cut = str(bool(more) if truncated is None else truncated).lower()
    return (
        '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>{is_cut}</IsTruncated>{following}{listed}</ListBucketResult>"
    ).encode()


def refused(code: str, status: int = 403) -> Answer:
    return status, f"<Error><Code>{code}</Code><Message>No.</Message></Error>".encode(), {}


SECOND_PAGES: dict[str, Answer] = {
    "a fault": (500, b"", {}),
    "slow down": refused("SlowDown", 503),
    "forbidden": refused("AccessDenied"),
    "no XML": (200, b"<html>login</html", {}),
    "nothing": (200, b"", {}),
    "a page of something else": (200, b"<html><body>log in</body></html>", {}),
    "an object without a size": (200, page("b.md").replace(b"<Size>1</Size>", b""), {}),
    "no time": (200, page("b.md").replace(b"2026-01-01T00:00:00.000Z", b"yesterday"), {}),
    "half": (200, page("b.md")[:-30], {}),
    "cut off": (200, page("b.md")[:-30], {"Content-Length": "5000"}),
    "more, and not where": (200, page("b.md", truncated=True), {}),
    "the same again": (200, page("b.md", more="second"), {}),
}


@pytest.mark.parametrize("what", SECOND_PAGES)
def test_a_listing_that_breaks_off_is_none(liar: Liar, lied_to: ObjectsSource, what: str) -> None:
    second = SECOND_PAGES[what]
    liar.answer = lambda method, path: (
        second if "continuation" in path else (200, page("a.md", more="second"), {})
    )
    with pytest.raises(SourceUnavailable):
        lied_to.list()


def test_keys_given_twice_are_one(liar: Liar, lied_to: ObjectsSource) -> None:
    last: Answer = (200, page("a.md", "b.md"), {})
    liar.answer = lambda method, path: (
        last if "continuation" in path else (200, page("a.md", more="second"), {})
    )
    assert [one.uri for one in lied_to.list().sightings] == ["a.md", "b.md"]


def test_an_object_with_odd_parts_is_read_as_it_is_listed(liar: Liar, lied_to: ObjectsSource) -> None:
    asked: list[str] = []

    def answer(method: str, path: str) -> Answer:
        asked.append(path)
        if "list-type" in path:
            return 200, page("a//b.md"), {}
        return 200, b"x", {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "ETag": '"7"'}

    liar.answer = answer
    (seen,) = lied_to.list().sightings
    look = lied_to.look("a//b.md")
    assert isinstance(seen, Seen) and isinstance(look, Seen) and look.fingerprint == seen.fingerprint
    assert lied_to.read("a//b.md").body == b"x"
    assert asked[-1].endswith("/bucket/a//b.md")


def test_a_clock_that_is_wrong_is_told(liar: Liar, lied_to: ObjectsSource) -> None:
    liar.answer = lambda method, path: refused("RequestTimeTooSkewed")
    with pytest.raises(SourceUnavailable, match="RequestTimeTooSkewed") as told:
        lied_to.list()
    assert "clock" in told.value.hint


def test_one_object_that_is_refused_is_its_own_fault(liar: Liar, lied_to: ObjectsSource) -> None:
    def answer(method: str, path: str) -> Answer:
        if "list-type" in path:
            return 200, page("a.md"), {}
        return (403, b"", {}) if method == "HEAD" else refused("AccessDenied")

    liar.answer = answer
    for attempt in (lied_to.look, lied_to.read):
        with pytest.raises(DocumentUnreadable) as told:
            attempt("a.md")
        assert told.value.uri == "a.md"
    assert lied_to.looks(["a.md"]) == {}


def test_a_body_that_is_cut_off_is_not_read(liar: Liar, lied_to: ObjectsSource) -> None:
    headers = {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "ETag": '"7"', "Content-Length": "500"}
    liar.answer = lambda method, path: (200, b"half", headers)
    with pytest.raises(SourceUnavailable):
        lied_to.read("a.md")


def test_an_archived_object_is_skipped(liar: Liar, lied_to: ObjectsSource) -> None:
    liar.answer = lambda method, path: (200, page("a.md", storage="GLACIER"), {})
    (found,) = lied_to.list().sightings
    assert isinstance(found, Skipped) and "archived" in found.reason
