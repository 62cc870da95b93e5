"""Sources, ledger and index are compared; what differs is found, and mended through the ordinary flow.

Another index is one more line in INDEXES.
"""

from __future__ import annotations

import itertools
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ingestion.buckets import bucket_of
from ingestion.database import Database
from ingestion.errors import EditionMissing, IndexUnavailable
from ingestion.ledger.sources import SourceRow
from ingestion.ledger.values import Placed, Staging
from ingestion.records import Drift
from ingestion.sources.files import FilesSource
from retrieval.index.embedded import EmbeddedIndex
from retrieval.index.memory import MemoryIndex
from retrieval.index.port import Index, IndexedChunk
from retrieval.index.weaviate import WeaviateIndex
from tests.rig import DIMENSIONS, SOURCE, Rig, ShiftedClock
from tests.servers.weaviate import Weaviate, admin, collections
from workers.audit import Auditor
from workers.upkeep import AUDIT_EVERY_S, MUCH_TO_INDEX

INDEXES: dict[str, Callable[[pytest.FixtureRequest, Path], Index]] = {
    "embedded": lambda request, folder: EmbeddedIndex(Database.file(folder / "index.sqlite")),
    "memory": lambda request, folder: MemoryIndex(),
    "weaviate": lambda request, folder: _weaviate(request),
}
TEXTS = {
    "leave.md": "# Leave\n\nYou have thirty days.\n\n## Sick leave\n\nCall before nine.\n",
    "travel.md": "# Travel\n\nGo by train.\n",
    "pay.md": "# Pay\n\nWages arrive on the 25th.\n",
    "sub/copy.md": "# Travel\n\nGo by train.\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A source of real files."""
    place = tmp_path / "notes"
    for uri, text in TEXTS.items():
        (place / uri).parent.mkdir(parents=True, exist_ok=True)
        (place / uri).write_text(text)
    return place


@pytest.fixture(params=sorted(INDEXES))
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Index]:
    made = INDEXES[request.param](request, tmp_path)
    yield made
    made.close()


def _weaviate(request: pytest.FixtureRequest) -> Index:
    server: Weaviate = request.getfixturevalue("weaviate")
    prefix: str = request.getfixturevalue("weaviate_prefix")
    return WeaviateIndex(server.url, grpc_port=server.grpc_port, api_key=server.api_key, prefix=prefix)


def opened(
    folder: Path, ledger: Path, index: Index, clock: ShiftedClock | None = None, *, watches: bool = True
) -> Rig:
    """A process on these stores."""
    clock = clock or ShiftedClock()
    source = FilesSource(SOURCE, folder, clock=clock)
    rig = Rig(Database.file(ledger), [source], clock=clock, index=index, watches=watches)
    rig.recover()
    return rig


@pytest.fixture
def rig(folder: Path, tmp_path: Path, index: Index) -> Iterator[Rig]:
    rig = opened(folder, tmp_path / "ledger.sqlite", index)
    rig.sync()
    rig.advance(60.0)
    rig.sync()  # no look is racy any more
    rig.forget_outcomes()
    yield rig
    rig.ledger.database.close()


def found(rig: Rig, *, deep: bool = False) -> dict[Drift, int]:
    """What an audit that changes nothing finds."""
    before = held(rig), known(rig), rig.states()
    embed = rig.embedder.inner.embed_documents if deep else None
    audit, findings = rig.audit(repair=False, embed=embed)
    assert (held(rig), known(rig), rig.states()) == before
    assert not audit.mended and not findings.documents
    return dict(audit.found)


def mend(rig: Rig, *, deep: bool = False) -> None:
    """Mended, nothing differs any more, and to mend again does nothing."""
    embed = rig.embedder.inner.embed_documents if deep else None
    audit, _ = rig.audit(embed=embed)
    assert audit.mended == audit.found != {}
    rig.settle()
    rig.sweep()
    assert found(rig, deep=True) == {}
    before = held(rig), known(rig)
    again, findings = rig.audit(embed=embed)
    assert again.clean and not findings.documents
    assert (held(rig), known(rig)) == before
    rig.consistent()


