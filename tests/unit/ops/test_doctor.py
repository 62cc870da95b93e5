"""What the doctor finds, and that it changes nothing."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import pytest

from ingestion.clock import SystemClock
from ingestion.ledger.kept import Keep
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.sources import SourceRow
from ingestion.own import canary_of
from ops import doctor_machine
from ops.doctor import examine, is_wrong
from ops.findings import Finding, Verdict
from ops.measured import Measuring
from ops.opening import size_bytes
from ops.settings import ParsingSettings, Settings, load
from ops.showing import size
from retrieval.embedding.hashing import HashingEmbedder
from tests.unit.ops.books import Books
from tests.unit.ops.conftest import Run


@pytest.fixture
def settings(data: Path, handbook: Path) -> Settings:
    arguments = {"daemon.data": data, "sources": [handbook], "embedding.model": "hashing"}
    return load(arguments=arguments, environ={})


def found(settings: Settings, about: str) -> list[Finding]:
    return [one for one in examine(settings, SystemClock()) if one.about.startswith(about)]


def verdict(settings: Settings, about: str) -> Verdict:
    (finding,) = found(settings, about)
    assert finding.verdict is Verdict.OK or finding.remedy
    return finding.verdict


def test_a_healthy_machine_without_data_has_nothing_wrong(settings: Settings) -> None:
    findings = list(examine(settings, SystemClock()))
    assert not is_wrong(findings)
    assert {"Python", "SQLite", "full-text search", "data folder", "free space", "clock", "model"} <= {
        one.about for one in findings
    }
    assert verdict(settings, "data file") is Verdict.NOTE
    assert verdict(settings, "daemon") is Verdict.NOTE


def test_the_command_says_verdict_and_remedy_and_ends_with_1(
    run: Run, filed: Books, handbook: Path, tmp_path: Path
) -> None:
    (tmp_path / "headwater.toml").write_text(f'[[sources]]\nroot = "{handbook}"\n')
    filed.fail(filed.want("handbook", "bad.md")[0])
    result = run("doctor", code=1)
    assert "ok    Python: " in result.output
    assert "wrong dead letters: 1 document.\n      -> See: headwater dead" in result.output
    run("dead drop --all")
    assert "dead letters: none" in run("doctor", code=1).output  # another model made the test's index


def test_old_sqlite_is_worth_a_note() -> None:
    assert doctor_machine._sqlite((3, 40, 1)).verdict is Verdict.NOTE
    assert doctor_machine._sqlite((3, 51, 3)).verdict is Verdict.OK


def test_a_data_folder_that_cannot_be_used(settings: Settings, tmp_path: Path) -> None:
    clock = SystemClock()
    file = tmp_path / "file"
    file.write_text("x")
    assert [one.verdict for one in doctor_machine.folder(file, clock)] == [Verdict.WRONG]
    below = list(doctor_machine.folder(tmp_path / "a" / "b", clock))
    assert "made at the first start" in below[0].what
    assert not (tmp_path / "a").exists()
    if os.geteuid():
        tmp_path.chmod(0o500)
        assert "cannot be written to" in next(doctor_machine.folder(tmp_path, clock)).what
        tmp_path.chmod(0o700)


def test_a_clock_that_differs_from_the_file_system_is_wrong(data: Path) -> None:
    class Fast(SystemClock):
        def now(self) -> float:
            return super().now() + 3600

    clock = next(one for one in doctor_machine.folder(data, Fast()) if one.about == "clock")
    assert clock.verdict is Verdict.WRONG
    assert "1 h 0 min" in clock.what or "59 min" in clock.what


def test_data_on_a_network_mount_is_wrong(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor_machine._mount(data).verdict is Verdict.OK
    monkeypatch.setattr(doctor_machine, "file_system", lambda path: "nfs4")
    assert doctor_machine._mount(data).verdict is Verdict.WRONG
    assert next(one.verdict for one in doctor_machine.watches([data])) is Verdict.NOTE


@pytest.mark.skipif(not Path("/proc/self/mountinfo").exists(), reason="only Linux says what is mounted")
def test_the_file_system_of_a_path_is_the_innermost_mount() -> None:
    assert doctor_machine.file_system(Path("/proc/self")) == "proc"
    assert doctor_machine.file_system(Path("/")) not in ("proc", None)


def test_more_folders_than_may_be_watched(
    handbook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        (handbook / str(number)).mkdir()
    allowance = tmp_path / "max_user_watches"
    monkeypatch.setattr(doctor_machine, "WATCHES", allowance)
    monkeypatch.setattr(doctor_machine, "watches_in_use", lambda: 3)
    allowance.write_text("6\n")
    (finding,) = doctor_machine.watches([handbook])
    assert finding.verdict is Verdict.WRONG
    assert "fs.inotify.max_user_watches=524288" in finding.remedy
    allowance.write_text("8\n")
    (finding,) = doctor_machine.watches([handbook])
    assert finding.verdict is Verdict.NOTE
    assert "other programs of this user have 3 of 8" in finding.what
    (finding,) = doctor_machine.watches([handbook], running=True)
    assert (finding.verdict, finding.what) == (Verdict.OK, "6 of 8")
    allowance.write_text("9\n")
    (finding,) = doctor_machine.watches([handbook])
    assert (finding.verdict, finding.what) == (Verdict.OK, "6 of 9")


def test_a_damaged_data_file(settings: Settings, filed: Books, data: Path) -> None:
    filed.want("handbook", *(f"{number}.md" for number in range(2000)))
    filed.ledger.database.close()
    with sqlite3.connect(data / "headwater.sqlite") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    assert verdict(settings, "data file") is Verdict.OK
    with (data / "headwater.sqlite").open("r+b") as file:
        file.seek(40 * 4096)
        file.write(b"\xff" * 4096 * 20)
    assert verdict(settings, "data file") is Verdict.WRONG
    (data / "headwater.sqlite").write_bytes(b"not one of ours" * 100)
    assert "cannot be read" in found(settings, "data file")[0].what


def test_a_data_file_that_may_not_be_read_is_not_to_be_moved_away(settings: Settings, data: Path) -> None:
    (data / "headwater.sqlite").mkdir()  # no user may read that, not even root
    (finding,) = found(settings, "data file")
    assert finding.verdict is Verdict.WRONG
    assert "allowed to read and write" in finding.remedy
    assert "move" not in finding.remedy


def test_the_size_of_the_data_counts_what_is_in_its_log(settings: Settings, filed: Books, data: Path) -> None:
    filed.want("handbook", *(f"{number}.md" for number in range(2000)))
    assert (data / "headwater.sqlite").stat().st_size < size_bytes(data / "headwater.sqlite")
    assert size(size_bytes(data / "headwater.sqlite")) in found(settings, "data file")[0].what


def test_a_ledger_that_takes_no_writes(
    settings: Settings, filed: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert verdict(settings, "writing") is Verdict.OK

    def on_a_full_disk(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA busy_timeout=0").close()
        connection.execute("PRAGMA max_page_count=1").close()  # as many as there are

    monkeypatch.setattr("ingestion.database._fail_if_busy", on_a_full_disk)
    (finding,) = found(settings, "writing")
    assert finding.verdict is Verdict.WRONG
    assert "is full; nothing was written" in finding.what
    assert verdict(settings, "dead letters") is Verdict.OK  # the rest is looked at as before


def test_data_of_a_newer_version(settings: Settings, filed: Books, data: Path) -> None:
    with filed.ledger.database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert verdict(settings, "schema") is Verdict.WRONG


def test_an_index_of_another_model_is_wrong(settings: Settings, filed: Books) -> None:
    assert "made with hashing (4 dimensions)" in found(settings, "index")[0].what
    assert verdict(settings, "index") is Verdict.WRONG


def test_an_index_of_another_model_that_is_there_goes_on_serving(settings: Settings, filed: Books) -> None:
    filed.switch_to(HashingEmbedder(dimensions=64), {"model": "hashing-64"})
    (finding,) = found(settings, "index")
    assert finding.verdict is Verdict.NOTE
    assert "goes on serving" in finding.what
    assert "headwater rebuild" in finding.remedy


def test_a_model_that_is_missing(settings: Settings) -> None:
    missing = settings.model_copy(
        update={"embedding": settings.embedding.model_copy(update={"model": "nobody/nothing"})}
    )
    assert verdict(missing, "model") is Verdict.WRONG
    default = settings.model_copy(
        update={"embedding": settings.embedding.model_copy(update={"model": "all-MiniLM-L6-v2"})}
    )
    for about in ("model", "runtime"):
        assert verdict(default, about) is Verdict.OK
    assert "openvino, " in found(default, "runtime")[0].what
    assert "sentence-transformers: installed" in found(default, "instead of openvino")[0].what


def test_the_rate_is_told_once_something_was_embedded(settings: Settings, data: Path) -> None:
    default = settings.model_copy(
        update={"embedding": settings.embedding.model_copy(update={"model": "all-MiniLM-L6-v2"})}
    )
    assert not found(default, "embedding")
    Measuring(data, HashingEmbedder(), SystemClock()).embedded(30, 0.5)
    assert found(default, "embedding")[0].what.startswith("60.0 texts/s with hashing")


def test_who_reads_scans_is_looked_for(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not list(found(settings, "scans"))
    wanted = settings.model_copy(update={"parsing": ParsingSettings(ocr="eng")})
    monkeypatch.setenv("PATH", "/nowhere")
    (finding,) = found(wanted, "scans")
    assert finding.verdict is Verdict.WRONG
    assert "there is no tesseract here" in finding.what


def test_sources_and_what_waits_for_somebody(settings: Settings, filed: Books, handbook: Path) -> None:
    filed.clock.at = SystemClock().now() - 30
    assert verdict(settings, "source handbook") is Verdict.NOTE  # not listed yet
    filed.listed("handbook")
    assert verdict(settings, "source handbook") is Verdict.OK
    filed.listed("handbook", fault="private could not be looked at: Permission denied")
    assert "Permission denied" in found(settings, "source handbook")[0].what
    filed.listed("handbook")
    (document_id,) = filed.want("handbook", "a.md")
    filed.publish(document_id)
    filed.ledger.documents.hold([document_id], "nothing is left of what was there")
    ok, held = found(settings, "source handbook")
    assert (ok.verdict, held.verdict) == (Verdict.OK, Verdict.WRONG)
    assert held.remedy.endswith("headwater approve handbook")
    handbook.rmdir()
    assert "cannot be listed" in found(settings, "source handbook")[0].what
    filed.clock.at = SystemClock().now() + 3600
    handbook.mkdir()
    filed.ledger.documents.approve("handbook", 10**9)
    filed.listed("handbook")
    assert "in the future" in found(settings, "source handbook")[0].what


def test_pages_that_several_sources_have(data: Path, filed: Books, tmp_path: Path) -> None:
    file = tmp_path / "headwater.toml"
    tables = [f'[[sources]]\nkind = "web"\nname = "{name}"\nurls = ["http://{name}/"]\n' for name in "vw"]
    file.write_text("".join(tables))
    settings = load(file, arguments={"daemon.data": data, "embedding.model": "hashing"}, environ={})
    kept = filed.ledger.kept
    kept.keep("v", [Keep("http://v/", b"one"), Keep("http://x/", b"one")])
    kept.keep("w", [Keep("http://w/", b"one")])
    assert found(settings, "web pages") == []
    kept.keep("w", [Keep("http://x/", b"one")])
    (finding,) = found(settings, "web pages")
    assert finding.verdict is Verdict.NOTE
    assert "one page is in several of v, w (http://x/)" in finding.what


def test_ages_go_by_the_clock_of_the_ledger(
    settings: Settings, filed: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a server that is its own: this machine's may be an hour behind."""
    filed.clock.at = SystemClock().now() + 3600
    filed.listed("handbook")
    monkeypatch.setattr(Ledger, "now", lambda _: filed.clock.at + 30)
    (one,) = found(settings, "source handbook")
    assert one.verdict is Verdict.OK
    assert "listed 30.0 s ago" in one.what


