"""Commands that read the ledger, on a real data file: status, explain, dead, approve, export."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ingestion.clock import SystemClock
from ingestion.errors import IndexUnavailable
from ingestion.ledger.audits import Audit
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.sources import SourceRow
from ingestion.own import canary_of
from ingestion.records import Drift, Lane, Seen
from ops.exporting import export
from ops.kinds.base import Means
from ops.settings import load
from ops.status import status_report
from retrieval.index.embedded import EmbeddedIndex
from retrieval.index.port import IndexedChunk
from tests.unit.ops.books import Books, SetClock
from tests.unit.ops.conftest import Run


def hold(filed: Books, *document_ids: int) -> None:
    filed.ledger.documents.hold(list(document_ids), "the place itself is gone")


def test_status_shows_what_each_source_owes(filed: Books, run: Run, handbook: Path) -> None:
    filed.listed("handbook", fault="secret could not be looked at: Permission denied")
    live, failed, held = filed.want("handbook", "live.md", "bad\n.md", "gone\x1b.md")
    for document_id in (live, held):
        filed.publish(document_id, texts=3)
    filed.fail(failed)
    hold(filed, held)
    filed.want("handbook", "waiting.md", lane=Lane.BULK)
    output = run("status").output
    assert "No daemon runs on this data" in output
    assert f"handbook  {handbook}" in output
    assert "1 live, 1 pending, 1 failed, 1 held" in output
    assert "secret could not be looked at: Permission denied" in output
    assert "1 document not there: the place itself is gone." in output
    assert "gone\\x1b.md" in output
    assert "headwater approve handbook" in output
    assert "bulk lane: 1 waiting, the oldest change" in output
    assert "fresh lane: 0 waiting" in output
    assert "1 dead letter: see headwater dead" in output
    assert "headwater.sqlite" in output
    assert "6 chunks" in output
    assert 'embedding.model = "hashing"  (HEADWATER_EMBEDDING__MODEL)' in output
    assert "\x1b" not in output


def test_status_tells_ages_by_the_clock_of_the_ledger(
    filed: Books, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a server that is its own: this machine's may be an hour behind."""
    filed.clock.at = SystemClock().now() + 3600
    filed.listed("handbook")
    monkeypatch.setattr(Ledger, "now", lambda _: filed.clock.at + 30)
    lines = run("status").stdout.splitlines()
    (listed,) = (line for line in lines if "last listing" in line)
    assert listed.endswith("(30 seconds ago)")


def test_status_json_is_the_report(filed: Books, run: Run, data: Path) -> None:
    filed.listed("handbook")
    filed.publish(filed.want("handbook", "live.md")[0])
    report = json.loads(run("status --json").stdout)
    assert report["fresh_as_of"].startswith("2023-11-14T22:13:20")
    assert report["daemon"] is None
    assert report["chunks"] == 1
    assert report["dead_letters"] == 0
    assert report["data"]["file"] == str(data / "headwater.sqlite")
    assert report["data"]["size_bytes"] > 0
    assert report["model"] == {
        "name": "hashing",
        "path": None,
        "url": None,
        "fault": None,
        "index_made_with": "hashing (4 dimensions)",
        "runtime": None,
        "precision": None,
        "why": None,
        "alternatives": [],
        "measured": None,
    }
    (source,) = report["sources"]
    assert source["documents"]["live"] == 1
    assert source["held"] is None
    assert report["settings"]["embedding.model"]["from"] == "HEADWATER_EMBEDDING__MODEL"


