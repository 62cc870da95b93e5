"""What every source promises (ingestion.sources.port), tried on each adapter."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Protocol
from xml.sax.saxutils import escape

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.errors import DocumentGone, HeadwaterError, NotIndexable, SourceUnavailable
from ingestion.ledger.kept import Keep
from ingestion.ledger.ledger import Ledger
from ingestion.records import Content, Gone, Listing, Observation, Seen, Skipped
from ingestion.sources.adapting import AdaptiveSource
from ingestion.sources.feed import source as feed
from ingestion.sources.feed.source import FeedSource
from ingestion.sources.files import FilesSource
from ingestion.sources.git.places import Local
from ingestion.sources.git.source import GitSource
from ingestion.sources.memory import MemorySource
from ingestion.sources.objects.bucket import Bucket
from ingestion.sources.objects.source import ObjectsSource
from ingestion.sources.port import Read, SourcePort
from ingestion.sources.push import PushSource
from ingestion.sources.sql.source import SqlSource
from ingestion.sources.web import pages
from ingestion.sources.web import source as web
from ingestion.sources.web.fetching import Fetcher
from ingestion.sources.web.source import WebSource
from ops.kinds.base import Means
from ops.kinds.sql import SqlSettings
from tests.repositories import Repository
from tests.servers.objects import ObjectServer
from tests.servers.postgres import Postgres
from tests.servers.web import Answer, WebServer

LIMIT_BYTES = 1000


class Place(Protocol):
    """A source and the ways to change what it holds from outside: what a new kind adds to be tried here."""

    renames: bool
    """Whether it knows a document again that was renamed; if not, it is another one."""

    vanishes: bool
    """Whether it can be away by itself."""

    holds_empty: bool
    """Whether an empty document is one."""

    @property
    def source(self) -> SourcePort: ...

    def put(self, uri: str, body: bytes) -> None: ...

    def delete(self, uri: str) -> None: ...

    def rename(self, old: str, new: str) -> None: ...

    def vanish(self) -> None:
        """The place itself is gone."""

    def come_back(self) -> None:
        """Undo ``vanish``."""


class FolderPlace:
    renames = vanishes = holds_empty = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "root"
        self.folder.mkdir()
        self.source: SourcePort = FilesSource(
            "notes", self.folder, max_file_bytes=LIMIT_BYTES, clock=SystemClock()
        )

    def put(self, uri: str, body: bytes) -> None:
        path = self.folder / uri
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    def delete(self, uri: str) -> None:
        (self.folder / uri).unlink()

    def rename(self, old: str, new: str) -> None:
        target = self.folder / new
        target.parent.mkdir(parents=True, exist_ok=True)
        (self.folder / old).rename(target)

    def vanish(self) -> None:
        shutil.move(self.folder, self.folder.with_name("elsewhere"))

    def come_back(self) -> None:
        shutil.move(self.folder.with_name("elsewhere"), self.folder)


class MemoryPlace:
    renames = vanishes = holds_empty = True

    def __init__(self) -> None:
        self._memory = MemorySource("notes", max_bytes=LIMIT_BYTES, clock=SystemClock())
        self.source: SourcePort = self._memory
        self.put = self._memory.put
        self.delete = self._memory.delete
        self.rename = self._memory.rename
        self.come_back = self._memory.make_available

    def vanish(self) -> None:
        self._memory.make_unavailable()


class PushPlace:
    """Documents in a ledger, kept as somebody hands them over."""

    renames = vanishes = False
    holds_empty = True

    def __init__(self, folder: Path) -> None:
        clock = SystemClock()
        self._ledger = Ledger(Database.file(folder / "ledger.db"), clock)
        self._bodies: dict[str, bytes] = {}
        self.source: SourcePort = PushSource(
            "notes", self._ledger.kept, location="over there", max_document_bytes=LIMIT_BYTES, clock=clock
        )

    def put(self, uri: str, body: bytes) -> None:
        self._bodies[uri] = body
        self._ledger.kept.keep("notes", [Keep(uri, body)])

    def delete(self, uri: str) -> None:
        self._ledger.kept.keep("notes", [Keep(uri, None)])

    def rename(self, old: str, new: str) -> None:
        self._ledger.kept.keep("notes", [Keep(new, self._bodies[old]), Keep(old, None)])

    def vanish(self) -> None:
        raise AssertionError("it is the ledger's")

    come_back = vanish

    def close(self) -> None:
        self._ledger.database.close()


class Below:
    """A source whose URIs are told without what all of them begin with."""

    def __init__(self, inner: SourcePort, base: str) -> None:
        self._inner, self._base = inner, base
        self.name, self.kind, self.location = inner.name, inner.kind, inner.location
        self.root, self.watch = inner.root, inner.watch

    def list(self) -> Listing:
        return self.list_below("")

    def list_below(self, prefix: str) -> Listing:
        listing = self._inner.list_below(self._base + prefix)
        sightings = [replace(one, uri=one.uri.removeprefix(self._base)) for one in listing.sightings]
        return replace(listing, sightings=sightings)

    def look(self, uri: str) -> Observation:
        return replace(self._inner.look(self._base + uri), uri=uri)

    def looks(self, uris: Sequence[str]) -> Mapping[str, Observation]:
        found = self._inner.looks([self._base + uri for uri in uris])
        return {
            uri.removeprefix(self._base): replace(one, uri=uri.removeprefix(self._base))
            for uri, one in found.items()
        }

    def reading(self, uris: Sequence[str]) -> Read:
        read = self._inner.reading([self._base + uri for uri in uris])
        return lambda uri: self._without_base(uri, read)

    def read(self, uri: str) -> Content:
        return self._without_base(uri, self._inner.read)

    def _without_base(self, uri: str, read: Read) -> Content:
        try:
            content = read(self._base + uri)
        except HeadwaterError as error:
            error.uri = uri
            raise
        return replace(content, seen=replace(content.seen, uri=uri))


class WebPlace:
    """Pages of a server, named by its sitemap."""

    renames = holds_empty = False
    vanishes = True

    def __init__(self, folder: Path) -> None:
        clock = SystemClock()
        self._server = WebServer()
        self._ledger = Ledger(Database.file(folder / "ledger.db"), clock)
        self._fetcher = Fetcher(user_agent="tests", allowed=["127.0.0.1"], per_host=16)
        self._web = WebSource(
            "notes",
            self._ledger.kept,
            self._fetcher,
            urls=[],
            sitemaps=[f"{self._server.url}/sitemap.xml"],
            max_document_bytes=LIMIT_BYTES,
            user_agent="tests",
            clock=clock,
        )
        self.source: SourcePort = Below(self._web, f"{self._server.url}/")

    def put(self, uri: str, body: bytes) -> None:
        self._server.pages[f"/{uri}"] = Answer(body, media_type="text/markdown")

    def delete(self, uri: str) -> None:
        del self._server.pages[f"/{uri}"]
        self._web.look(f"{self._server.url}/{uri}")  # and gone is what is missing at the next

    def rename(self, old: str, new: str) -> None:
        self._web.look(f"{self._server.url}/{old}")
        self.put(new, self._server.pages[f"/{old}"].body)
        self.delete(old)

    def vanish(self) -> None:
        self._server.stop()

    def come_back(self) -> None:
        self._server.start()

    def close(self) -> None:
        self._fetcher.close()
        self._server.stop()
        self._ledger.database.close()


class GitPlace:
    """A repository on this machine, its files committed one by one."""

    renames = False
    vanishes = holds_empty = True

    def __init__(self, folder: Path) -> None:
        clock = SystemClock()
        self._repository = Repository(folder / "repository")
        self._ledger = Ledger(Database.file(folder / "ledger.db"), clock)
        self.source: SourcePort = GitSource(
            "notes",
            self._ledger.kept,
            Local(self._repository.folder, branch=None, timeout_s=60),
            location=str(self._repository.folder),
            max_file_bytes=LIMIT_BYTES,
            every_s=60,
            clock=clock,
        )

    def put(self, uri: str, body: bytes) -> None:
        self._repository.commit({uri: body})

    def delete(self, uri: str) -> None:
        (self._repository.folder / uri).unlink()
        self._repository.commit()

    def rename(self, old: str, new: str) -> None:
        (self._repository.folder / new).parent.mkdir(parents=True, exist_ok=True)
        self._repository("mv", old, new)
        self._repository.commit()

    def vanish(self) -> None:
        folder = self._repository.folder
        shutil.move(folder, folder.with_name("elsewhere"))

    def come_back(self) -> None:
        folder = self._repository.folder
        shutil.move(folder.with_name("elsewhere"), folder)

    def close(self) -> None:
        self._ledger.database.close()


class BucketPlace:
    """A bucket, new each time, of the server that all tests share."""

    renames = False
    vanishes = holds_empty = True
    server: ClassVar[ObjectServer]

    def __init__(self, _: Path) -> None:
        server = self.server
        self._bucket = server.bucket(versions=True)
        self.source: SourcePort = ObjectsSource(
            "notes",
            Bucket(
                self._bucket,
                endpoint_url=server.url,
                region="us-east-1",
                credentials=lambda: (server.key, server.secret),
                anonymous=False,
            ),
            location=self._bucket,
            max_document_bytes=LIMIT_BYTES,
            clock=SystemClock(),
        )

    def put(self, uri: str, body: bytes) -> None:
        self.server.client.put_object(Bucket=self._bucket, Key=uri, Body=body)

    def delete(self, uri: str) -> None:
        self.server.client.delete_object(Bucket=self._bucket, Key=uri)

    def rename(self, old: str, new: str) -> None:
        self.server.client.copy_object(Bucket=self._bucket, Key=new, CopySource=f"{self._bucket}/{old}")
        self.delete(old)

    def vanish(self) -> None:
        folder = self.server.folder / self._bucket
        shutil.move(folder, folder.with_name(f"{self._bucket}-elsewhere"))

    def come_back(self) -> None:
        folder = self.server.folder / self._bucket
        shutil.move(folder.with_name(f"{self._bucket}-elsewhere"), folder)


class AdaptivePlace(WebPlace):
    """The same, looked at where they change most."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        adaptive = AdaptiveSource(self._web, self._ledger, looks_per_hour=3600, clock=SystemClock())
        self.source = Below(adaptive, f"{self._server.url}/")