def held(rig: Rig) -> list[tuple[str, str, str]]:
    try:
        listed = sorted(rig.index.ids(rig.edition.name))
    except IndexUnavailable:
        return []
    texts = rig.index.texts(rig.edition.name, [chunk_id for chunk_id, _ in listed])
    return [(chunk_id, digest, texts[chunk_id]) for chunk_id, digest in listed]


def known(rig: Rig) -> list[object]:
    with rig.ledger.database.read() as connection:
        return [
            row
            for table in ("chunks", "publications", "documents")
            for row in connection.exec_driver_sql(f"SELECT * FROM {table}").all()
        ]


def ids(rig: Rig, uri: str) -> list[str]:
    return [row.chunk_id for row in rig.ledger.views.chunks_of(rig.document_ids()[uri])]


def overwrite(rig: Rig, chunk_id: str, **changed: object) -> None:
    """Hold a chunk with something else in it."""
    name = rig.edition.name
    (digest,) = [digest for key, digest in rig.index.ids(name) if key == chunk_id]
    text, vector = rig.index.texts(name, [chunk_id])[chunk_id], rig.index.vectors(name, [chunk_id])[chunk_id]
    held_now = IndexedChunk(chunk_id, SOURCE, digest, "", text, vector)
    rig.index.upsert(name, [replace(held_now, **changed)])  # type: ignore[arg-type]


def stray(chunk_id: str | None = None) -> IndexedChunk:
    vector = np.eye(DIMENSIONS, dtype=np.float32)[0]
    return IndexedChunk(chunk_id or str(uuid.uuid4()), SOURCE, "d", "", "stray", vector)


def test_where_nothing_differs_nothing_is_found_or_done(rig: Rig) -> None:
    assert found(rig, deep=True) == {}
    audit, _ = rig.audit()
    assert audit.clean
    assert audit.chunks == len(held(rig)) == 5
    assert rig.ledger.audits.latest(rig.edition) == audit


def test_a_chunk_nobody_knows_is_deleted(rig: Rig) -> None:
    unknown = stray()
    rig.index.upsert(rig.edition.name, [unknown])
    assert found(rig) == {Drift.CHUNK_UNKNOWN: 1}
    mend(rig)
    assert rig.index.present(rig.edition.name, [unknown.chunk_id]) == set()
    assert rig.embedder.texts == []


def test_a_missing_chunk_is_made_again_under_a_new_id_and_alone(rig: Rig) -> None:
    before, lost = rig.passages(), ids(rig, "leave.md")[1]
    rig.index.delete(rig.edition.name, [lost])
    assert found(rig) == {Drift.CHUNK_MISSING: 1}
    mend(rig)
    assert rig.passages() == before
    assert lost not in ids(rig, "leave.md")
    assert len(rig.embedder.texts) == 1


def test_another_text_under_the_right_id_is_found_and_replaced(rig: Rig) -> None:
    before, wrong = rig.passages(), ids(rig, "leave.md")[1]
    overwrite(rig, wrong, text="You have ninety days.")
    assert found(rig) == {Drift.CHUNK_TEXT: 1}
    assert rig.passages() != before
    mend(rig)
    assert rig.passages() == before
    assert wrong not in ids(rig, "leave.md")


def test_another_digest_under_the_right_id_counts_once(rig: Rig) -> None:
    before, wrong = rig.passages(), ids(rig, "pay.md")[0]
    overwrite(rig, wrong, digest="another", text="Another passage altogether.")
    assert found(rig) == {Drift.CHUNK_TEXT: 1}
    mend(rig)
    assert rig.passages() == before


