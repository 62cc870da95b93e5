"""What the doctor finds about inotify, permissions, clocks and disks, each on the real thing or its copy."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.ledger.ledger import Ledger
from ops import doctor, doctor_inotify, doctor_machine, doctor_permissions, doctor_stores, tracing
from ops.doctor import examine
from ops.findings import Finding, Verdict
from ops.settings import Settings, load, sources_from_folders
from tests.unit.ingestion.sources.conftest import unprivileged  # noqa: F401
from workers.redis_broker import Condition


@pytest.fixture
def limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose files are the kernel's limits; nobody uses anything of them."""
    proc = tmp_path / "proc"
    proc.mkdir()
    monkeypatch.setattr(doctor_inotify, "PROC", proc)
    for name, attribute in (("max_user_instances", "INSTANCES"), ("max_queued_events", "QUEUED")):
        monkeypatch.setattr(doctor_inotify, attribute, tmp_path / name)
    yield tmp_path


def using(limits: Path, process: int, *watches: int) -> None:
    """A process with an inotify instance for each number, which is that of its watches."""
    folder = limits / "proc" / str(process)
    for name in ("fd", "fdinfo"):
        (folder / name).mkdir(parents=True)
    (folder / "fd" / "1").symlink_to("/dev/null")
    for descriptor, number in enumerate(watches, 5):
        (folder / "fd" / str(descriptor)).symlink_to("anon_inode:inotify")
        lines = ["pos:\t0", *(f"inotify wd:{wd} ino:1" for wd in range(number))]
        (folder / "fdinfo" / str(descriptor)).write_text("\n".join(lines))


def test_more_sources_than_inotify_instances(limits: Path) -> None:
    (limits / "max_user_instances").write_text("5\n")
    using(limits, 10, 4, 0)
    using(limits, 11, 2)
    (limits / "proc" / "self-like").mkdir()
    assert doctor_inotify.watches_in_use() == 6
    (fits,) = doctor_inotify.limits(2)
    assert (fits.verdict, fits.what) == (Verdict.OK, "3 of 5 in use")
    (finding,) = doctor_inotify.limits(3)
    assert finding.verdict is Verdict.NOTE
    assert "each of 3 sources needs one" in finding.what
    using(limits, 12, 1, 1)
    (finding,) = doctor_inotify.limits(3)
    assert finding.verdict is Verdict.WRONG
    assert "fs.inotify.max_user_instances=1024" in finding.remedy


def test_a_short_queue_of_events_is_worth_a_note(limits: Path) -> None:
    (limits / "max_queued_events").write_text("512\n")
    (finding,) = doctor_inotify.limits(1)
    assert finding.verdict is Verdict.NOTE
    assert "512 events" in finding.what
    (limits / "max_queued_events").write_text("16384\n")
    assert not list(doctor_inotify.limits(1))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has inotify")
def test_a_watch_that_is_really_set_is_counted(tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / str(number)).mkdir()
    observer = Observer()
    observer.schedule(FileSystemEventHandler(), str(tmp_path), recursive=True)
    observer.start()
    try:
        own = doctor_inotify.PROC / str(os.getpid())
        held = [one for one in doctor_inotify._in_use() if own in one.parents]
        assert sum(doctor_inotify._watches(one) for one in held) >= 8
    finally:
        observer.stop()
        observer.join()


def permissions(root: Path) -> Finding:
    (source,) = sources_from_folders([root])
    (finding,) = doctor_permissions.documents(source)
    return finding


def test_what_may_not_be_read_is_named(unprivileged: Path) -> None:  # noqa: F811
    for name in ("a.md", "b.md", "drafts/c.md", ".git/d"):
        (unprivileged / name).parent.mkdir(exist_ok=True)
        (unprivileged / name).write_text("x")
    assert permissions(unprivileged).what == "3 files may be read"
    (unprivileged / "a.md").chmod(0)
    (unprivileged / ".git").chmod(0)  # nobody wants to read that
    finding = permissions(unprivileged)
    assert finding.verdict is Verdict.NOTE
    assert finding.what == "1 place may not be read: a.md"
    (unprivileged / "drafts").chmod(0)
    finding = permissions(unprivileged)
    assert finding.what.startswith("2 places may not be read: ")
    assert "drafts/" in finding.what
    assert "read permission" in finding.remedy


def test_large_sources_are_not_looked_through(handbook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_permissions, "MOST_LOOKED_AT", 3)
    for number in range(3):
        (handbook / str(number)).mkdir()
        (handbook / str(number) / "a.md").write_text("x")
        (handbook / str(number) / "b.md").write_text("x")
    assert permissions(handbook).what.startswith("4 files may be read (the first of them; ")