class FeedPlace:
    """Entries of an Atom feed, without titles."""

    renames = holds_empty = False
    vanishes = True

    def __init__(self, folder: Path) -> None:
        clock = SystemClock()
        self._server = WebServer()
        self._ledger = Ledger(Database.file(folder / "ledger.db"), clock)
        self._fetcher = Fetcher(user_agent="tests", allowed=["127.0.0.1"], per_host=16)
        self._entries: dict[str, bytes] = {}
        self._publish()
        self.source: SourcePort = FeedSource(
            "notes",
            self._ledger.kept,
            self._fetcher,
            urls=[f"{self._server.url}/feed"],
            retire_dropped=True,
            max_document_bytes=LIMIT_BYTES,
            clock=clock,
        )

    def put(self, uri: str, body: bytes) -> None:
        self._entries[uri] = body
        self._publish()

    def delete(self, uri: str) -> None:
        del self._entries[uri]
        self._publish()

    def rename(self, old: str, new: str) -> None:
        self._entries[new] = self._entries.pop(old)
        self._publish()

    def vanish(self) -> None:
        self._server.stop()

    def come_back(self) -> None:
        self._server.start()

    def close(self) -> None:
        self._fetcher.close()
        self._server.stop()
        self._ledger.database.close()

    def _publish(self) -> None:
        entries = "".join(
            f"<entry><id>{escape(uri)}</id><content>{escape(body.decode())}</content></entry>"
            for uri, body in self._entries.items()
        )
        feed = f'<feed xmlns="http://www.w3.org/2005/Atom">{entries}</feed>'
        self._server.pages["/feed"] = Answer(feed.encode(), media_type="application/atom+xml")