@pytest.mark.parametrize(
    ("make", "deep"),
    [(lambda vector: vector * 2, False), (lambda vector: np.roll(vector, 1), True)],
    ids=["not of length one", "of another text"],
)
def test_a_wrong_vector_is_found_and_not_used_again(
    rig: Rig, make: Callable[[np.ndarray], np.ndarray], deep: bool
) -> None:
    """Both documents that hold the text get a vector that is right, though each might lend its own."""
    wrong = [*ids(rig, "travel.md"), *ids(rig, "sub/copy.md")]
    right = rig.index.vectors(rig.edition.name, wrong)[wrong[0]]
    for chunk_id in wrong:
        overwrite(rig, chunk_id, vector=make(right).astype(np.float32))
    assert found(rig, deep=deep) == {Drift.CHUNK_VECTOR: 2}
    mend(rig, deep=deep)
    now = [*ids(rig, "travel.md"), *ids(rig, "sub/copy.md")]
    assert not set(now) & set(wrong)
    for vector in rig.index.vectors(rig.edition.name, now).values():
        np.testing.assert_allclose(vector, right, atol=1e-6)


def test_texts_and_vectors_are_gone_through_part_by_part(rig: Rig) -> None:
    (wrong,) = ids(rig, "pay.md")
    overwrite(rig, wrong, text="Another text.")
    auditor = rig.upkeep.auditor(rig.reconciler, rig.sources, rig.work.list_source, settle_s=0.0)
    auditor = replace(auditor, contents_at_once=1)
    rounds = [auditor.audit(rig.edition, repair=False)[0] for _ in range(6)]
    assert sum(audit.found.get(Drift.CHUNK_TEXT, 0) for audit in rounds) == 1
    assert [audit.contents_to for audit in rounds[:5]] == sorted(row[0] for row in held(rig))
    assert rounds[5].contents_to == ""


def test_documents_the_ledger_forgot_and_those_that_are_gone(rig: Rig, folder: Path) -> None:
    (folder / "new.md").write_text("# New\n\nNobody told of it.\n")
    (folder / "pay.md").write_text("# Pay\n\nWages arrive on the 27th.\n")
    (folder / "travel.md").unlink()
    with rig.ledger.database.write() as connection:
        forgotten = rig.document_ids()["leave.md"]
        for table, column in (
            ("attempts", "document_id"),
            ("chunks", "document_id"),
            ("publications", "document_id"),
            ("documents", "id"),
        ):
            connection.exec_driver_sql(f"DELETE FROM {table} WHERE {column} = {forgotten}")
    assert found(rig) == {
        Drift.DOCUMENT_UNSEEN: 2,
        Drift.DOCUMENT_CHANGED: 1,
        Drift.DOCUMENT_GONE: 1,
        Drift.CHUNK_UNKNOWN: 2,
    }
    mend(rig)
    texts = {uri: text for uri, *_, text in rig.passages()}
    assert sorted(texts) == ["leave.md", "new.md", "pay.md", "sub/copy.md"]
    assert "27th" in texts["pay.md"]


def test_a_renamed_document_and_a_file_that_is_skipped(rig: Rig, folder: Path) -> None:
    (folder / "pay.md").rename(folder / "wages.md")
    (folder / "image.bin").write_bytes(bytes(range(256)))
    assert found(rig) == {Drift.DOCUMENT_CHANGED: 1, Drift.DOCUMENT_UNSEEN: 1}
    mend(rig)
    assert rig.embedder.texts == []
    assert rig.states()["image.bin"] == "skipped"


def test_what_is_held_is_known_and_no_drift(rig: Rig, folder: Path) -> None:
    shutil.rmtree(folder)
    audit, _ = rig.audit(repair=False)
    assert (audit.found, len(audit.faults), audit.clean) == ({}, 1, False)
    folder.mkdir()
    assert found(rig) == {Drift.DOCUMENT_GONE: 4}
    rig.audit()
    assert set(rig.states().values()) == {"held"}
    assert found(rig) == {}
    assert len(rig.passages()) == 5


