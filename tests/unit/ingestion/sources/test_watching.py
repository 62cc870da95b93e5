"""Real folders, real events: every kind of change must end in a hint that covers it."""

from __future__ import annotations

import ctypes
import errno
import os
import random
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingestion.clock import SystemClock
from ingestion.records import Seen, Skipped
from ingestion.sources.files import FilesSource
from ingestion.sources.paths import uri_of
from ingestion.sources.settling import Dirty, Touch
from ingestion.sources.watching import FileWatch

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="events of inotify"),
    # watchdog's own observer warns in its thread when a new tree grows while it is being watched.
    pytest.mark.filterwarnings("ignore:Callback with id:RuntimeWarning"),
]

DEADLINE_S = 5.0
AT_FDCWD, RENAME_EXCHANGE = -100, 2


class Notes:
    """Collects hints. ``gate`` shut, the reading thread is held within its next hint."""

    def __init__(self) -> None:
        self.hints: list[Dirty] = []
        self.at: list[float] = []
        self.gate = threading.Event()
        self.gate.set()
        self._pause = threading.Event()

    def __call__(self, dirty: Dirty) -> None:
        self.at.append(time.monotonic())
        self.hints.append(dirty)
        assert self.gate.wait(60)

    def clear(self) -> None:
        self.hints = []
        self.at = []

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f"no hint: {what}; had {self.hints[-50:]}"
            self._pause.wait(0.002)

    def last(self, place: str) -> Touch | None:
        """What the last hint that names the place says; a move settles both its ends."""
        for hint in reversed(list(self.hints)):
            if place in hint.touched:
                return hint.touched[place]
            if place in hint.moved or place in hint.moved.values():
                return Touch.SETTLED
        return None

    def moves(self) -> dict[str, str]:
        return {old: new for hint in list(self.hints) for old, new in hint.moved.items()}

    def places(self) -> set[str]:
        return {p for hint in list(self.hints) for p in (*hint.touched, *hint.moved, *hint.moved.values())}

    def until_last(self, place: str, touch: Touch) -> None:
        self.until(lambda: self.last(place) is touch, f"{place} {touch}")

    def until_covered(self, place: str) -> None:
        self.until(
            lambda: any(
                p == place or ((p.endswith("/") or not p) and place.startswith(p)) for p in self.places()
            ),
            f"anything that covers {place}",
        )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "a.md").write_text("one")
    (folder / "sub" / "b.md").write_text("one")
    (folder / "sub" / "deep" / "c.md").write_text("one")
    return folder


def source_of(root: Path) -> FilesSource:
    return FilesSource("notes", root, exclude=("drafts/",), clock=SystemClock())


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def watch(root: Path, notes: Notes) -> Iterator[FileWatch]:
    watch = FileWatch(source_of(root), notes)
    assert watch.start()
    yield watch
    notes.gate.set()
    watch.stop()


@pytest.fixture(params=["inotify", "observer"])
def any_watch(request: pytest.FixtureRequest, root: Path, notes: Notes) -> Iterator[FileWatch]:
    watch = FileWatch(source_of(root), notes, by_inotify=request.param == "inotify")
    assert watch.start()
    yield watch
    watch.stop()


def fence(root: Path, notes: Notes) -> None:
    """Return when everything done before has been told."""
    notes.clear()
    (root / "fence").write_text("x")
    notes.until_last("fence", Touch.SETTLED)
    (root / "fence").unlink()
    notes.until_last("fence", Touch.GONE)
    notes.clear()