class SqlPlace:
    """Rows of a database, whose keys are paths."""

    renames = False
    holds_empty = True

    def __init__(self, folder: Path, changed: str | None = None) -> None:
        self._ledger = Ledger(Database.file(folder / "ledger.db"), SystemClock())
        self._database = self.make(folder)
        with self._database.begin() as connection:
            connection.exec_driver_sql(
                "CREATE TABLE notes (path varchar(100) PRIMARY KEY, body text, version integer)"
            )
        self._version = 0
        settings = SqlSettings(
            name="notes",
            url=SecretStr(self._database.url.render_as_string(hide_password=False)),
            query="SELECT path, body, version FROM notes;",
            key=("path",),
            changed=changed,
            text="{body}",
            max_document_bytes=LIMIT_BYTES,
        )
        self.source: SourcePort = settings.source(Means(SystemClock(), self._ledger, folder))

    def make(self, folder: Path) -> sa.Engine:
        raise NotImplementedError

    def execute(self, statement: str, **values: object) -> None:
        self._version += 1
        with self._database.begin() as connection:
            connection.execute(sa.text(statement), {"version": self._version, **values})

    def put(self, uri: str, body: bytes) -> None:
        self.execute(
            "INSERT INTO notes VALUES (:path, :body, :version)"
            " ON CONFLICT (path) DO UPDATE SET body = excluded.body, version = excluded.version",
            path=uri,
            body=body.decode(),
        )

    def delete(self, uri: str) -> None:
        self.execute("DELETE FROM notes WHERE path = :path", path=uri)

    def rename(self, old: str, new: str) -> None:
        self.execute("UPDATE notes SET path = :new, version = :version WHERE path = :old", old=old, new=new)

    def close(self) -> None:
        assert isinstance(self.source, SqlSource)
        self.source.close()
        self._database.dispose()
        self._ledger.database.close()