def edits(folder: Path, rig: Rig) -> None:
    """Some more history: one edited, one new, one deleted, all swept."""
    (folder / "pay.md").write_text("# Pay\n\nWages arrive on the 28th.\n")
    (folder / "new.md").write_text("# New\n\nSomething else.\n")
    (folder / "travel.md").unlink()
    rig.sync()
    rig.sweep()
    rig.sync()


def test_a_ledger_older_than_its_index(rig: Rig, folder: Path, tmp_path: Path, index: Index) -> None:
    rig.ledger.database.close()
    backup = shutil.copy(tmp_path / "ledger.sqlite", tmp_path / "backup.sqlite")
    newer = opened(folder, tmp_path / "ledger.sqlite", index, rig.clock)  # type: ignore[arg-type]
    edits(folder, newer)
    expected = newer.passages()
    newer.ledger.database.close()

    restored = opened(folder, Path(backup), index, rig.clock)  # type: ignore[arg-type]
    assert found(restored) == {
        Drift.CHUNK_UNKNOWN: 2,
        Drift.CHUNK_MISSING: 2,
        Drift.DOCUMENT_UNSEEN: 1,
        Drift.DOCUMENT_CHANGED: 1,
        Drift.DOCUMENT_GONE: 1,
    }
    mend(restored)
    assert restored.passages() == expected
    restored.ledger.database.close()


def test_an_index_older_than_its_ledger(folder: Path, tmp_path: Path) -> None:
    """The index lies in a file of its own, so that it can be put back without the ledger."""
    database = Database.file(tmp_path / "index.sqlite")
    rig = opened(folder, tmp_path / "ledger.sqlite", EmbeddedIndex(database))
    rig.sync()
    database.close()  # what is in the log goes into the file
    shutil.copy(tmp_path / "index.sqlite", tmp_path / "backup.sqlite")
    rig.advance(60.0)
    edits(folder, rig)
    expected = rig.passages()
    rig.ledger.database.close()

    old = EmbeddedIndex(Database.file(tmp_path / "backup.sqlite"))
    restored = opened(folder, tmp_path / "ledger.sqlite", old, rig.clock)  # type: ignore[arg-type]
    assert found(restored) == {Drift.CHUNK_MISSING: 2, Drift.CHUNK_UNKNOWN: 2}
    mend(restored)
    assert restored.passages() == expected
    restored.ledger.database.close()


def test_an_emptied_index_is_filled_again_each_text_embedded_once(rig: Rig) -> None:
    before = rig.passages()
    rig.index.delete(rig.edition.name, [chunk_id for chunk_id, _ in rig.index.ids(rig.edition.name)])
    assert found(rig) == {Drift.CHUNK_MISSING: 5}
    mend(rig)
    assert rig.passages() == before
    assert len(rig.embedder.texts) == 4  # one text is in two documents


def test_an_edition_dropped_from_the_index_is_made_again(rig: Rig) -> None:
    before = rig.passages()
    rig.index.drop(rig.edition.name)
    assert found(rig) == {Drift.EDITION_MISSING: 1, Drift.CHUNK_MISSING: 5}
    mend(rig)
    assert rig.passages() == before


def test_a_collection_deleted_by_somebody_else_is_filled_again_by_the_schedule(
    folder: Path, tmp_path: Path, weaviate: Weaviate, weaviate_prefix: str
) -> None:
    """Under a process that had opened it, while no audit is due by the hours."""
    index = WeaviateIndex(
        weaviate.url, grpc_port=weaviate.grpc_port, api_key=weaviate.api_key, prefix=weaviate_prefix
    )
    rig = opened(folder, tmp_path / "ledger.sqlite", index)
    rig.sync()
    rig.work.audit()
    before = rig.passages()
    with admin(weaviate) as client:
        for name in collections(weaviate, weaviate_prefix):
            client.delete(f"/schema/{name}").raise_for_status()
    with pytest.raises(EditionMissing):
        index.check(rig.edition.name)
    rig.work.audit()
    latest = rig.ledger.audits.latest(rig.edition)
    assert latest is not None
    assert latest.found == latest.mended == {Drift.EDITION_MISSING: 1, Drift.CHUNK_MISSING: 5}
    rig.settle()
    assert rig.passages() == before
    index.close()
    rig.ledger.database.close()


