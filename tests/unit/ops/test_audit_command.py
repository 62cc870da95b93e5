"""``headwater audit``, on real folders with the hashing embedder, without a daemon and beside one."""

from __future__ import annotations

import json
import signal
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.ledger.audits import Audit
from ingestion.ledger.editions import NewEdition
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.tables import editions
from ingestion.ledger.values import Edition
from ingestion.sources.files import FilesSource
from ops.opening import DATA_FILE
from retrieval.embedding.hashing import HashingEmbedder
from retrieval.index.embedded import EmbeddedIndex
from retrieval.index.port import IndexedChunk
from tests.unit.ops.conftest import Run
from tests.unit.ops.test_cli_work import Up, settle
from workers.audit import Auditor
from workers.findings import Findings
from workers.outcomes import ignore
from workers.reconcile import Reconciler


@dataclass
class Stores:
    """What another process sees of the data file."""

    ledger: Ledger
    index: EmbeddedIndex
    edition: Edition

    def chunk_ids(self) -> list[str]:
        return sorted(chunk_id for chunk_id, _ in self.index.ids(self.edition.name))

    def live(self, uri: str) -> list[str]:
        view = self.ledger.views.named("handbook", uri)
        return [] if view is None else [row.chunk_id for row in self.ledger.views.chunks_of(view.document_id)]

    def stray(self) -> None:
        """A chunk that nobody knows."""
        vector = np.eye(self.edition.dimensions, dtype=np.float32)[0]
        unknown = IndexedChunk(str(uuid.uuid4()), "handbook", "d", "", "stray", vector)
        self.index.upsert(self.edition.name, [unknown])

    def lose(self, uri: str) -> None:
        """Chunks of a document that the index holds no longer."""
        self.index.delete(self.edition.name, self.live(uri))

    def overwrite(self, uri: str) -> None:
        """A vector of length one that is another text's."""
        (chunk_id,) = self.live(uri)
        text = self.index.texts(self.edition.name, [chunk_id])[chunk_id]
        vector = np.roll(self.index.vectors(self.edition.name, [chunk_id])[chunk_id], 1)
        (digest,) = [digest for key, digest in self.index.ids(self.edition.name) if key == chunk_id]
        wrong = IndexedChunk(chunk_id, "handbook", digest, "", text, vector)
        self.index.upsert(self.edition.name, [wrong])


@pytest.fixture(autouse=True)
def config(tmp_path: Path, handbook: Path) -> Path:
    path = tmp_path / "headwater.toml"
    path.write_text(f'[[sources]]\nroot = "{handbook}"\n')
    (handbook / "leave.md").write_text("# Leave\n\nYou have 27 days of paid leave a year.\n")
    (handbook / "pay.md").write_text("# Pay\n\nWages arrive on the 25th.\n")
    settle(handbook)
    return path


def opened(data: Path) -> Stores:
    ledger = Ledger(Database.file(data / DATA_FILE), SystemClock())
    edition = ledger.sources.live_edition()
    assert edition is not None
    return Stores(ledger, EmbeddedIndex(ledger.database), edition)


@pytest.fixture
def stores(run: Run, data: Path) -> Iterator[Stores]:
    run("sync")
    run("sync")  # no look is racy any more
    made = opened(data)
    yield made
    made.ledger.database.close()


def damage(stores: Stores, handbook: Path) -> None:
    stores.stray()
    stores.lose("leave.md")
    (handbook / "new.md").write_text("# New\n\nNobody told of it.\n")


def test_nothing_differs(run: Run, stores: Stores) -> None:
    assert run("audit").output == "No drift: 2 chunks compared.\n"
    assert "the texts and vectors of all of them too" in run("audit --deep").stdout
    assert run("audit --repair").output == "No drift: 2 chunks compared.\n"
    assert ", 2 chunks: no drift" in run("status").output


def test_drift_is_named_and_left_as_it_is(run: Run, stores: Stores, handbook: Path) -> None:
    damage(stores, handbook)
    before = stores.chunk_ids()
    output = run("audit", code=1).output
    assert output.startswith("1 document the ledger does not know\n  handbook/new.md\n")
    assert "1 chunk missing from the index\n  handbook/leave.md\n" in output
    assert "1 chunk in the index that nobody knows\n" in output
    assert output.splitlines()[-1] == (
        "2 chunks compared; nothing was changed. To have it mended: headwater audit --repair"
    )
    report = json.loads(run("audit --json", code=1).stdout)
    assert {kind: number for kind, number in report["drift"].items() if number} == {
        "document_unseen": 1,
        "chunk_missing": 1,
        "chunk_unknown": 1,
    }
    assert not any(report["mended"].values())
    assert (report["in_order"], report["chunks_left"]) == (False, 0)
    assert report["examples"]["document_unseen"] == ["handbook/new.md"]
    assert stores.chunk_ids() == before
    assert stores.ledger.views.named("handbook", "new.md") is None
    assert stores.ledger.audits.count_marked(stores.edition) == 0


def test_a_repair_says_what_it_did_and_is_done_once(run: Run, stores: Stores, handbook: Path) -> None:
    damage(stores, handbook)
    output = run("audit --repair").output
    assert "Deleted 1 chunk from the index.\n" in output
    assert "Made 1 document ready to be embedded again.\n" in output
    assert "handbook: 1 new or changed, 2 unchanged\n" in output
    assert output.endswith("Everything that differed is mended.\n")
    assert json.loads(run("search --json -k 1", "days of leave").stdout)["hits"][0]["uri"] == "leave.md"
    assert len(stores.live("new.md")) == 1
    settle(handbook)
    run("sync")
    assert run("audit --repair --deep").stdout.startswith("No drift: 3 chunks compared")