class SqlitePlace(SqlPlace):
    vanishes = True

    def make(self, folder: Path) -> sa.Engine:
        self._file = folder / "shop.db"
        return sa.create_engine(f"sqlite:///{self._file}")

    def vanish(self) -> None:
        self._file.rename(self._file.with_name("elsewhere.db"))

    def come_back(self) -> None:
        self._file.with_name("elsewhere.db").rename(self._file)


class PostgresPlace(SqlPlace):
    """A server that takes nobody in."""

    vanishes = True
    server: ClassVar[Postgres]

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, changed="version")

    def make(self, folder: Path) -> sa.Engine:
        self._url = self.server.empty().set(drivername="postgresql+psycopg")
        return sa.create_engine(self._url, poolclass=sa.NullPool)

    def vanish(self) -> None:
        self.server.execute(f'ALTER DATABASE "{self._url.database}" ALLOW_CONNECTIONS false')
        self.server.disconnect(self._url)

    def come_back(self) -> None:
        self.server.execute(f'ALTER DATABASE "{self._url.database}" ALLOW_CONNECTIONS true')

    def close(self) -> None:
        super().close()
        self.server.drop(self._url)


PLACES: dict[str, Callable[[Path], Place]] = {
    "files": FolderPlace,
    "git": GitPlace,
    "memory": lambda _: MemoryPlace(),
    "objects": BucketPlace,
    "push": PushPlace,
    "sql": SqlitePlace,
    "sql with a change column": lambda folder: SqlitePlace(folder, "version"),
    "sql on a server": PostgresPlace,
    "web": WebPlace,
    "adaptive web": AdaptivePlace,
    "feed": FeedPlace,
}
"""A kind of sources, and its line here."""


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(pages, "APART_S", 0.0)
    monkeypatch.setattr(web, "WANTED_FOR_S", 0.0)
    monkeypatch.setattr(feed, "READ_FOR_S", 0.0)
    if request.param == "objects":
        BucketPlace.server = request.getfixturevalue("objects")
    if request.param == "sql on a server":
        PostgresPlace.server = request.getfixturevalue("postgres")
    made = PLACES[request.param](tmp_path)
    yield made
    if hasattr(made, "close"):
        made.close()