def test_status_tells_the_last_audit(filed: Books, run: Run, clock: SetClock) -> None:
    assert "audit:  none yet" in run("status").output
    assert json.loads(run("status --json").stdout)["audit"] is None
    found = {Drift.CHUNK_MISSING: 3, Drift.DOCUMENT_GONE: 1}
    audit = Audit(filed.edition.name, clock.at, clock.at + 2.5, 9, False, False, "", found, {}, ("gone\x1b",))
    filed.ledger.audits.record(audit)
    lines = run("status").output.splitlines()
    (line,) = [number for number, one in enumerate(lines) if one.startswith("audit:  ")]
    assert lines[line].endswith(
        ", 9 chunks: 1 document no longer at the source, 3 chunks missing from the index"
    )
    assert lines[line + 1 : line + 3] == [
        "        to have it mended: headwater audit --repair",
        "        gone\\x1b",
    ]
    shown = json.loads(run("status --json").stdout)["audit"]
    assert (shown["at"], shown["took_s"], shown["chunks"]) == ("2023-11-14T22:13:22.500000Z", 2.5, 9)
    assert shown["drift"] == dict.fromkeys(Drift, 0) | {"chunk_missing": 3, "document_gone": 1}
    filed.ledger.audits.record(replace(audit, repair=True, mended=found, faults=()))
    assert "        it was mended" in run("status").output.splitlines()
    filed.ledger.audits.record(replace(audit, found={}, faults=()))
    assert ", 9 chunks: no drift" in run("status").output


def test_status_tells_how_the_canary_fares(filed: Books, run: Run, clock: SetClock) -> None:
    def sing(took: dict[str, float], failed: str | None, again_s: float) -> None:
        number = filed.ledger.canaries.begin("files", every_s=0.0, lease_s=1.0)
        assert number is not None
        detail = "No watcher has seen it." if failed else ""
        filed.ledger.canaries.end("files", number, took=took, failed=failed, detail=detail, again_s=again_s)

    assert "canary" not in run("status").output
    clock.at = time.time()
    filed.ledger.sources.add([SourceRow(canary_of("files"), "files", "/canary")])
    sing({"write": 0.31, "edit": 0.2, "delete": 0.25}, None, 60.0)
    output = run("status").output
    assert re.search(r"^canary: files, .*: write 0\.31 s, edit 0\.20 s, delete 0\.25 s$", output, re.M)
    assert canary_of("files") not in output
    sing({}, "write", 60.0)
    assert "its write failed; it last succeeded" in (output := run("status").output)
    assert "No watcher has seen it." in output
    (told,) = json.loads(run("status --json").output)["canaries"]
    assert (told["kind"], told["failed"], told["took_s"], told["silent"]) == ("files", "write", {}, False)
    sing({}, None, -1.0)
    assert "silent since" in run("status").output


def test_a_model_that_is_missing_is_part_of_the_report(filed: Books, data: Path) -> None:
    settings = load(arguments={"daemon.data": data, "embedding.model": "nobody/nothing"}, environ={})
    report = status_report(settings, filed.ledger, SystemClock())
    assert "nowhere to be found" in report["model"]["fault"]
    assert report["model"]["path"] is None


def test_a_budget_of_looks_is_told(filed: Books, data: Path, tmp_path: Path, run: Run) -> None:
    config = tmp_path / "headwater.toml"
    config.write_text(
        '[[sources]]\nkind = "web"\nname = "notes"\nurls = ["https://h/"]\n'
        "adaptive = { looks_per_hour = 1200 }\n"
    )
    filed.configure(handbook="/srv/handbook", notes="https://h/")
    budgets = {
        one["name"]: one["looks_per_hour"]
        for one in json.loads(run(f"status --json --config {config}").output)["sources"]
    }
    assert budgets == {"handbook": None, "notes": 1200}
    output = run(f"status --config {config}").output
    assert "1,200 an hour, one every 3.00 s, where pages change most" in output


def test_sources_that_left_the_settings_are_marked(filed: Books, run: Run) -> None:
    filed.publish(filed.want("handbook", "live.md")[0])
    filed.configure(notes="/srv/notes")
    assert "not in service: kept, not served" in run("status").output