def test_an_index_made_anew_and_empty_is_filled_again_before_the_hours_are_over(rig: Rig) -> None:
    """As a start makes it: the next audit by the hours would leave it empty until then."""
    before = rig.passages()
    rig.work.audit()
    rig.index.drop(rig.edition.name)
    rig.index.create(rig.edition.name, DIMENSIONS)
    assert rig.upkeep.audit_is_due(rig.edition)
    rig.work.audit()
    assert not rig.upkeep.audit_is_due(rig.edition)  # what is being made again is lost no more
    rig.settle()
    assert not rig.upkeep.audit_is_due(rig.edition)
    assert rig.passages() == before


def test_a_lost_edition_is_made_again_though_much_waits_for_it(rig: Rig, folder: Path) -> None:
    """Nothing of what waits could be published without it."""
    for number in range(MUCH_TO_INDEX + 1):
        (folder / f"{number}.md").write_text(f"# Number {number}\n\nSome words.\n")
    rig.scan()
    assert not rig.upkeep.audit_is_due(rig.edition)
    rig.index.drop(rig.edition.name)
    assert rig.upkeep.audit_is_due(rig.edition)


class Away:
    """An index that cannot be reached."""

    def __init__(self, inner: Index) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Callable[..., object]:
        def refuse(*_: object, **__: object) -> object:
            raise IndexUnavailable("away")

        return refuse


def test_an_index_that_is_away_is_no_emptied_one(rig: Rig) -> None:
    before = known(rig)
    auditor = Auditor(
        rig.ledger,
        Away(rig.index),  # type: ignore[arg-type]
        rig.reconciler,
        rig.sources,
        rig.work.list_source,
        settle_s=0.0,
    )
    with pytest.raises(IndexUnavailable):
        auditor.audit(rig.edition, repair=True)
    assert known(rig) == before
    assert rig.ledger.audits.latest(rig.edition) is None


def test_what_is_staged_or_dead_is_no_drift(rig: Rig, folder: Path) -> None:
    """Intents that the index has not heard of yet, chunks that no attempt has published, and the dead."""
    (folder / "pay.md").write_text("# Pay\n\nWages arrive on the 28th.\n")
    rig.sync()  # the old one is dead, and not swept
    live = {one.chunk_id for one in rig.ledger.audits.live(rig.edition)}
    (dead,) = {chunk_id for chunk_id, *_ in held(rig)} - live
    overwrite(rig, dead, digest="another")
    assert found(rig) == {}
    (folder / "new.md").write_text("# New\n\nSomething else.\n\n## More\n\nAnd more.\n")
    rig.scan()
    claims = rig.ledger.claims.claim(rig.edition, [rig.document_ids()["new.md"]])
    places = [Placed(str(uuid.uuid4()), n, 0, 1, ()) for n in range(2)]
    rig.ledger.publications.stage([Staging(claims[0], place, "d") for place in places])
    rig.index.upsert(rig.edition.name, [stray(places[0].chunk_id)])
    assert found(rig) == {}
    assert rig.audit()[0].clean
    assert rig.index.present(rig.edition.name, [places[0].chunk_id])


class SweptMeanwhile:
    """Lets the sweep and an edit happen between two looks of the audit."""

    def __init__(self, inner: Index, then: Callable[[], None]) -> None:
        self._inner = inner
        self._then = then

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def ids(self, edition: str) -> Iterator[tuple[str, str]]:
        listed = list(self._inner.ids(edition))
        self._then()
        return iter(listed)