def test_a_wrong_vector_is_mended_by_a_deep_repair(run: Run, stores: Stores) -> None:
    (wrong,) = stores.live("leave.md")
    stores.overwrite("leave.md")
    assert run("audit").output.startswith("No drift")
    assert "1 chunk with a wrong vector in the index" in run("audit --deep", code=1).output
    report = json.loads(run("audit --deep --repair --json").stdout)
    assert report["mended"]["chunk_vector"] == report["documents_made_again"] == 1
    assert stores.live("leave.md") != [wrong]
    assert json.loads(run("audit --deep --json").stdout)["in_order"] is True


def test_an_edition_that_the_index_lost_is_made_again(run: Run, stores: Stores) -> None:
    stores.index.drop(stores.edition.name)
    output = run("audit", code=1).output
    assert "1 edition gone from the index" in output
    assert "2 chunks missing from the index" in output
    assert run("audit --repair").output.endswith("Everything that differed is mended.\n")
    assert len(stores.chunk_ids()) == 2


def test_a_source_that_cannot_be_looked_at_is_not_in_order(run: Run, stores: Stores, handbook: Path) -> None:
    handbook.rename(handbook.with_name("elsewhere"))
    assert "cannot be looked at" in run("audit", code=1).output
    assert "cannot be looked at" in run("audit --repair", code=1).output
    assert len(stores.live("leave.md")) == 1


def test_what_cannot_be_made_again_yet_is_said(run: Run, stores: Stores, handbook: Path) -> None:
    stores.lose("leave.md")
    document = stores.ledger.views.named("handbook", "leave.md")
    assert document is not None
    (handbook / "leave.md").unlink()
    stores.ledger.documents.hold([document.document_id], "by hand")
    output = run("audit --repair", code=1).output
    assert "1 chunk cannot be made again yet" in output
    assert json.loads(run("audit --repair --json", code=1).stdout)["chunks_left"] == 1


def test_without_data_or_with_another_model(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no knowledge base" in run("audit", code=1).stderr + run("audit", code=1).stdout
    run("sync")
    monkeypatch.setenv("HEADWATER_EMBEDDING__MODEL", "all-MiniLM-L6-v2")
    assert run("audit").output.startswith("No drift")
    assert "No drift" in run("audit --deep").output  # by the model that made the index


@pytest.mark.parametrize("option", ["", " --deep"])
def test_searches_that_go_over_to_another_edition_meanwhile(
    run: Run, stores: Stores, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    """What they read from then on is compared, too."""
    embedder, compared = HashingEmbedder(dimensions=64), list[str]()
    audit = Auditor.audit

    def switching(self: Auditor, edition: Edition, **options: Any) -> tuple[Audit, Findings]:
        found = audit(self, edition, **options)
        if not compared:
            model = {"model": "hashing-64"}
            new = NewEdition(embedder.fingerprint, 64, embedder.description, model, keep_s=3600.0)
            view = stores.ledger.editions.start(new)
            stores.index.create(view.edition.name, 64)
            with stores.ledger.database.write() as connection:  # nothing was built: a switch would wait
                for state, name in (("retired", edition.name), ("live", view.edition.name)):
                    change = sa.update(editions).where(editions.c.name == name)
                    connection.execute(change.values(state=state))
        compared.append(edition.name)
        return found

    monkeypatch.setattr(Auditor, "audit", switching)
    assert run("audit" + option).stdout.startswith("No drift: 0 chunks compared")
    live = stores.ledger.sources.live_edition()
    assert live is not None
    assert compared == [stores.edition.name, live.name]


def test_beside_a_daemon_which_does_the_work(run: Run, data: Path, tmp_path: Path, handbook: Path) -> None:
    daemon = Up(data, tmp_path / "up.log", tmp_path)
    try:
        daemon.until("ready: 2 documents, 2 chunks searchable.")
        stores = opened(data)
        lost = stores.live("leave.md")
        stores.stray()
        stores.lose("leave.md")
        assert "1 chunk missing from the index" in run("audit", code=1).output
        assert stores.live("leave.md") == lost
        assert run("audit --repair").output.endswith("Everything that differed is mended.\n")
        assert stores.live("leave.md") != lost
        (handbook / "pay.md").write_text("# Pay\n\nWages arrive on the 26th.\n")
        assert run("audit").output.startswith("No drift")  # the watcher tells of it in time
        stores.ledger.database.close()
    finally:
        assert daemon.end(signal.SIGTERM) == 0


def test_beside_roles_which_leave_no_note(
    run: Run, stores: Stores, handbook: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watcher on another machine is about to tell of an edit; and it keeps no other sources."""
    monkeypatch.setenv("HEADWATER_BROKER__URL", "redis://127.0.0.1:1/0")
    clock = SystemClock()
    watcher = Reconciler(
        stores.ledger, clock, listener=ignore, send=lambda ids: None, missed=lambda source, number: None
    )
    source = FilesSource("handbook", handbook, clock=clock)
    (handbook / "pay.md").write_text("# Pay\n\nWages arrive on the 26th.\n")
    telling = threading.Timer(0.5, lambda: watcher.list_source(source))
    telling.start()
    assert run("audit").output.startswith("No drift")
    telling.join()
    other = config.with_name("other")
    other.mkdir()
    config.write_text(f'[[sources]]\nroot = "{handbook}"\n[[sources]]\nroot = "{other}"\nname = "b"\n')
    assert "does not keep b" in run("audit", code=2).output