def test_explain_tells_every_attempt_with_its_stages(
    filed: Books, run: Run, clock: SetClock, handbook: Path
) -> None:
    (document_id,) = filed.want("handbook", "leave.md")
    clock.at += 0.5
    filed.publish(document_id, texts=2)
    filed.publish(filed.want("handbook", "short.md")[0], texts=1)
    clock.at += 60
    filed.want("handbook", "leave.md")
    filed.fail(document_id, "The parser found no text.")
    (handbook / "leave.md").write_text("x")
    by_uri = run("explain handbook/leave.md").output
    assert "failed: dead letter" in by_uri
    assert "live: generation 1, 2 chunks, published" in by_uri
    assert "wanted: generation 3" in by_uri
    assert "last error: The parser found no text." in by_uri
    assert "headwater dead replay" in by_uri
    assert "generation 1  published, fresh lane, 2 chunks (2 embedded, 0 reused)" in by_uri
    steps = [line.split("  ", 5)[-1] for line in by_uri.splitlines() if line.startswith(" " * 8)]
    assert steps[:7] == [
        "changed",
        "seen        0.0 ms later (detect)",
        "claimed     500 ms later (queue)",
        "staged      250 ms later (process)",
        "published   0.0 ms later (publish)",
        "total 750 ms after the change",
        "nothing of it was searchable before",
    ]
    assert "generation 3  dead" in by_uri
    assert steps[-2:] == ["The parser found no text.", "generation 1 is served on"]
    assert ", 1 chunk (1 embedded, 0 reused)" in run("explain handbook/short.md").output
    assert run("explain", handbook / "leave.md").output.splitlines()[0] == "handbook/leave.md"
    assert run("explain handbook/../handbook/leave.md").output.splitlines()[0] == "handbook/leave.md"


def test_explain_says_when_the_next_try_is(filed: Books, run: Run, clock: SetClock) -> None:
    clock.at = SystemClock().now()
    (document_id,) = filed.want("handbook", "leave.md")
    filed.ledger.claims.fail(filed.claim(document_id), "It was being written.", terminal=False)
    output = run("explain handbook/leave.md").output
    assert "1 failed attempt" in output
    assert "next try: in " in output
    assert "live: nothing" in output


def test_explain_follows_links_and_odd_names(filed: Books, run: Run, handbook: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"tab\t\xff.md")
    (handbook / name).write_text("x")
    (tmp_path / "link").symlink_to(handbook)
    filed.publish(filed.want("handbook", "tab\t%FF.md")[0])
    for path in (handbook / name, tmp_path / "link" / name, Path("handbook") / name):
        assert run("explain", path).output.splitlines()[0] == "handbook/tab\\t%FF.md"


def test_explain_of_something_unknown_looks_for_the_reason(filed: Books, run: Run, handbook: Path) -> None:
    sources = json.dumps([{"name": "handbook", "root": str(handbook), "exclude": ["*.log"]}])
    config = handbook.parent / "headwater.toml"
    config.write_text(
        f"sources = {sources.replace(': ', ' = ')}\n".replace('"name"', "name")
        .replace('"root"', "root")
        .replace('"exclude"', "exclude")
    )
    (handbook / "new.md").write_text("x")
    (handbook / "a.log").write_text("x")
    assert "was not seen yet" in run("explain handbook/new.md", code=1).stderr
    assert "excluded by the settings" in run("explain handbook/a.log", code=1).stderr
    assert "does not hold it: No such file" in run("explain handbook/no.md", code=1).stderr
    assert f"none of the sources: handbook ({handbook})" in run("explain /etc/passwd", code=1).stderr


def test_dead_letters_are_listed_replayed_and_given_up(filed: Books, run: Run, handbook: Path) -> None:
    good, bad, worse = filed.want("handbook", "good.md", "bad.md", "worse.md")
    filed.publish(good)
    filed.fail(bad, "no text could be made of it.\x07")
    filed.fail(worse)
    listed = run("dead").output
    assert "handbook/bad.md  failed" in listed
    assert "nothing of it is searchable" in listed
    assert "no text could be made of it.\\x07" in listed
    assert "2 dead letters" in listed
    assert run("dead list").output == listed

    assert "1 document will be tried again" in run("dead replay handbook/bad.md").output
    assert "1 dead letter." in run("dead").output
    assert filed.ledger.views.named("handbook", "bad.md").state == "pending"  # type: ignore[union-attr]

    assert "1 document given up" in run("dead drop", handbook / "worse.md").output
    assert "No dead letters." in run("dead").output