def listed(place: Place) -> dict[str, Seen | Skipped]:
    listing = place.source.list()
    by_uri = {sighting.uri: sighting for sighting in listing.sightings}
    assert len(by_uri) == len(listing.sightings), "each URI at most once"
    return by_uri


def seen(place: Place, uri: str) -> Seen:
    observation = place.source.look(uri)
    assert isinstance(observation, Seen)
    return observation


def test_it_says_what_it_is(place: Place) -> None:
    assert place.source.name == "notes"
    assert place.source.kind
    assert place.source.location


def test_its_watch_may_be_set_and_ended_at_any_time(place: Place) -> None:
    watch = place.source.watch(lambda dirty: None)
    watch.stop()
    assert watch.start()
    assert watch.alive()
    assert watch.blind_reason is None
    assert watch.restart()
    watch.stop()
    watch.stop()


def test_an_empty_place_is_present_and_holds_nothing(place: Place) -> None:
    assert place.source.root().present
    listing = place.source.list()
    assert (list(listing.sightings), list(listing.blind), list(listing.faults)) == ([], [], [])
    assert listing.root == place.source.root()
    assert listing.started_at <= listing.finished_at


def test_everything_put_is_listed_looked_at_and_read(place: Place) -> None:
    bodies = {"a.md": b"one", "deep/er/b.md": b"two\n"}
    if place.holds_empty:
        bodies["empty.md"] = b""
    for uri, body in bodies.items():
        place.put(uri, body)
    assert listed(place).keys() == bodies.keys()
    for uri, body in bodies.items():
        content = place.source.read(uri)
        assert content.body == body
        assert content.seen.uri == uri
        assert content.seen.size_bytes == len(body)
        assert content.seen.fingerprint == seen(place, uri).fingerprint


def test_many_are_looked_at_and_read_as_one_is(place: Place) -> None:
    bodies = {"a.md": b"one", "b.md": b"two", "large.md": b"x" * (LIMIT_BYTES + 1)}
    for uri, body in bodies.items():
        place.put(uri, body)
    looks = place.source.looks([*bodies, "absent.md"])
    assert looks.keys() == {*bodies, "absent.md"}
    for uri, found in looks.items():
        alone = place.source.look(uri)
        assert type(found) is type(alone)
        assert getattr(found, "fingerprint", None) == getattr(alone, "fingerprint", None)
    read = place.source.reading([*bodies, "absent.md"])
    assert (read("a.md").body, read("b.md").body) == (b"one", b"two")
    with pytest.raises(NotIndexable):
        read("large.md")
    with pytest.raises(DocumentGone):
        read("absent.md")
    assert place.source.looks([]) == {}


def test_listing_and_look_agree(place: Place) -> None:
    place.put("a.md", b"one")
    sighting = listed(place)["a.md"]
    look = seen(place, "a.md")
    assert isinstance(sighting, Seen)
    assert (look.fingerprint, look.identity, look.changed_at) == (
        sighting.fingerprint,
        sighting.identity,
        sighting.changed_at,
    )


def test_below_a_prefix_only_that_is_listed(place: Place) -> None:
    for uri in ("a.md", "sub/b.md", "sub/deep/c.md", "subway/d.md"):
        place.put(uri, b"one")
    for prefix, below in (
        ("", {"a.md", "sub/b.md", "sub/deep/c.md", "subway/d.md"}),
        ("sub/", {"sub/b.md", "sub/deep/c.md"}),
        ("sub/deep/", {"sub/deep/c.md"}),
        ("absent/", set()),
        ("a.md/", set()),
    ):
        listing = place.source.list_below(prefix)
        assert {sighting.uri for sighting in listing.sightings} == below
        assert not listing.blind
    if place.vanishes:
        place.vanish()
        with pytest.raises(SourceUnavailable):
            place.source.list_below("sub/")