def test_what_is_replaced_and_swept_during_an_audit_is_no_drift(rig: Rig, folder: Path) -> None:
    (old,) = ids(rig, "pay.md")
    bucket = bucket_of(old)
    beside = next(
        key
        for key in (str(uuid.UUID(int=number)) for number in itertools.count(1))
        if bucket_of(key) == bucket
    )
    rig.index.upsert(rig.edition.name, [stray(beside)])  # so that single chunks of this bucket are looked at

    def edit_and_sweep() -> None:
        (folder / "pay.md").write_text("# Pay\n\nWages arrive on the 29th.\n")
        rig.sync()
        rig.sweep()

    auditor = rig.upkeep.auditor(rig.reconciler, rig.sources, rig.work.list_source, settle_s=0.0)
    auditor = replace(auditor, index=SweptMeanwhile(rig.index, edit_and_sweep))  # type: ignore[arg-type]
    audit, _ = auditor.audit(rig.edition, repair=True)
    assert audit.found == {Drift.CHUNK_UNKNOWN: 1}
    assert found(rig, deep=True) == {}


def test_the_schedule_audits_when_it_is_due_and_keeps_what_it_found(rig: Rig) -> None:
    rig.index.upsert(rig.edition.name, [stray()])
    rig.work.audit()
    first = rig.ledger.audits.latest(rig.edition)
    assert first is not None and first.repair
    assert first.found == first.mended == {Drift.CHUNK_UNKNOWN: 1}
    rig.work.audit()
    assert rig.ledger.audits.latest(rig.edition) == first
    rig.advance(AUDIT_EVERY_S)
    rig.work.audit()
    second = rig.ledger.audits.latest(rig.edition)
    assert second is not None and second != first and second.clean


class Slow:
    """An index that takes its time to count."""

    def __init__(self, inner: Index) -> None:
        self._inner = inner
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def buckets(self, edition: str) -> object:
        self.begun.set()
        assert self.go_on.wait(60.0)
        return self._inner.buckets(edition)


def test_one_audit_at_a_time_in_all_processes(folder: Path, tmp_path: Path) -> None:
    """However often it is asked for, and however long it takes; one that died is done again after a lease."""
    slow = Slow(EmbeddedIndex(Database.file(tmp_path / "index.sqlite")))
    one = opened(folder, tmp_path / "ledger.sqlite", slow)  # type: ignore[arg-type]
    other = opened(folder, tmp_path / "ledger.sqlite", slow._inner, one.clock)  # type: ignore[arg-type]
    one.sync()
    under_way = threading.Thread(target=one.work.audit)
    under_way.start()
    try:
        assert slow.begun.wait(60.0)
        one.work.audit()
        other.work.audit()
        assert one.ledger.audits.latest(one.edition) is None
        for _ in range(10):
            one.advance(one.ledger.audits.lease_s / 2)
            one.work.tend()
            other.work.audit()
        assert one.ledger.audits.latest(one.edition) is None
        one.advance(one.ledger.audits.lease_s + 1.0)
        one.work.audit()
        assert one.ledger.audits.latest(one.edition) is None
        other.work.audit()
        found_by_other = one.ledger.audits.latest(one.edition)
        assert found_by_other is not None
    finally:
        slow.go_on.set()
        under_way.join()
    assert one.ledger.audits.latest(one.edition) != found_by_other
    for rig in (one, other):
        rig.ledger.database.close()