def test_a_dropped_dead_letter_keeps_what_is_live_and_waits_for_a_change(filed: Books, run: Run) -> None:
    edited, new = filed.want("handbook", "edited.md", "new.md")
    filed.publish(edited, texts=2)
    filed.clock.at += 10
    filed.want("handbook", "edited.md")
    filed.fail(edited)
    filed.fail(new, "It is no text.")
    run("dead drop --all")
    kept = filed.ledger.views.document(edited)
    assert kept is not None
    assert (kept.state, kept.pending_since, kept.generation) == ("live", None, 1)
    assert len(filed.ledger.views.chunks_of(edited)) == 2
    given_up = filed.ledger.views.document(new)
    assert given_up is not None
    assert (given_up.state, given_up.reason) == ("skipped", "given up: It is no text.")
    assert filed.ledger.views.lags()["handbook"].oldest_pending is None
    entries = filed.ledger.documents.entries("handbook")
    assert entries["edited.md"].fingerprint == f"look at {filed.clock.at}"  # so no scan reads it again
    filed.want("handbook", "new.md")
    filed.publish(new)
    assert filed.ledger.views.document(new).state == "live"  # type: ignore[union-attr]


@pytest.mark.parametrize("command", ["dead replay", "dead drop"])
def test_dead_letters_must_be_named(filed: Books, run: Run, command: str) -> None:
    filed.publish(filed.want("handbook", "good.md")[0])
    assert "--all" in run(command, code=2).stderr
    assert "is no dead letter" in run(f"{command} handbook/good.md", code=2).stderr
    assert "--all" in run(f"{command} handbook/good.md --all", code=2).stderr


def test_approve_retires_what_it_showed(filed: Books, run: Run) -> None:
    ids = filed.want("handbook", "a.md", "b.md", "c\n.md")
    for document_id in ids:
        filed.publish(document_id)
    hold(filed, ids[0], ids[2])
    refused = run("approve handbook", code=1, input="n\n")
    assert "  a.md\n  c\\n.md\n" in refused.output
    assert "2 documents of handbook held: the place itself is gone." in refused.output
    assert filed.ledger.views.lags()["handbook"].held == 2
    assert "2 documents retired." in run("approve handbook", input="y\n").output
    assert filed.ledger.views.lags()["handbook"].counts["retired"] == 2
    assert filed.ledger.views.lags()["handbook"].counts["live"] == 1
    assert run("approve handbook --yes").output == "Nothing is held in handbook.\n"
    assert "there are: handbook" in run("approve nothing", code=2).stderr