def test_a_canary_that_fails_is_wrong(settings: Settings, filed: Books) -> None:
    filed.ledger.sources.add([SourceRow(canary_of("files"), "files", "/canary")])
    canaries, filed.clock.at = filed.ledger.canaries, time.time()
    cases = ((None, 60.0, Verdict.OK), ("edit", 60.0, Verdict.WRONG), (None, -1.0, Verdict.NOTE))
    for failed, again_s, found in cases:
        number = canaries.begin("files", every_s=0.0, lease_s=1.0)
        assert number is not None
        canaries.end(
            "files", number, took={}, failed=failed, detail="No watcher has seen it.", again_s=again_s
        )
        assert verdict(settings, "canary (files)") is found
        assert not [one for one in examine(settings, SystemClock()) if canary_of("files") in one.about]


def test_looking_changes_nothing(settings: Settings, filed: Books, data: Path, handbook: Path) -> None:
    filed.publish(filed.want("handbook", "a.md")[0])
    filed.ledger.database.close()
    before = sorted(path.name for path in data.iterdir())
    body = (data / "headwater.sqlite").read_bytes()
    list(examine(settings, SystemClock()))
    assert (data / "headwater.sqlite").read_bytes() == body
    assert {path.name for path in data.iterdir()} - set(before) <= {
        "headwater.sqlite-wal",
        "headwater.sqlite-shm",
    }
    assert list(handbook.iterdir()) == []
