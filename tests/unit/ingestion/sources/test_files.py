from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ingestion.clock import SystemClock
from ingestion.errors import (
    DocumentChanging,
    DocumentGone,
    DocumentUnreadable,
    NotIndexable,
    SourceUnavailable,
)
from ingestion.records import Gone, Seen, Skipped
from ingestion.sources import beneath
from ingestion.sources.files import FilesSource
from ingestion.sources.survey import seen_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def source_of(root: Path, *, max_file_bytes: int = 2**20, exclude: tuple[str, ...] = ()) -> FilesSource:
    return FilesSource("notes", root, max_file_bytes=max_file_bytes, exclude=exclude, clock=SystemClock())


def listed(source: FilesSource, prefix: str = "") -> set[str]:
    return {sighting.uri for sighting in source.list_below(prefix).sightings}


def seen(source: FilesSource, uri: str) -> Seen:
    observation = source.look(uri)
    assert isinstance(observation, Seen), observation
    return observation


def gone(source: FilesSource, uri: str) -> str:
    observation = source.look(uri)
    assert isinstance(observation, Gone), observation
    with pytest.raises(DocumentGone):
        source.read(uri)
    return observation.evidence


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        (b"with space.md", "with space.md"),
        (b"line\nbreak.md", "line\nbreak.md"),
        ("ünïcödé ☕.md".encode(), "ünïcödé ☕.md"),
        (b"caf\xe9.md", "caf%E9.md"),
        (b"100%.md", "100%.md"),
        (b"%41.md", "%2541.md"),
    ],
)
def test_any_name_is_listed_looked_at_and_read(root: Path, name: bytes, uri: str) -> None:
    folder = root / os.fsdecode(b"dir-" + name)
    folder.mkdir()
    (folder / os.fsdecode(name)).write_bytes(b"text")
    source = source_of(root)
    assert listed(source) == {f"dir-{uri}/{uri}"}
    assert source.read(f"dir-{uri}/{uri}").body == b"text"


def test_what_the_patterns_leave_out_is_not_there(root: Path) -> None:
    for path in ("a.md", ".git/b.md", "drafts/c.md", "node_modules/d.md", "e.md~"):
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text("text")
    source = source_of(root, exclude=("drafts/",))
    assert listed(source) == {"a.md"}
    for uri, why in {
        ".git/b.md": "its folder .git is left out by default (.*)",
        "drafts/c.md": "its folder drafts is left out by exclude (drafts/)",
        "node_modules/d.md": "its folder node_modules is left out by default (node_modules)",
        "e.md~": "it is left out by default (*~)",
    }.items():
        assert gone(source, uri) == f"excluded by the settings: {why}"


def test_an_excluded_folder_is_not_entered(unprivileged: Path) -> None:
    (unprivileged / "drafts").mkdir(mode=0)
    listing = source_of(unprivileged, exclude=("drafts/",)).list()
    assert (list(listing.blind), list(listing.faults)) == ([], [])