def test_an_audit_that_fails_is_tried_again_when_it_is_asked_for(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(rig.upkeep, "_index", Away(rig.index))
        with pytest.raises(IndexUnavailable):
            rig.work.audit()
    rig.work.audit()
    assert rig.ledger.audits.latest(rig.edition) is not None


@pytest.mark.parametrize("lacks", ["chunks", "a listing"])
def test_the_schedule_deletes_nothing_where_the_ledger_may_lack(
    rig: Rig, lacks: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It says so, and leaves it to a command."""
    number = 6 if lacks == "chunks" else 1  # the ledger knows five
    unknown = [stray() for _ in range(number)]
    rig.index.upsert(rig.edition.name, unknown)
    if lacks == "a listing":
        rig.ledger.sources.configure(
            [SourceRow(SOURCE, "files", str(rig.sources[SOURCE].location)), SourceRow("new", "files", "/new")]
        )
    rig.index.delete(rig.edition.name, ids(rig, "pay.md"))  # what is missing is mended all the same
    rig.work.audit()
    latest = rig.ledger.audits.latest(rig.edition)
    assert latest is not None
    assert latest.found == {Drift.CHUNK_UNKNOWN: number, Drift.CHUNK_MISSING: 1}
    assert latest.mended == {Drift.CHUNK_MISSING: 1}
    assert "headwater audit --repair" in caplog.text
    assert len(rig.index.present(rig.edition.name, [one.chunk_id for one in unknown])) == number
    rig.settle()
    audit, _ = rig.audit()
    assert audit.mended == {Drift.CHUNK_UNKNOWN: number}
    assert found(rig) == {}


def test_a_full_index_is_used_by_a_ledger_that_begins_anew(
    folder: Path, tmp_path: Path, index: Index
) -> None:
    """Nobody knows its chunks yet, but their vectors serve."""
    for number in range(MUCH_TO_INDEX):
        (folder / f"{number}.md").write_text(f"# Number {number}\n\nSome words.\n")
    first = opened(folder, tmp_path / "ledger.sqlite", index)
    first.sync()
    expected = first.passages()
    first.ledger.database.close()

    anew = opened(folder, tmp_path / "anew.sqlite", index, ShiftedClock())
    anew.scan()
    anew.work.audit()
    assert anew.ledger.audits.latest(anew.edition) is None
    anew.settle()
    assert anew.embedder.texts == []
    anew.work.audit()
    assert found(anew) == {}
    assert anew.passages() == expected
    assert len(held(anew)) == len(expected)
    anew.ledger.database.close()


def test_drift_that_a_command_left_is_due_at_once(rig: Rig) -> None:
    rig.work.audit()
    rig.index.upsert(rig.edition.name, [stray()])
    assert found(rig) == {Drift.CHUNK_UNKNOWN: 1}
    rig.work.audit()
    assert found(rig) == {}


def test_a_document_that_the_watcher_is_about_to_tell_of_is_no_drift(rig: Rig, folder: Path) -> None:
    (folder / "pay.md").write_text("# Pay\n\nWages arrive on the 26th.\n")
    soon = threading.Timer(0.3, lambda: rig.look("pay.md"))
    soon.start()
    auditor = rig.upkeep.auditor(rig.reconciler, rig.sources, rig.work.list_source, settle_s=30.0)
    audit, _ = auditor.audit(rig.edition, repair=False)
    soon.join()
    assert audit.clean


def test_an_empty_folder_in_the_place_of_a_mount_holds_nothing_where_nobody_watches(
    rig: Rig, folder: Path, tmp_path: Path
) -> None:
    """The schedule of a host that has no use for the sources."""
    folder.rename(tmp_path / "mount")
    folder.mkdir()
    elsewhere = opened(
        folder,
        tmp_path / "ledger.sqlite",
        rig.index,
        rig.clock,  # type: ignore[arg-type]
        watches=False,
    )
    elsewhere.index.upsert(rig.edition.name, [stray()])
    before = elsewhere.states()
    elsewhere.work.audit()
    latest = elsewhere.ledger.audits.latest(rig.edition)
    assert latest is not None
    assert latest.found == latest.mended == {Drift.CHUNK_UNKNOWN: 1}
    assert elsewhere.states() == before
    assert "held" not in before.values()
    elsewhere.ledger.database.close()