def test_secrets_that_everybody_may_read(tmp_path: Path) -> None:
    password, config = tmp_path / "password", tmp_path / "headwater.toml"
    password.write_text("x")
    password.chmod(0o600)
    config.write_text(
        f'[broker]\nurl = "redis://h/0"\npassword_file = "{password}"\n[embedding]\nmodel = "hashing"\n'
    )
    config.chmod(0o644)
    assert not list(doctor_permissions.secrets(load(config, environ={})))
    password.chmod(0o644)
    (finding,) = doctor_permissions.secrets(load(config, environ={}))
    assert finding.verdict is Verdict.NOTE
    assert f"{password} (broker.password_file)" in finding.what
    config.write_text('[broker]\nurl = "redis://:hunter2@h/0"\n')
    (finding,) = doctor_permissions.secrets(load(config, environ={}))
    assert f"{config} (the settings)" in finding.what
    assert "hunter2" not in finding.what + finding.remedy
    config.chmod(0o640)
    assert not list(doctor_permissions.secrets(load(config, environ={})))
    elsewhere = {"HEADWATER_BROKER__URL": "redis://:hunter2@h/0"}
    config.write_text("")
    config.chmod(0o644)
    assert not list(doctor_permissions.secrets(load(config, environ=elsewhere)))


@pytest.mark.parametrize(("free", "total", "wrong"), [(10, 5000, True), (2000, 5000, False), (0, 0, False)])
def test_a_file_system_without_room_for_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, total: int, wrong: bool
) -> None:
    real = os.statvfs(tmp_path)
    values = list(real)
    values[5], values[7] = total, free

    monkeypatch.setattr(os, "statvfs", lambda place: os.statvfs_result(values))
    monkeypatch.setattr(doctor_machine, "LITTLE_SPACE_BYTES", 0)
    finding = doctor_machine._space(tmp_path)
    assert (finding.verdict is Verdict.WRONG) is wrong
    assert ("df -i" in finding.remedy) is wrong


def test_a_clock_that_differs_from_the_ledgers_is_wrong() -> None:
    class Late(SystemClock):
        def now(self) -> float:
            return super().now() - 30

    database = Database.in_memory()
    try:
        ledger = Ledger(database, SystemClock())  # stands for a server, whose time is another clock's
        assert doctor_stores.clock_of(ledger, SystemClock()).verdict is Verdict.OK
        finding = doctor_stores.clock_of(ledger, Late())
        assert finding.verdict is Verdict.WRONG
        assert "by 30.0 s" in finding.what or "by 29." in finding.what
    finally:
        database.close()


@pytest.mark.parametrize(
    ("condition", "verdicts", "word"),
    [
        (Condition("7.0.15", 2**20, None, "noeviction"), [Verdict.OK], "without a limit"),
        (Condition("7.0.15", 2**20, 2**30, "noeviction"), [Verdict.OK], "of 1.0 GiB"),
        (Condition("7.0.15", 95, 100, "noeviction"), [Verdict.WRONG], "no message is taken"),
        (Condition("7.0.15", 1, 100, "allkeys-lru"), [Verdict.OK, Verdict.WRONG], "maxmemory-policy"),
    ],
)
def test_the_memory_of_a_broker(condition: Condition, verdicts: list[Verdict], word: str) -> None:
    findings = list(doctor_stores._memory(condition))
    assert [one.verdict for one in findings] == verdicts
    assert word in findings[-1].what
    assert all(one.remedy for one in findings if one.verdict is not Verdict.OK)


def test_old_edits_that_wait_are_worth_a_note(data: Path, handbook: Path) -> None:
    from tests.unit.ops.books import Books, SetClock

    clock = SetClock(SystemClock().now() - 20)
    database = Database.file(data / "headwater.sqlite")
    books = Books(database, clock)
    books.configure(handbook=handbook)
    books.want("handbook", "a.md")
    settings: Settings = load(
        arguments={"daemon.data": data, "sources": [handbook], "embedding.model": "hashing"}, environ={}
    )

    def lane() -> Finding:
        return next(one for one in examine(settings, SystemClock()) if one.about == "fresh lane")

    assert (lane().verdict, lane().what.split(",")[0]) == (Verdict.OK, "1 document waiting")
    clock.at -= 3600
    books.want("handbook", "b.md")
    assert lane().verdict is Verdict.NOTE
    assert "headwater explain" in lane().remedy
    database.close()


def test_traces_are_told_of_where_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://me:hunter2@collector:4318"}
    assert not list(doctor._traces({}))
    (sent,) = doctor._traces(asked)
    assert (sent.verdict, sent.what) == (Verdict.OK, "sent to https://***@collector:4318")
    monkeypatch.setattr(tracing, "NEEDED", ("no.such.package",))
    (finding,) = doctor._traces(asked)
    assert finding.verdict is Verdict.NOTE
    assert finding.what.endswith("is not installed.")
    assert finding.remedy.startswith("Install headwater[tracing]")