def test_below_a_prefix_only_that_is_listed(root: Path) -> None:
    for path in ("a.md", "sub/b.md", "sub/deep/c.md", "subway/d.md", "drafts/e.md"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("text")
    source = source_of(root, exclude=("drafts/",))
    assert listed(source, "sub/") == {"sub/b.md", "sub/deep/c.md"}
    assert listed(source, "sub/deep/") == {"sub/deep/c.md"}
    for prefix in ("absent/", "drafts/", "a.md/", "../", ".git/"):
        assert listed(source, prefix) == set()


def test_links_to_files_inside_are_documents_and_no_others(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("outside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x.md").write_text("outside")
    (root / "sub").mkdir()
    (root / "sub" / "a.md").write_text("inside")
    (root / "link.md").symlink_to("sub/a.md")
    (root / "link to link.md").symlink_to("link.md")
    (root / "out.md").symlink_to("../secret.md")
    (root / "dangling.md").symlink_to("nowhere")
    (root / "loop.md").symlink_to("loop.md")
    (root / "out").symlink_to("../outside")
    (root / "in").symlink_to("sub")
    (root / "self").symlink_to(".")
    source = source_of(root)
    assert listed(source) == {"sub/a.md", "link.md", "link to link.md"}
    assert source.read("link.md").body == b"inside"
    assert source.read("link to link.md").seen.fingerprint == seen(source, "link to link.md").fingerprint
    assert set(source.links_to("sub/a.md")) == {"link.md", "link to link.md"}
    for uri in ("out.md", "dangling.md", "loop.md", "out", "out/x.md", "in", "in/a.md", "self/sub/a.md"):
        assert gone(source, uri)


def test_a_root_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (root / "a.md").write_text("text")
    (root / "b.md").symlink_to("a.md")
    (tmp_path / "alias").symlink_to(root)
    source = source_of(tmp_path / "alias")
    assert listed(source) == {"a.md", "b.md"}
    assert source.read("b.md").body == b"text"


@pytest.mark.parametrize("by_descriptor", [True, False])
def test_a_folder_exchanged_for_a_link_leads_nowhere(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_descriptor: bool
) -> None:
    monkeypatch.setattr(beneath, "BY_DESCRIPTOR", by_descriptor and beneath.BY_DESCRIPTOR)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x.md").write_text("outside")
    (root / "sub").mkdir()
    (root / "sub" / "x.md").write_text("inside")
    source = source_of(root)
    assert source.read("sub/x.md").body == b"inside"
    (root / "sub" / "x.md").unlink()
    (root / "sub").rmdir()
    (root / "sub").symlink_to(tmp_path / "outside")
    with pytest.raises(NotADirectoryError):
        beneath.status(str(root), "sub/x.md")
    with pytest.raises(NotADirectoryError), beneath.opened(str(root), "sub/x.md"):
        pass
    assert gone(source, "sub/x.md")


def test_only_regular_files_and_nothing_blocks(root: Path) -> None:
    os.mkfifo(root / "fifo.md")
    (root / "folder.md").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket.md"))
        source = source_of(root)
        assert listed(source) == set()
        for uri in ("fifo.md", "folder.md", "socket.md"):
            assert gone(source, uri) == "not a regular file inside the folder"
    with beneath.opened(str(root), "fifo.md") as file:  # must return without a writer
        assert file.descriptor >= 0


def test_gone_carries_the_evidence(root: Path) -> None:
    (root / "file").write_text("text")
    source = source_of(root)
    assert gone(source, "absent.md") == "No such file or directory"
    assert gone(source, "absent/absent.md") == "No such file or directory"
    assert gone(source, "file/below.md") == "Not a directory"


def test_same_size_and_same_mtime_is_another_fingerprint(root: Path) -> None:
    path = root / "a.md"
    path.write_text("one")
    os.utime(path, ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
    source = source_of(root)
    before = seen(source, "a.md")
    while path.stat().st_ctime_ns == int(before.fingerprint.split(":")[2]):
        path.write_text("two")
        os.utime(path, ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
    after = seen(source, "a.md")
    assert after.changed_at == before.changed_at == 1_600_000_000.123456789
    assert after.identity == before.identity
    assert after.fingerprint != before.fingerprint


def test_a_rename_keeps_identity_and_not_fingerprint(root: Path) -> None:
    (root / "Notes.md").write_text("one")
    source = source_of(root)
    before = seen(source, "Notes.md")
    (root / "Notes.md").rename(root / "notes.md")
    assert gone(source, "Notes.md")
    assert seen(source, "notes.md").identity == before.identity


def racy(root: Path, *, changed_ago_s: float, coarse: bool = False) -> bool:
    status = root.stat()
    changed_ns = status.st_ctime_ns // 1_000_000 * 1_000_000 + (0 if coarse else 123)
    known = list(status)
    fake = os.stat_result(
        known,
        {"st_mtime_ns": 10**9 + 1, "st_ctime_ns": changed_ns, "st_mtime": 1.0, "st_ctime": changed_ns / 1e9},
    )
    return seen_of("a.md", fake, changed_ns / 1e9 + changed_ago_s).racy


def test_a_change_within_the_granularity_is_racy(root: Path) -> None:
    assert racy(root, changed_ago_s=0.01)
    assert not racy(root, changed_ago_s=0.1)
    assert racy(root, changed_ago_s=1.5, coarse=True)
    assert not racy(root, changed_ago_s=2.5, coarse=True)
    assert not racy(root, changed_ago_s=-3600), "a clock that was set back makes nothing racy for ever"


def test_a_fresh_file_is_racy_and_an_old_one_is_not(root: Path) -> None:
    (root / "a.md").write_text("one")
    source = source_of(root)
    assert seen(source, "a.md").racy
    deadline = threading.Event()
    for _ in range(100):
        if not seen(source, "a.md").racy:
            break
        deadline.wait(0.01)
    assert not seen(source, "a.md").racy


def test_a_file_over_the_limit_is_never_read_whole(root: Path) -> None:
    with (root / "huge.md").open("wb") as file:
        file.truncate(100 * 2**20)
    source = source_of(root, max_file_bytes=16 * 2**20)
    (sighting,) = source.list().sightings
    assert isinstance(sighting, Skipped)
    assert "104,857,600 bytes (100.0 MiB)" in sighting.reason
    assert "16,777,216 bytes (16.0 MiB)" in sighting.reason
    with pytest.raises(NotIndexable, match=r"100\.0 MiB"):
        source.read("huge.md")


def changing(monkeypatch: pytest.MonkeyPatch, change: Callable[[int], object]) -> None:
    """Call ``change`` with the number of the read, after the bytes and before the second look."""
    count = 0
    original = os.read

    def read(descriptor: int, length: int) -> bytes:
        nonlocal count
        piece = original(descriptor, length)
        if piece:
            count += 1
            change(count)
        return piece

    monkeypatch.setattr("ingestion.sources.files.os.read", read)


def test_a_file_that_keeps_changing_is_refused_for_now(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root / "log.md"
    path.write_text("line\n")
    changing(monkeypatch, lambda count: path.write_text("line\n" * (count + 1)))
    with pytest.raises(DocumentChanging) as refused:
        source_of(root).read("log.md")
    assert refused.value.uri == "log.md"


def test_a_file_that_changes_once_is_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root / "a.md"
    path.write_text("old")
    changing(monkeypatch, lambda count: count > 1 or path.write_text("newer"))
    assert source_of(root).read("a.md").body == b"newer"


def test_a_file_replaced_while_it_is_read_is_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root / "a.md"
    path.write_text("old")

    def replace(count: int) -> None:
        if count == 1:
            (root / "new").write_text("new")
            (root / "new").replace(path)

    changing(monkeypatch, replace)
    assert source_of(root).read("a.md").body == b"new"


def test_a_file_that_vanishes_while_it_is_read_is_gone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "a.md").write_text("old")
    changing(monkeypatch, lambda _: (root / "a.md").unlink())
    with pytest.raises(DocumentGone):
        source_of(root).read("a.md")


def test_a_file_that_outgrows_the_limit_while_it_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root / "a.md"
    path.write_text("x" * 900)
    changing(monkeypatch, lambda _: path.write_text("x" * 2000))
    with pytest.raises(NotIndexable, match="2,000 bytes"):
        source_of(root, max_file_bytes=1000).read("a.md")


def test_no_descriptor_is_left_open(root: Path) -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("the platform does not list descriptors")
    (root / "sub").mkdir()
    (root / "sub" / "a.md").write_text("text")
    source = source_of(root)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        source.list()
        source.look("sub/a.md")
        source.read("sub/a.md")
        source.look("sub/absent.md")
        source.look("absent/absent.md")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_without_permission_is_blind(unprivileged: Path) -> None:
    for name in ("open", "closed", "unsearchable"):
        (unprivileged / name).mkdir()
        (unprivileged / name / "a.md").write_text("text")
    (unprivileged / "closed").chmod(0)
    (unprivileged / "unsearchable").chmod(0o400)
    source = source_of(unprivileged)
    listing = source.list()
    assert {sighting.uri for sighting in listing.sightings} == {"open/a.md"}
    assert set(listing.blind) == {"closed/", "unsearchable/"}
    assert len(listing.faults) == 2
    assert all("Permission denied" in fault for fault in listing.faults)
    assert list(source.list_below("closed/").blind) == ["closed/"]
    for uri in ("closed/a.md", "unsearchable/a.md"):
        for attempt in (source.look, source.read):
            with pytest.raises(DocumentUnreadable) as refused:
                attempt(uri)
            assert (refused.value.source, refused.value.uri) == ("notes", uri)
            assert refused.value.hint


def test_a_link_that_cannot_be_followed_is_blind_alone(unprivileged: Path) -> None:
    (unprivileged / "closed").mkdir()
    (unprivileged / "closed" / "a.md").write_text("text")
    (unprivileged / "link.md").symlink_to("closed/a.md")
    (unprivileged / "other.md").write_text("text")
    (unprivileged / "closed").chmod(0)
    listing = source_of(unprivileged).list()
    assert {sighting.uri for sighting in listing.sightings} == {"other.md"}
    assert set(listing.blind) == {"closed/", "link.md"}


def test_an_unreadable_file_is_seen_and_refused(unprivileged: Path) -> None:
    (unprivileged / "a.md").write_text("text")
    (unprivileged / "a.md").chmod(0)
    source = source_of(unprivileged)
    assert listed(source) == {"a.md"}
    seen(source, "a.md")
    with pytest.raises(DocumentUnreadable, match="Permission denied"):
        source.read("a.md")


def test_an_unreadable_root_is_unavailable(unprivileged: Path) -> None:
    (unprivileged / "a.md").write_text("text")
    unprivileged.chmod(0)
    source = source_of(unprivileged)
    assert not source.root().present
    with pytest.raises(SourceUnavailable, match="Permission denied"):
        source.list()
    unprivileged.chmod(0o700)
    assert listed(source) == {"a.md"}


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_text("a file")])
def test_a_root_that_is_missing_or_no_folder(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "root")
    source = source_of(tmp_path / "root")
    assert not source.root().present
    for attempt in (source.list, lambda: source.look("a.md"), lambda: source.read("a.md")):
        with pytest.raises(SourceUnavailable) as refused:
            attempt()
        assert "mount" in refused.value.hint.lower()


def test_a_root_replaced_during_a_look_is_no_evidence(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = beneath.status

    def exchange(root_: str, path: str) -> os.stat_result:
        root.rename(tmp_path / "old")
        root.mkdir()
        return original(root_, path)

    source = source_of(root)
    (root / "a.md").write_text("text")
    monkeypatch.setattr(beneath, "status", exchange)
    with pytest.raises(SourceUnavailable, match="replaced"):
        source.look("a.md")


def test_a_root_replaced_during_a_listing_is_no_listing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(root)
    (root / "a.md").write_text("text")
    original = os.scandir

    def exchange(path: str) -> object:
        entries = original(path)
        root.rename(tmp_path / "old")
        root.mkdir()
        return entries

    monkeypatch.setattr("ingestion.sources.survey.os.scandir", exchange)
    with pytest.raises(SourceUnavailable, match="replaced"):
        source.list()


def test_folders_that_vanish_during_the_walk_are_absent(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "sub").mkdir()
    (root / "a.md").write_text("text")
    original = os.scandir
    calls: list[str] = []

    def vanish(path: str) -> object:
        calls.append(path)
        if len(calls) == 2:
            (root / "sub").rmdir()
        return original(path)

    monkeypatch.setattr("ingestion.sources.survey.os.scandir", vanish)
    listing = source_of(root).list()
    assert len(calls) == 2
    assert [sighting.uri for sighting in listing.sightings] == ["a.md"]
    assert not listing.blind


def test_the_number_of_a_device_is_no_part_of_a_look(tmp_path: Path) -> None:
    """Each machine has its own for one share: whoever looks must find the same."""
    (tmp_path / "a.md").write_bytes(b"words")
    here = (tmp_path / "a.md").stat()
    fields = {name: getattr(here, name) for name in dir(here) if name.startswith("st_")}
    elsewhere = SimpleNamespace(**{**fields, "st_dev": here.st_dev + 1})
    other_file = SimpleNamespace(**{**fields, "st_ino": here.st_ino + 1})
    look, same, other = (
        seen_of("a.md", cast("os.stat_result", status), 5.0) for status in (here, elsewhere, other_file)
    )
    assert same == look
    assert other.fingerprint != look.fingerprint and other.identity != look.identity