def exchange(one: Path, other: Path) -> None:
    """Give each the other's name, at once."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE):
        pytest.skip(f"no exchange here: {os.strerror(ctypes.get_errno())}")


def test_created_edited_appended_truncated(root: Path, notes: Notes, any_watch: FileWatch) -> None:
    (root / "new.md").write_text("text")
    notes.until_last("new.md", Touch.SETTLED)
    for change in (lambda: (root / "a.md").write_text("two"), lambda: os.truncate(root / "sub/b.md", 1)):
        notes.clear()
        change()
        notes.until(lambda: bool(notes.hints), "the change")
    with (root / "sub/deep/c.md").open("a") as file:
        file.write("more")
    notes.until_last("sub/deep/c.md", Touch.SETTLED)


def test_deleted(root: Path, notes: Notes, any_watch: FileWatch) -> None:
    (root / "a.md").unlink()
    notes.until_last("a.md", Touch.GONE)
    shutil.rmtree(root / "sub")
    notes.until_covered("sub/b.md")
    notes.until_covered("sub/deep/c.md")


def test_saved_by_renaming_a_temporary_file(root: Path, notes: Notes, any_watch: FileWatch) -> None:
    (root / ".a.md.tmp").write_text("two")
    (root / ".a.md.tmp").replace(root / "a.md")
    notes.until_last("a.md", Touch.SETTLED)
    assert notes.places() == {"a.md"}


def test_renamed_file_and_folder(root: Path, notes: Notes, any_watch: FileWatch) -> None:
    (root / "a.md").rename(root / "sub" / "A.md")
    (root / "sub" / "deep").rename(root / "deeper")
    notes.until(lambda: notes.moves() == {"a.md": "sub/A.md", "sub/deep/": "deeper/"}, "both moves")
    notes.clear()
    (root / "deeper" / "c.md").write_text("two")
    notes.until_last("deeper/c.md", Touch.SETTLED)
    assert notes.places() == {"deeper/c.md"}


def test_moved_in_and_out(root: Path, tmp_path: Path, notes: Notes, any_watch: FileWatch) -> None:
    (tmp_path / "outside" / "in").mkdir(parents=True)
    (tmp_path / "outside" / "in" / "x.md").write_text("text")
    (root / "sub" / "deep").rename(tmp_path / "out")
    (tmp_path / "outside").rename(root / "inside")
    notes.until_covered("sub/deep/c.md")
    notes.until_covered("inside/in/x.md")
    (root / "inside" / "in" / "y.md").write_text("text")
    notes.until_covered("inside/in/y.md")


def test_new_trees_with_content(root: Path, tmp_path: Path, notes: Notes, any_watch: FileWatch) -> None:
    uris = [f"tree/{i}/{j}/x.md" for i in range(5) for j in range(5)]
    for uri in uris:
        (root / uri).parent.mkdir(parents=True, exist_ok=True)
        (root / uri).write_text("text")
    shutil.copytree(root / "tree", root / "copy")
    for uri in uris:
        notes.until_covered(uri)
        notes.until_covered(uri.replace("tree", "copy"))


def test_what_is_left_out_gives_no_hint(root: Path, notes: Notes, any_watch: FileWatch) -> None:
    for folder in (".git/objects", "node_modules/x", "drafts"):
        (root / folder).mkdir(parents=True)
        (root / folder / "x.md").write_text("text")
        (root / folder / "x.md").unlink()
    for name in (".hidden.md", "a.md~", "x.swp", "4913"):
        (root / name).write_text("text")
    (root / "last.md").write_text("text")
    notes.until_last("last.md", Touch.SETTLED)
    assert notes.places() == {"last.md"}


def test_a_lost_root_is_told_and_watched_again(
    root: Path, tmp_path: Path, notes: Notes, any_watch: FileWatch
) -> None:
    assert any_watch.alive()
    shutil.rmtree(root)
    notes.until(lambda: "" in notes.places() and not any_watch.alive(), "the loss")
    assert not any_watch.restart()
    assert any_watch.blind_reason
    root.mkdir()
    assert not any_watch.alive()
    assert any_watch.restart()
    notes.clear()
    (root / "a.md").write_text("text")
    notes.until_last("a.md", Touch.SETTLED)


def test_a_root_that_comes_later(tmp_path: Path, notes: Notes) -> None:
    watch = FileWatch(source_of(tmp_path / "root"), notes)
    assert not watch.start()
    assert not watch.alive()
    (tmp_path / "root").mkdir()
    assert watch.start()
    (tmp_path / "root" / "a.md").write_text("text")
    notes.until_last("a.md", Touch.SETTLED)
    watch.stop()
    watch.stop()
    assert not watch.alive()


@pytest.mark.parametrize("replace", [True, False])
def test_a_root_moved_away_is_lost(
    root: Path, tmp_path: Path, notes: Notes, watch: FileWatch, replace: bool
) -> None:
    root.rename(tmp_path / "elsewhere")
    if replace:
        root.mkdir()
    notes.until(lambda: "" in notes.places(), "the loss")
    assert not watch.alive()


def test_a_folder_above_the_root_renamed_is_noticed(tmp_path: Path, notes: Notes) -> None:
    (tmp_path / "above" / "root").mkdir(parents=True)
    watch = FileWatch(source_of(tmp_path / "above" / "root"), notes)
    assert watch.start()
    (tmp_path / "above").rename(tmp_path / "elsewhere")
    assert not watch.alive()
    watch.stop()


def test_a_root_that_is_a_link(root: Path, tmp_path: Path, notes: Notes) -> None:
    (tmp_path / "alias").symlink_to(root)
    watch = FileWatch(source_of(tmp_path / "alias"), notes)
    assert watch.start()
    (root / "sub" / "b.md").write_text("two")
    notes.until_last("sub/b.md", Touch.SETTLED)
    (tmp_path / "alias").unlink()
    (tmp_path / "alias").symlink_to(tmp_path)
    assert not watch.alive()
    watch.stop()


@pytest.mark.parametrize(
    "name", [b"with space.md", b"line\nbreak.md", "ünï ☕.md".encode(), b"caf\xe9.md", b"%41.md"]
)
def test_any_name(root: Path, notes: Notes, any_watch: FileWatch, name: bytes) -> None:
    folder = root / os.fsdecode(b"dir-" + name)
    folder.mkdir()
    fence(root, notes)
    (folder / os.fsdecode(name)).write_text("text")
    notes.until_last(uri_of(b"dir-" + name + b"/" + name), Touch.SETTLED)


# What inotify itself tells beyond that.


def test_written_without_closing_is_writing(root: Path, notes: Notes, watch: FileWatch) -> None:
    with (root / "log.md").open("w") as file:
        notes.until_last("log.md", Touch.WRITING)
        notes.clear()
        file.write("line\n")
        file.flush()
        notes.until_last("log.md", Touch.WRITING)
    notes.until_last("log.md", Touch.SETTLED)


def test_renamed_in_from_outside_is_settled(
    root: Path, tmp_path: Path, notes: Notes, watch: FileWatch
) -> None:
    (tmp_path / "x.md").write_text("text")
    (tmp_path / "x.md").rename(root / "x.md")
    notes.until_last("x.md", Touch.SETTLED)
    assert notes.hints == [Dirty({"x.md": Touch.SETTLED})]


def test_unlinked_and_created(root: Path, notes: Notes, watch: FileWatch) -> None:
    (root / "a.md").unlink()
    (root / "a.md").write_text("two")
    notes.until_last("a.md", Touch.SETTLED)


def test_a_backup_by_renaming_is_no_rename_of_the_file(root: Path, notes: Notes, watch: FileWatch) -> None:
    (root / "a.md").rename(root / "a.old")
    (root / "a.md").write_text("two")
    notes.until_last("a.md", Touch.SETTLED)
    assert notes.last("a.old") is Touch.SETTLED


def test_one_temporary_name_used_for_many_files(root: Path, notes: Notes, watch: FileWatch) -> None:
    """A script that writes new.md and renames it, again and again, within one read of the queue."""
    notes.gate.clear()
    (root / "a.md").write_text("two")
    notes.until_covered("a.md")  # the reader is held: the rest comes at once
    for number in range(20):
        (root / "new.md").write_text(f"{number}")
        (root / "new.md").rename(root / f"{number}.md")
    (root / "sub").rename(root / "1st")
    (root / "sub").mkdir()
    (root / "sub" / "other.md").write_text("text")
    (root / "sub").rename(root / "2nd")
    notes.gate.set()
    for place in (*(f"{number}.md" for number in range(20)), "1st/b.md", "2nd/other.md"):
        notes.until_covered(place)


def test_folders_exchanged_in_one_step_are_both_watched(root: Path, notes: Notes, watch: FileWatch) -> None:
    (root / "other").mkdir()
    (root / "other" / "o.md").write_text("text")
    fence(root, notes)
    exchange(root / "sub", root / "other")
    fence(root, notes)
    for place in ("sub/o.md", "other/b.md", "other/deep/c.md"):
        (root / place).write_text("two")
        notes.until_last(place, Touch.SETTLED)


def test_a_folder_that_takes_the_place_of_one_moved_out_is_watched(
    root: Path, tmp_path: Path, notes: Notes, watch: FileWatch
) -> None:
    """Both within one read of the queue, as when a script puts a new tree in place."""
    (tmp_path / "next" / "deep").mkdir(parents=True)
    notes.gate.clear()
    (root / "a.md").write_text("two")
    notes.until_covered("a.md")  # the reader is held: the rest comes at once
    (root / "sub").rename(tmp_path / "last")
    (tmp_path / "next").rename(root / "sub")
    notes.gate.set()
    notes.until_covered("sub/b.md")
    fence(root, notes)
    (root / "sub" / "deep" / "n.md").write_text("text")
    notes.until_last("sub/deep/n.md", Touch.SETTLED)
    (tmp_path / "last" / "b.md").write_text("two")
    fence(root, notes)
    assert not notes.places()


def test_links_permissions_and_times(root: Path, tmp_path: Path, notes: Notes, watch: FileWatch) -> None:
    os.link(root / "a.md", root / "hard.md")
    notes.until_last("hard.md", Touch.WRITING)
    (root / "soft.md").symlink_to("a.md")
    notes.until_last("soft.md", Touch.WRITING)
    fence(root, notes)
    (root / "a.md").chmod(0o600)
    notes.until_last("a.md", Touch.ATTRIBUTES)
    notes.clear()
    (root / "sub").chmod(0o700)
    notes.until_last("sub/", Touch.ATTRIBUTES)


def test_a_change_of_a_file_is_told_for_the_links_to_it(root: Path, notes: Notes) -> None:
    (root / "sub" / "link.md").symlink_to("../a.md")
    source = source_of(root)
    watch = FileWatch(source, notes)
    assert watch.start()
    source.list()
    (root / "a.md").write_text("two")
    notes.until_last("a.md", Touch.SETTLED)
    assert notes.last("sub/link.md") is not None
    watch.stop()


def test_links_made_after_the_listing_are_told_too(root: Path, notes: Notes) -> None:
    source = source_of(root)
    watch = FileWatch(source, notes)
    assert watch.start()
    source.list()
    for link in ("first.md", "sub/second.md"):
        (root / link).symlink_to(root / "sub" / "b.md")
        assert isinstance(source.look(link), Seen)
    source.list_below("sub/")
    fence(root, notes)
    (root / "sub" / "b.md").write_text("two")
    notes.until_last("sub/b.md", Touch.SETTLED)
    assert {"first.md", "sub/second.md"} <= notes.places()
    watch.stop()


def test_a_folder_that_moves_is_told_for_the_links_into_it(root: Path, tmp_path: Path, notes: Notes) -> None:
    (root / "link.md").symlink_to("sub/b.md")
    source = source_of(root)
    watch = FileWatch(source, notes)
    assert watch.start()
    source.list()
    (root / "sub").rename(tmp_path / "away")
    notes.until_last("sub/", Touch.GONE)
    assert notes.last("link.md") is not None
    watch.stop()


def test_our_own_reads_give_no_hint(root: Path, notes: Notes, watch: FileWatch) -> None:
    source = source_of(root)
    for _ in range(3):
        source.list()
        source.read("a.md")
        source.read("sub/b.md")
    (root / "last.md").write_text("text")
    notes.until_last("last.md", Touch.SETTLED)
    assert notes.places() == {"last.md"}


def test_a_file_replaced_by_a_folder_and_back(root: Path, notes: Notes, watch: FileWatch) -> None:
    (root / "a.md").unlink()
    (root / "a.md").mkdir()
    (root / "a.md" / "x.md").write_text("text")
    notes.until_last("a.md", Touch.GONE)
    notes.until_covered("a.md/x.md")
    notes.clear()
    shutil.rmtree(root / "a.md")
    (root / "a.md").write_text("text")
    notes.until_last("a.md", Touch.SETTLED)
    notes.until_last("a.md/", Touch.GONE)


def test_a_folder_moved_out_is_told_at_once_and_heard_no_more(
    root: Path, tmp_path: Path, notes: Notes, watch: FileWatch
) -> None:
    (root / "sub").rename(tmp_path / "out")
    notes.until_last("sub/", Touch.GONE)
    notes.clear()
    (tmp_path / "out" / "b.md").write_text("two")
    (tmp_path / "out" / "deep" / "c.md").write_text("two")
    (root / "last.md").write_text("text")
    notes.until_last("last.md", Touch.SETTLED)
    assert notes.places() == {"last.md"}
    (tmp_path / "out").rename(root / "again")
    notes.until_last("again/", Touch.SETTLED)
    (root / "again" / "deep" / "c.md").write_text("three")
    notes.until_last("again/deep/c.md", Touch.SETTLED)


def test_folders_renamed_in_and_out_of_what_is_left_out(root: Path, notes: Notes, watch: FileWatch) -> None:
    (root / "sub").rename(root / ".sub")
    notes.until_last("sub/", Touch.GONE)
    fence(root, notes)
    (root / ".sub" / "b.md").write_text("two")
    (root / ".sub" / "deep").rename(root / "deep")
    notes.until_last("deep/", Touch.SETTLED)
    assert notes.places() == {"deep/"}
    (root / "deep" / "c.md").write_text("two")
    notes.until_last("deep/c.md", Touch.SETTLED)


def test_folders_renamed_again_and_again_keep_their_watch(root: Path, notes: Notes, watch: FileWatch) -> None:
    for number in range(200):
        (root / f"sub{number or ''}").rename(root / f"sub{number + 1}")
    notes.until(lambda: "sub200/" in notes.places(), "the last rename")
    fence(root, notes)
    (root / "sub200" / "deep" / "c.md").write_text("two")
    notes.until_last("sub200/deep/c.md", Touch.SETTLED)
    assert notes.places() == {"sub200/deep/c.md"}


def test_more_changes_than_the_queue_holds(
    root: Path, tmp_path: Path, notes: Notes, watch: FileWatch
) -> None:
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    notes.gate.clear()
    (root / "first.md").write_text("text")
    notes.until(lambda: bool(notes.hints), "the hint in which the reading thread is held")
    for number in range(queue // 2 + 100):  # two events each
        (root / f"{number or 'a'}.md").rename(root / f"{number + 1}.md")
    (root / "unseen" / "deep").mkdir(parents=True)
    (root / "sub").rename(root / "renamed unseen")
    shutil.rmtree(root / "renamed unseen" / "deep")
    notes.gate.set()
    notes.until(lambda: "" in notes.places(), "everything is dirty")
    assert watch.overflows == 1
    assert watch.alive()
    fence(root, notes)
    for uri in ("unseen/deep/x.md", "renamed unseen/b.md"):
        (root / uri).write_text("text")
        notes.until_last(uri, Touch.SETTLED)
    assert notes.places() == {"unseen/deep/x.md", "renamed unseen/b.md"}
    assert watch.restart()
    assert watch.overflows == 1, "the count outlives a restart"


def covered(uri: str, places: set[str]) -> bool:
    parts = uri.split("/")
    return not places.isdisjoint({"", uri, *("/".join(parts[:n]) + "/" for n in range(1, len(parts)))})


def test_thousands_at_once_are_all_told(root: Path, notes: Notes, watch: FileWatch) -> None:
    uris = [f"{number % 20}/{number}.md" for number in range(3000)]
    for number in range(20):
        (root / str(number)).mkdir()
    for uri in uris:
        (root / uri).write_text("text")
    (root / "last.md").write_text("text")
    notes.until(lambda: not {"last.md", ""}.isdisjoint(notes.hints[-1].touched), "the last of them")
    places = notes.places()
    assert [uri for uri in uris if not covered(uri, places)] == []


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_is_covered(
    root: Path, tmp_path: Path, notes: Notes, watch: FileWatch, seed: int
) -> None:
    """Any order of changes, folders in and out included, compared with complete listings."""
    chance = random.Random(seed)
    source = source_of(root)
    (tmp_path / "outside").mkdir()
    for round_ in range(3):
        before = {sighting.uri: sighting for sighting in source.list().sightings}
        for number in range(60):
            disturb(root, tmp_path / "outside", chance, f"{round_}-{number}")
        (root / f"last {round_}").write_text("text")
        notes.until_last(f"last {round_}", Touch.SETTLED)
        after = {sighting.uri: sighting for sighting in source.list().sightings}
        changed = {
            uri
            for uri in before.keys() | after.keys()
            if uri not in before or uri not in after or fingerprint(before[uri]) != fingerprint(after[uri])
        }
        assert changed
        places = notes.places()
        assert [uri for uri in changed if not covered(uri, places)] == []
        notes.clear()


def fingerprint(sighting: Seen | Skipped) -> str:
    assert isinstance(sighting, Seen)
    return sighting.fingerprint


def disturb(root: Path, outside: Path, chance: random.Random, fresh: str) -> None:
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    files = [path for path in root.rglob("*") if path.is_file()]
    folder = chance.choice(folders)
    match chance.randrange(9):
        case 0 | 1:
            (folder / fresh).write_text(fresh)
        case 2 if files:
            with chance.choice(files).open("a") as file:
                file.write(fresh)
        case 3 if files:
            chance.choice(files).unlink()
        case 4 if files:
            chance.choice(files).rename(folder / fresh)
        case 5:
            (folder / fresh / "deep").mkdir(parents=True)
            (folder / fresh / "deep" / "x.md").write_text(fresh)
        case 6 if folder != root:
            target = chance.choice([path for path in folders if not path.is_relative_to(folder)])
            folder.rename(target / fresh)
        case 7 if folder != root:
            folder.rename(outside / fresh)
        case 8:
            for path in list(outside.iterdir())[:1]:
                (path / "changed outside.md").write_text(fresh)
                path.rename(folder / fresh)


def test_too_few_watches_are_counted_and_the_rest_works(
    root: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from watchdog.observers.inotify_c import InotifyFD

    original = InotifyFD.add_callback

    def limited(self: InotifyFD, path: bytes, *rest: object) -> object:
        if path.endswith(b"deep/"):
            raise OSError(errno.ENOSPC, "inotify watch limit reached")
        return original(self, path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(InotifyFD, "add_callback", limited)
    watch = FileWatch(source_of(root), notes)
    assert watch.start()
    assert watch.unwatched == 1
    assert "max_user_watches" in caplog.text
    (root / "sub" / "b.md").write_text("two")
    notes.until_last("sub/b.md", Touch.SETTLED)
    monkeypatch.undo()
    assert watch.restart()
    assert watch.unwatched == 0
    watch.stop()


def test_no_instance_to_be_had_is_a_reason_and_no_error(
    root: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from watchdog.observers.inotify_c import InotifyFD

    def refuse() -> int:
        raise OSError(errno.EMFILE, "inotify instance limit reached")

    monkeypatch.setattr(InotifyFD, "_create_inotify_fd", staticmethod(refuse))
    watch = FileWatch(source_of(root), notes)
    assert not watch.start()
    assert watch.blind_reason is not None
    assert "instance limit" in watch.blind_reason
    watch.stop()


def test_a_folder_that_becomes_readable_is_watched(unprivileged: Path, notes: Notes) -> None:
    (unprivileged / "closed" / "deep").mkdir(parents=True)
    (unprivileged / "closed").chmod(0)
    watch = FileWatch(source_of(unprivileged), notes)
    assert watch.start()
    (unprivileged / "closed").chmod(0o700)
    notes.until_last("closed/", Touch.ATTRIBUTES)
    (unprivileged / "closed" / "deep" / "x.md").write_text("text")
    notes.until_last("closed/deep/x.md", Touch.SETTLED)
    watch.stop()


def test_it_may_be_stopped_from_within_a_hint(root: Path) -> None:
    stopped = threading.Event()

    def stop(_: Dirty) -> None:
        hasty.stop()
        stopped.set()

    hasty = FileWatch(source_of(root), stop)
    assert hasty.start()
    (root / "a.md").write_text("two")
    assert stopped.wait(DEADLINE_S)
    assert not hasty.alive()


def test_starting_and_stopping_leaves_nothing_behind(root: Path, tmp_path: Path, notes: Notes) -> None:
    def counts() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    before = counts()
    watch = FileWatch(source_of(root), notes)
    for _ in range(20):
        assert watch.restart()
    watch.stop()
    missing = FileWatch(source_of(tmp_path / "missing"), notes)
    for _ in range(20):
        assert not missing.restart()
    assert counts() == before


def test_the_way_from_event_to_hint_is_short(root: Path, notes: Notes, watch: FileWatch) -> None:
    lags: list[float] = []
    for number in range(50):
        notes.clear()
        (root / "a.md").write_text(str(number))
        closed = time.monotonic()
        notes.until_last("a.md", Touch.SETTLED)
        lags.append(max(notes.at[-1] - closed, 0.0))
    assert sorted(lags)[25] < 0.02