def test_what_came_back_or_was_held_later_is_not_approved(
    filed: Books, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    back, gone, late = filed.want("handbook", "back.md", "gone.md", "late.md")
    for document_id in (back, gone, late):
        filed.publish(document_id)
    hold(filed, back, gone)

    def meanwhile(*_: object, **__: object) -> bool:
        now = filed.clock.now()
        filed.ledger.documents.touch({back: Seen("back.md", "look", None, 10, now, now)})
        hold(filed, late)
        return True

    monkeypatch.setattr("click.confirm", meanwhile)
    output = run("approve handbook").output
    assert "1 document retired." in output
    assert "1 document came back meanwhile and stay" in output
    states = {view.uri: view.state for view in filed.ledger.views.documents()}
    assert states == {"back.md": "live", "late.md": "held"}


def index_of(filed: Books, *chunk_ids: str) -> EmbeddedIndex:
    index = EmbeddedIndex(filed.ledger.database)
    index.create(filed.edition.name, filed.edition.dimensions)
    import numpy as np

    vector = np.array([1, 0, 0, 0], dtype=np.float32)
    index.upsert(
        filed.edition.name,
        [
            IndexedChunk(one, "handbook", f"digest {one}", "Title", f"text of {one} é", vector)
            for one in chunk_ids
        ],
    )
    return index


def test_export_writes_every_live_chunk(filed: Books, run: Run, tmp_path: Path) -> None:
    ids = filed.publish(filed.want("handbook", "b.md")[0], texts=2)
    ids = filed.publish(filed.want("handbook", "a.md")[0], texts=1) + ids
    index_of(filed, *ids)
    lines = [json.loads(line) for line in run("export").stdout.splitlines()]
    assert [line["chunk_id"] for line in lines] == ids
    assert lines[1] == {
        "chunk_id": ids[1],
        "document_id": 1,
        "source": "handbook",
        "uri": "b.md",
        "ordinal": 0,
        "start": 0,
        "end": 5,
        "heading_path": ["Title"],
        "place": "",
        "text": f"text of {ids[1]} é",
    }
    out = tmp_path / "chunks.jsonl"
    out.write_text("before")
    assert "3 chunks written" in run("export", "--out", out).stderr
    assert [json.loads(line) for line in out.read_text("utf-8").splitlines()] == lines
    assert [path.name for path in tmp_path.iterdir() if "chunks" in path.name] == ["chunks.jsonl"]


def test_export_into_a_folder_that_is_not_there(filed: Books, run: Run, tmp_path: Path) -> None:
    index_of(filed, *filed.publish(filed.want("handbook", "a.md")[0]))
    assert "could not be written" in run("export", "--out", tmp_path / "no" / "x", code=1).stderr


def test_export_replaces_what_a_link_leads_to(filed: Books, run: Run, tmp_path: Path) -> None:
    index_of(filed, *filed.publish(filed.want("handbook", "a.md")[0]))
    (tmp_path / "chunks.jsonl").write_text("before")
    (tmp_path / "latest").symlink_to("chunks.jsonl")
    run("export", "--out", tmp_path / "latest")
    assert (tmp_path / "latest").is_symlink()
    assert json.loads((tmp_path / "chunks.jsonl").read_text("utf-8"))["uri"] == "a.md"


def test_export_writes_to_a_pipe_and_leaves_it_there(filed: Books, run: Run, tmp_path: Path) -> None:
    """A device, too: /dev/null must not become a file."""
    index_of(filed, *filed.publish(filed.want("handbook", "a.md")[0]))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        run("export", "--out", pipe)
        assert pipe.is_fifo()
        assert json.loads(os.read(reader, 100_000))["uri"] == "a.md"
    finally:
        os.close(reader)


def test_a_live_chunk_without_text_stops_the_export(filed: Books, run: Run, tmp_path: Path) -> None:
    ids = filed.publish(filed.want("handbook", "a.md")[0], texts=2)
    index_of(filed, ids[0])
    out = tmp_path / "chunks.jsonl"
    out.write_text("before")
    result = run("export", "--out", out, code=1)
    assert "no text for 1 live chunks, handbook/a.md among them" in result.stderr
    assert out.read_text() == "before"
    assert run("export", code=1).stdout == ""


def test_an_export_that_was_overtaken_by_a_sweep_is_made_anew(filed: Books, tmp_path: Path) -> None:
    """A chunk of the snapshot is replaced and swept before its text is asked for."""
    (document_id,) = filed.want("handbook", "a.md")
    old = filed.publish(document_id)
    index = index_of(filed, *old)

    class Overtaken:
        """The real index; before the first answer, the document is published anew and swept."""

        def __init__(self) -> None:
            self.asked = 0

        def texts(self, edition: str, chunk_ids: list[str]) -> object:
            self.asked += 1
            if self.asked == 1:
                filed.want("handbook", "a.md")
                index_of(filed, *filed.publish(document_id))
                index.delete(edition, old)
                filed.ledger.publications.forget(old)
            return index.texts(edition, chunk_ids)

    overtaken = Overtaken()
    with (tmp_path / "out").open("w+") as file:
        assert export(filed.ledger, overtaken, file) == 1  # type: ignore[arg-type]
        file.seek(0)
        (line,) = [json.loads(line) for line in file]
    assert line["chunk_id"] not in old
    assert overtaken.asked == 2
    index.delete(filed.edition.name, [line["chunk_id"]])
    with pytest.raises(IndexUnavailable), (tmp_path / "out").open("w+") as file:
        export(filed.ledger, index, file)


def explained(run: Run, name: str) -> dict[str, str]:
    """What ``explain`` says before the timeline, by the word before the colon."""
    lines = run("explain", name).output.splitlines()[1:]
    return {line.strip().split(": ", 1)[0]: line.split(": ", 1)[1] for line in lines if ": " in line}


def test_explain_says_until_when_the_old_revision_was_served(filed: Books, run: Run, clock: SetClock) -> None:
    (document_id,) = filed.want("handbook", "leave.md")
    filed.publish(document_id)
    clock.at += 60
    filed.want("handbook", "leave.md")
    clock.at += 1.25
    filed.publish(document_id)
    clock.at += 60
    filed.ledger.documents.retire({document_id: "No such file"})
    output = run("explain handbook/leave.md").output
    assert "        generation 1 was served until then, stale for 1,500 ms\n" in output
    assert output.endswith("        No such file\n        no longer served from then on\n")
    assert "  live: nothing\n" in output


def test_explain_says_who_has_what_is_pending(filed: Books, run: Run, clock: SetClock) -> None:
    clock.at = SystemClock().now()
    (document_id,) = filed.want("handbook", "leave.md")
    assert (
        "as soon as a worker of the fresh lane is free, a message was sent"
        in run("explain handbook/leave.md").output
    )
    filed.ledger.claims.forget_messages()
    assert (
        "no message is on its way, a daemon or headwater schedule sends one"
        in run("explain handbook/leave.md").output
    )
    filed.claim(document_id)
    assert explained(run, "handbook/leave.md")["next try"].startswith("under way: a worker has had it for")
    clock.at -= 3600
    other, *_ = filed.want("handbook", "other.md")
    filed.claim(other)
    assert "fell silent" in explained(run, "handbook/other.md")["next try"]


@pytest.fixture
def configured(handbook: Path, tmp_path: Path) -> Path:
    """The folder as a source that leaves something out."""
    (tmp_path / "headwater.toml").write_text(
        f'[[sources]]\nname = "handbook"\nroot = "{handbook}"\nexclude = ["drafts/"]\nmax_file_bytes = 100\n'
    )
    return handbook


def test_explain_compares_with_what_is_there_now(
    filed: Books, run: Run, configured: Path, tmp_path: Path
) -> None:
    names = ("same.md", "edited.md", "gone.md", "drafts/a.md", "large.md")
    for name in names:
        filed.publish(filed.want("handbook", name)[0])
    (configured / "same.md").write_text("x")
    means = Means(SystemClock(), filed.ledger, tmp_path)
    seen = load(Path("headwater.toml")).sources[0].source(means).look("same.md")
    assert isinstance(seen, Seen)
    filed.ledger.documents.touch({1: seen})
    (configured / "edited.md").write_text("x")
    (configured / "large.md").write_text("x" * 200)
    now = {name: explained(run, f"handbook/{name}")["at the source now"] for name in names}
    assert now == {
        "same.md": "it is there, as it was when it was last looked at",
        "edited.md": "it is there, and has changed since it was last looked at",
        "gone.md": "No such file or directory",
        "drafts/a.md": "excluded by the settings: its folder drafts is left out by exclude (drafts/)",
        "large.md": "it is there, and would be skipped: "
        "200 bytes, over the limit of 100 bytes (max_file_bytes)",
    }
    configured.rename(configured.with_name("away"))
    assert "cannot be looked at" in explained(run, "handbook/same.md")["at the source now"]


def test_explain_says_what_is_no_document_and_why(filed: Books, run: Run, configured: Path) -> None:
    (configured / "folder").mkdir()
    (configured / "folder" / "a.md").write_text("x")
    (configured / "linked").symlink_to("folder")
    (configured / "out.md").symlink_to("/etc/hostname")
    (configured / "dangling.md").symlink_to("nothing")
    os.mkfifo(configured / "pipe.md")
    (configured / ".git").mkdir()
    (configured / "big.md").write_text("x" * 101)

    def why(name: str) -> str:
        return " ".join(run("explain", configured / name, code=1).stderr.split())

    assert "it is a folder; name a file in it" in why("folder")
    assert "it lies in none" not in why("folder")
    assert "is a symbolic link, and no linked folder is entered" in why("linked/a.md")
    assert "a symbolic link to a folder" in why("linked")
    assert "a symbolic link out of the source" in why("out.md")
    assert "a symbolic link that leads nowhere" in why("dangling.md")
    assert "no regular file" in why("pipe.md")
    assert "its folder .git is left out by default (.*)" in why(".git/config")
    assert "would be skipped: 101 bytes, over the limit of 100 bytes" in why("big.md")
    assert "is the folder of the source handbook; name a file in it" in why("")