def test_looking_and_reading_change_nothing(place: Place) -> None:
    place.put("a.md", b"one")
    before = seen(place, "a.md")
    place.source.read("a.md")
    place.source.list()
    after = seen(place, "a.md")
    assert (after.fingerprint, after.identity) == (before.fingerprint, before.identity)


def test_an_edit_changes_the_fingerprint_and_the_content(place: Place) -> None:
    place.put("a.md", b"one")
    before = seen(place, "a.md").fingerprint
    place.put("a.md", b"one more")
    assert seen(place, "a.md").fingerprint != before
    assert place.source.read("a.md").body == b"one more"


def test_a_rename_keeps_the_identity(place: Place) -> None:
    place.put("a.md", b"one")
    before = seen(place, "a.md")
    place.rename("a.md", "sub/b.md")
    assert isinstance(place.source.look("a.md"), Gone)
    after = seen(place, "sub/b.md")
    assert after.identity == before.identity
    assert (after.identity is not None) is place.renames


def test_a_copy_has_another_identity(place: Place) -> None:
    place.put("a.md", b"one")
    place.put("b.md", b"one")
    identity = seen(place, "a.md").identity
    assert identity is None or identity != seen(place, "b.md").identity


def test_what_is_deleted_is_gone_with_evidence(place: Place) -> None:
    place.put("a.md", b"one")
    place.delete("a.md")
    observation = place.source.look("a.md")
    assert isinstance(observation, Gone)
    assert observation.evidence
    assert "a.md" not in listed(place)
    with pytest.raises(DocumentGone) as refused:
        place.source.read("a.md")
    assert (refused.value.source, refused.value.uri) == ("notes", "a.md")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/",
        "/etc/passwd",
        "../outside.md",
        "a/../a.md",
        "./a.md",
        "a//b.md",
        "a.md/",
        "nul\0.md",
        "%41.md",
    ],
)
def test_what_can_be_no_document_is_gone(place: Place, uri: str) -> None:
    place.put("a.md", b"one")
    assert isinstance(place.source.look(uri), Gone)
    with pytest.raises(DocumentGone):
        place.source.read(uri)


def test_a_document_over_the_limit_is_skipped_with_both_sizes(place: Place) -> None:
    place.put("large.md", b"x" * (LIMIT_BYTES + 234))
    place.put("fits.md", b"x" * LIMIT_BYTES)
    for observation in (listed(place)["large.md"], place.source.look("large.md")):
        assert isinstance(observation, Skipped)
        reason = observation.reason.replace(",", "")
        assert str(LIMIT_BYTES) in reason
        assert str(LIMIT_BYTES + 234) in reason
    with pytest.raises(NotIndexable):
        place.source.read("large.md")
    assert len(place.source.read("fits.md").body) == LIMIT_BYTES


def test_a_missing_place_is_no_evidence_of_absence(place: Place) -> None:
    if not place.vanishes:
        pytest.skip("it is where the ledger is")
    place.put("a.md", b"one")
    place.vanish()
    if not place.source.root().present:
        assert place.source.root().reason
    for attempt in (place.source.list, lambda: place.source.look("a.md"), lambda: place.source.read("a.md")):
        with pytest.raises(SourceUnavailable) as refused:
            attempt()
        assert refused.value.source == "notes"
        assert refused.value.hint
    place.come_back()
    assert listed(place).keys() == {"a.md"}


def test_it_may_be_used_from_many_threads(place: Place) -> None:

    uris = [f"{number % 7}/{number}.md" for number in range(100)]
    for uri in uris:
        place.put(uri, uri.encode())
    with ThreadPoolExecutor(8) as threads:
        bodies = list(threads.map(lambda uri: place.source.read(uri).body, uris * 3))
        listings = list(threads.map(lambda _: len(place.source.list().sightings), range(16)))
    assert bodies == [uri.encode() for uri in uris * 3]
    assert set(listings) == {100}
