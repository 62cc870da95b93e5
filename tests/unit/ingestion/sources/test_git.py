"""Branches of git repositories as a source: on this machine, and served over HTTP on loopback."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ingestion.database import Database
from ingestion.errors import DocumentGone, DocumentUnreadable, NotIndexable, SourceUnavailable
from ingestion.ledger.kept import Keep
from ingestion.records import Gone, Seen, Skipped
from ingestion.sources.git import source as source_module
from ingestion.sources.git.places import Local, Place, Remote
from ingestion.sources.git.program import Git, GitFailed
from ingestion.sources.git.source import GitSource
from ingestion.sources.settling import Dirty, Settling, Touch
from tests.repositories import Repository
from tests.rig import SOURCE, Rig, fresh_database
from tests.servers.certificates import certified
from tests.servers.git import GitServer
from workers.outcomes import Result

PROSE = "The ferry to the island leaves at {n} in the morning, and returns late in the evening.\n\n"
SOON_S = 30.0
LIMIT_BYTES = 10_000
NOBODY = 65534


def prose(*numbers: int) -> bytes:
    return "".join(PROSE.format(n=number) for number in numbers).encode()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = fresh_database(tmp_path)
    yield made
    made.close()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "served" / "repository")


class Branch:
    """A source, and a pipeline that keeps it searchable."""

    def __init__(
        self,
        database: Database,
        place: Place,
        location: object = "there",
        *,
        watches: bool = True,
        **settings: Any,
    ) -> None:
        self.rig = Rig(database, [], watches=watches)
        self.source = GitSource(
            SOURCE,
            self.rig.ledger.kept,
            place,
            location=str(location),
            max_file_bytes=LIMIT_BYTES,
            every_s=60.0,
            clock=self.rig.clock,
            **settings,
        )
        self.rig.sources[SOURCE] = self.source
        self.rig.recover()

    def sync(self) -> dict[str, str]:
        self.rig.sync()
        return self.rig.states()

    def follow(self) -> dict[str, str]:
        """As the watch does: ask, and look at what was told once it has settled."""
        dirty = self.source.ask()
        assert dirty is not None
        settling = Settling()
        settling.add(dirty, 0.0)
        while (due := settling.next_due()) is not None:
            batch = settling.due(due)
            if batch is not None and batch.rescan:
                self.rig.scan()
            elif batch is not None:
                assert not self.rig.reconciler.look(self.source, batch).doubts
        self.rig.settle()
        return self.rig.states()

    def bodies(self) -> dict[str, bytes]:
        return {uri: self.source.read(uri).body for uri in self.rig.states()}


def local(database: Database, repository: Repository, branch: str | None = None, **settings: Any) -> Branch:
    place = Local(repository.folder, branch=branch, timeout_s=60.0)
    return Branch(database, place, repository.folder, **settings)


@pytest.fixture
def branch(database: Database, repository: Repository) -> Branch:
    return local(database, repository)


def test_a_few_trees_that_name_no_end_of_files(
    branch: Branch, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit({"a.md": prose(1)})
    branch.sync()
    tree = repository("write-tree")
    for _ in range(4):
        tree = repository("mktree", given="".join(f"040000 tree {tree}\t{n}\n" for n in range(10)).encode())
    repository("reset", "--soft", repository("commit-tree", "-p", "HEAD", "-m", "many", tree))
    monkeypatch.setattr("ingestion.sources.git.program.MOST_BYTES", 100_000)
    with pytest.raises(SourceUnavailable, match="more than 100,000 bytes"):
        branch.source.list()
    assert branch.sync().keys() == {"a.md"}, "what is indexed stays"


def test_edits_additions_and_deletions_are_told_exactly(branch: Branch, repository: Repository) -> None:
    repository.commit({f"{n}.md": prose(n) for n in range(30)})
    assert branch.source.ask() is None, "nothing was listed yet"
    branch.sync()
    assert branch.source.ask() == Dirty()
    (repository.folder / "3.md").unlink()
    repository.commit({"4.md": prose(44), "new.md": prose(99)})
    asked = branch.source.ask()
    assert asked == Dirty({"3.md": Touch.GONE, "4.md": Touch.SETTLED, "new.md": Touch.SETTLED})
    assert branch.source.ask() == Dirty(), "told once"


def test_what_was_told_is_searchable(branch: Branch, repository: Repository) -> None:
    repository.commit({"a.md": prose(1), "b.md": prose(2)})
    assert branch.sync() == {"a.md": "live", "b.md": "live"}
    (repository.folder / "b.md").unlink()
    repository.commit({"a.md": prose(1, 3)})
    assert branch.follow() == {"a.md": "live"}
    assert branch.bodies() == {"a.md": prose(1, 3)}
    branch.rig.consistent()


def test_renames_embed_nothing(branch: Branch, repository: Repository) -> None:
    repository.commit({f"{n}.md": prose(n) for n in range(5)})
    branch.sync()
    ids = branch.rig.document_ids()
    branch.rig.forget_outcomes()
    for n in range(4):
        repository("mv", f"{n}.md", f"moved-{n}.md")
    repository.commit()
    states = branch.follow()
    assert states == {f"moved-{n}.md": "live" for n in range(4)} | {"4.md": "live"}
    assert {f"moved-{n}.md": ids[f"{n}.md"] for n in range(4)}.items() <= branch.rig.document_ids().items()
    assert branch.rig.embedder.texts == []
    assert sorted(branch.rig.results(Result.RENAMED)) == [f"moved-{n}.md" for n in range(4)]


def test_a_rename_with_an_edit_is_one_document_and_embeds_the_edit(
    branch: Branch, repository: Repository
) -> None:
    repository.commit({"a.md": prose(*range(40)), "b.md": prose(77)})
    branch.sync()
    ids = branch.rig.document_ids()
    branch.rig.forget_outcomes()
    repository("mv", "a.md", "c.md")
    repository.commit({"c.md": prose(*range(40), 99)})
    assert branch.follow() == {"b.md": "live", "c.md": "live"}
    assert branch.rig.document_ids()["c.md"] == ids["a.md"]
    assert 0 < len(branch.rig.embedder.texts) <= 3


def test_two_that_swap_their_names_are_read_anew(branch: Branch, repository: Repository) -> None:
    repository.commit({"a.md": prose(1), "b.md": prose(2)})
    branch.sync()
    repository.commit({"a.md": prose(2), "b.md": prose(1)})
    branch.follow()
    assert branch.bodies() == {"a.md": prose(2), "b.md": prose(1)}


def test_a_rename_is_found_by_a_listing_too(branch: Branch, repository: Repository) -> None:
    repository.commit({"a.md": prose(1), "b.md": prose(2)})
    branch.sync()
    branch.rig.forget_outcomes()
    repository("mv", "a.md", "c.md")
    repository.commit()
    assert branch.sync() == {"b.md": "live", "c.md": "live"}
    assert branch.rig.embedder.texts == []


def test_whatever_a_commit_removes_needs_no_approval(branch: Branch, repository: Repository) -> None:
    repository.commit({f"{n}.md": prose(n) for n in range(40)})
    branch.sync()
    for n in range(35):
        (repository.folder / f"{n}.md").unlink()
    repository.commit()
    assert branch.follow().keys() == {f"{n}.md" for n in range(35, 40)}
    look = branch.source.look("3.md")
    assert isinstance(look, Gone) and look.definite
    assert branch.rig.ledger.kept.find(SOURCE, ["3.md"])["3.md"].digest is None, "it is not kept any more"
    repository("revert", "--no-edit", "HEAD")
    assert len(branch.follow()) == 40


def test_a_forced_push_to_another_history_is_no_deletion(branch: Branch, repository: Repository) -> None:
    repository.commit({f"{n}.md": prose(n) for n in range(40)})
    branch.sync()
    repository("checkout", "--quiet", "--orphan", "other")
    repository("rm", "-r", "--force", "--quiet", ".")
    repository.commit({"0.md": prose(0), "new.md": prose(99)})
    repository("branch", "--force", "main", "other")
    repository("checkout", "--quiet", "main")
    states = branch.follow()
    assert len(states) == 41
    assert states["new.md"] == "live"
    assert sum(state == "held" for state in states.values()) == 39
    look = branch.source.look("3.md")
    assert isinstance(look, Gone) and not look.definite
    assert branch.rig.answers(PROSE.format(n=3)), "what is held is served"


def test_a_forced_push_over_commits_that_are_thrown_away_is_listed(
    branch: Branch, repository: Repository
) -> None:
    start = repository.commit({f"{n}.md": prose(n) for n in range(4)})
    repository.commit({"0.md": prose(10)})
    branch.sync()
    repository("reset", "--hard", "--quiet", start)
    repository.commit({"1.md": prose(11)})
    repository("reflog", "expire", "--expire=now", "--all")
    repository("gc", "--quiet", "--prune=now")
    assert branch.source.ask() == Dirty({"": Touch.SETTLED})
    branch.sync()
    assert branch.bodies() == {"0.md": prose(0), "1.md": prose(11), "2.md": prose(2), "3.md": prose(3)}


def test_a_forced_push_back_to_an_earlier_commit_brings_its_documents_back(
    branch: Branch, repository: Repository
) -> None:
    start = repository.commit({"a.md": prose(1), "b.md": prose(2)})
    (repository.folder / "b.md").unlink()
    repository.commit({"a.md": prose(3)})
    branch.sync()
    repository("reset", "--hard", "--quiet", start)
    assert branch.follow() == {"a.md": "live", "b.md": "live"}
    assert branch.bodies() == {"a.md": prose(1), "b.md": prose(2)}


def test_another_branch_in_the_settings_is_no_deletion(database: Database, repository: Repository) -> None:
    first = repository("rev-parse", "HEAD")
    repository.commit({f"{n}.md": prose(n) for n in range(40)})
    local(database, repository, "main").sync()
    repository("branch", "other", first)
    other = local(database, repository, "other")
    assert set(other.sync().values()) == {"held"}


def test_another_subfolder_in_the_settings_is_no_deletion(database: Database, repository: Repository) -> None:
    repository.commit({f"docs/{n}.md": prose(n) for n in range(40)} | {"else/x.md": prose(99)})
    assert len(local(database, repository, subfolder="docs/").sync()) == 40
    states = local(database, repository, subfolder="else/").sync()
    assert states.pop("x.md") == "live"
    assert set(states.values()) == {"held"}


def test_what_a_merge_brings_is_dated_by_the_merge(branch: Branch, repository: Repository) -> None:
    now = time.time()
    repository.commit({"a.md": prose(1)}, at=now - 5000)
    branch.sync()
    repository("checkout", "--quiet", "-b", "side")
    repository.commit({"b.md": prose(2)}, at=now - 4000)
    repository("checkout", "--quiet", "main")
    repository.commit({"c.md": prose(3)}, at=now - 3000)
    repository("merge", "--quiet", "--no-edit", "side", at=now - 2000)
    repository.commit({"d.md": prose(4)}, at=now - 1000)
    assert branch.follow().keys() == {"a.md", "b.md", "c.md", "d.md"}
    changed = {one.uri: one.changed_at for one in branch.source.list().sightings if isinstance(one, Seen)}
    assert {uri: now - (at or 0) for uri, at in changed.items()} == pytest.approx(
        {"a.md": 5000, "b.md": 2000, "c.md": 3000, "d.md": 1000}, abs=1
    )


def test_names_of_any_bytes(branch: Branch, repository: Repository) -> None:
    names = [
        b"caf\xe9.md",
        b"two\nlines.md",
        b'"quoted"\t.md',
        "übung/ß.md".encode(),
        b"100%.md",
        b"-dash.md",
    ]
    blob = repository("hash-object", "-w", "--stdin", given=prose(1))
    index = b"".join(b"100644 %s\t%s\0" % (blob.encode(), name) for name in names)
    repository("update-index", "-z", "--index-info", given=index)
    repository("commit", "--quiet", "--message=names")
    uris = {"caf%E9.md", "two\nlines.md", '"quoted"\t.md', "übung/ß.md", "100%.md", "-dash.md"}
    assert branch.sync().keys() == uris
    assert set(branch.bodies().values()) == {prose(1)}
    looks = branch.source.looks(sorted(uris))
    assert all(isinstance(look, Seen) for look in looks.values())
    repository("update-index", "--force-remove", "-z", "--stdin", given=b"\0".join(names[:2]) + b"\0")
    repository("commit", "--quiet", "--message=fewer")
    assert branch.follow().keys() == uris - {"caf%E9.md", "two\nlines.md"}


def test_neither_links_nor_submodules_nor_hidden_files_are_documents(
    branch: Branch, repository: Repository, tmp_path: Path
) -> None:
    (tmp_path / "secret.md").write_bytes(b"secret")
    (repository.folder / "out.md").symlink_to(tmp_path / "secret.md")
    (repository.folder / "in.md").symlink_to("a.md")
    repository.commit({"a.md": prose(1), ".hidden/b.md": prose(2), "run.sh": b"#!/bin/sh\n"})
    submodule = f"160000 {'1' * 40}\tsub.md\0".encode()
    repository("update-index", "--add", "-z", "--index-info", given=submodule)
    repository("commit", "--quiet", "--message=submodule")
    assert branch.sync().keys() == {"a.md", "run.sh"}
    for uri in ("out.md", "in.md", "sub.md", ".hidden/b.md", "a.md/x.md"):
        assert isinstance(branch.source.look(uri), Gone)
        with pytest.raises(DocumentGone):
            branch.source.read(uri)


def test_a_document_that_becomes_a_link_is_gone(branch: Branch, repository: Repository) -> None:
    repository.commit({"a.md": prose(1), "b.md": prose(2)})
    branch.sync()
    (repository.folder / "a.md").unlink()
    (repository.folder / "a.md").symlink_to("b.md")
    repository.commit()
    assert branch.follow().keys() == {"b.md"}


def test_patterns_and_a_subfolder_say_what_is_taken(database: Database, repository: Repository) -> None:
    repository.commit({"docs/a.md": prose(1), "docs/a.txt": prose(2), "docs/b/c.md": prose(3), "d.md": b"x"})
    place = Local(repository.folder, branch=None, timeout_s=60.0)
    branch = Branch(database, place, include=["*.md"], exclude=["b/"], subfolder="docs/")
    assert branch.sync().keys() == {"a.md"}
    assert branch.bodies() == {"a.md": prose(1)}
    repository("mv", "docs/a.md", "e.md")
    repository("mv", "d.md", "docs/d.md")
    repository.commit()
    assert branch.follow().keys() == {"d.md"}


def test_a_huge_file_is_skipped_unread(branch: Branch, repository: Repository) -> None:
    repository.commit({"huge.md": b"x" * 5_000_000, "a.md": prose(1)})
    assert branch.sync() == {"huge.md": "skipped", "a.md": "live"}
    look = branch.source.look("huge.md")
    assert isinstance(look, Skipped) and "5,000,000" in look.reason
    with pytest.raises(NotIndexable):
        branch.source.read("huge.md")


def test_a_path_too_long_for_a_ledger_is_skipped(branch: Branch, repository: Repository) -> None:
    repository.commit({"a.md": prose(1)})
    blob = repository("hash-object", "-w", "--stdin", given=prose(2))
    name = "/".join(["long" * 50] * 12) + ".md"
    repository("update-index", "-z", "--index-info", given=f"100644 {blob}\t{name}\0".encode())
    repository("commit", "--quiet", "--message=long")
    states = branch.sync()
    assert states.pop("a.md") == "live"
    assert list(states.values()) == ["skipped"]
    assert branch.sync() == branch.rig.states()


def test_a_restart_reads_nothing_again(database: Database, repository: Repository) -> None:
    repository.commit({f"{n}.md": prose(n) for n in range(5)})
    local(database, repository).sync()
    again = local(database, repository)
    listed = again.rig.sync()
    assert (listed.unchanged, listed.wanted, again.rig.embedder.texts) == (5, 0, [])


def test_a_worker_needs_no_repository(database: Database, repository: Repository, tmp_path: Path) -> None:
    repository.commit({"a.md": prose(1)})
    local(database, repository).sync()
    elsewhere = Branch(database, Local(tmp_path / "nowhere", branch=None, timeout_s=60.0))
    assert elsewhere.source.read("a.md").body == prose(1)
    assert elsewhere.source.reading(["a.md"])("a.md").body == prose(1)


def test_what_another_kind_of_source_kept_under_the_name_is_not_read(
    branch: Branch, repository: Repository
) -> None:
    branch.rig.ledger.kept.keep(SOURCE, [Keep("a.md", b"a page"), Keep("b.md", b"another")])
    repository.commit({"a.md": prose(1)})
    assert branch.source.read("a.md").body == prose(1)
    with pytest.raises(DocumentGone):
        branch.source.read("b.md")
    look = branch.source.look("b.md")
    assert isinstance(look, Gone) and not look.definite


def no_commit(repository: Repository) -> None:
    shutil.rmtree(repository.folder)
    repository.folder.mkdir()
    repository("init", "--quiet")


def no_repository(repository: Repository) -> None:
    shutil.rmtree(repository.folder / ".git")


def nowhere(repository: Repository) -> None:
    repository.folder.rename(repository.folder.with_name("elsewhere"))


def corrupt(repository: Repository) -> None:
    for path in (repository.folder / ".git" / "objects").rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.write_bytes(b"damaged")


def no_branch(repository: Repository) -> None:
    repository("branch", "--move", "main", "another")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (no_commit, "no branch main"),
        (no_repository, "not a git repository"),
        (nowhere, "No such file or directory"),
        (corrupt, "damaged"),
        (no_branch, "no branch main"),
    ],
)
def test_what_cannot_be_read_retires_nothing(
    database: Database, repository: Repository, harm: Callable[[Repository], None], words: str
) -> None:
    branch = local(database, repository, "main")
    repository.commit({"a.md": prose(1), "b.md": prose(2)})
    branch.sync()
    harm(repository)
    for attempt in (branch.source.list, branch.source.ask, lambda: branch.source.look("a.md")):
        with pytest.raises(SourceUnavailable, match=words) as refused:
            attempt()
        assert "git ls-remote" in refused.value.hint
    branch.rig.scan()
    assert set(branch.rig.states().values()) <= {"live", "held"}
    assert branch.bodies() == {"a.md": prose(1), "b.md": prose(2)}


def test_what_was_away_is_listed_once_it_is_back(branch: Branch, repository: Repository) -> None:
    repository.commit({"a.md": prose(1)})
    away = repository.folder.with_name("elsewhere")
    repository.folder.rename(away)
    for _ in range(2):
        branch.rig.scan()
    with pytest.raises(SourceUnavailable):
        branch.source.ask()
    away.rename(repository.folder)
    assert branch.source.ask() is None, "not at every question, as the listing alone may fail"
    branch.rig.advance(5.0)
    assert branch.source.ask() == Dirty({"": Touch.SETTLED})
    assert branch.follow() == {"a.md": "live"}
    assert branch.source.ask() == Dirty()


def test_a_file_whose_content_is_lacking_is_not_called_gone(branch: Branch, repository: Repository) -> None:
    repository.commit({"a.md": prose(1), "b.md": prose(2)})
    branch.sync()
    repository.commit({"a.md": prose(3), "b.md": prose(4)})
    blob = repository("rev-parse", "HEAD:a.md")
    (repository.folder / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    listing = branch.source.list()
    assert listing.blind == ["a.md"]
    assert "a.md" in listing.faults[0]
    assert branch.sync() == {"a.md": "live", "b.md": "live"}
    assert branch.source.looks(["a.md", "b.md"]).keys() == {"b.md"}


def test_damaged_content_of_one_file_keeps_no_other_away(branch: Branch, repository: Repository) -> None:
    repository.commit({f"{n}.md": prose(n) for n in range(9)})
    branch.sync()
    repository.commit({f"{n}.md": prose(n + 20) for n in range(9)})
    blob = repository("rev-parse", "HEAD:5.md")
    path = repository.folder / ".git" / "objects" / blob[:2] / blob[2:]
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:40])
    listing = branch.source.list()
    assert listing.blind == ["5.md"]
    assert branch.sync().keys() == {f"{n}.md" for n in range(9)}
    assert branch.bodies() == {f"{n}.md": prose(n if n == 5 else n + 20) for n in range(9)}
    with pytest.raises(DocumentUnreadable, match=r"5\.md"):
        branch.source.look("5.md")


# What a repository brings along must not run.


def hostile(repository: Repository, tripwire: Path) -> None:
    """Settings, hooks and attributes of the repository that have a program touch the tripwire."""
    touch = f"touch {tripwire}"
    script = repository.folder / ".git" / "trip.sh"
    script.write_text(f"#!/bin/sh\n{touch}\nexit 1\n")
    script.chmod(0o755)
    for hook in ("post-checkout", "reference-transaction", "pre-auto-gc", "post-index-change", "update"):
        shutil.copy(script, repository.folder / ".git" / "hooks" / hook)
    for name, value in {
        "core.fsmonitor": script,
        "core.sshCommand": touch,
        "core.gitProxy": script,
        "core.pager": touch,
        "core.editor": touch,
        "core.alternateRefsCommand": touch,
        "core.askPass": script,
        "credential.helper": f"!{touch}",
        "diff.external": script,
        "diff.trip.command": script,
        "diff.trip.textconv": script,
        "filter.trip.smudge": script,
        "filter.trip.clean": script,
        "filter.trip.process": script,
        "merge.trip.driver": touch,
        "gpg.program": script,
        "log.showSignature": "true",
        "pager.ls-tree": touch,
        "pager.diff-tree": touch,
        "alias.ls-tree": f"!{touch}",
        "uploadpack.packObjectsHook": script,
        "remote.origin.url": f"ext::{touch}",
        "remote.origin.promisor": "true",
        "remote.origin.uploadpack": script,
        "extensions.partialClone": "origin",
        "core.repositoryFormatVersion": "1",
        "protocol.ext.allow": "always",
        "protocol.allow": "always",
        "fetch.recurseSubmodules": "true",
        "submodule.recurse": "true",
        "trace2.eventTarget": tripwire,
    }.items():
        repository("config", name, str(value))


def lack_content(repository: Repository) -> str:
    """As a partial clone does, which fetches what it lacks when it is read."""
    blob = repository("rev-parse", "HEAD:lacking.md")
    (repository.folder / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    return blob


@pytest.mark.parametrize("origin", ["ext::touch {}", "ssh://127.0.0.1/x", "file:///x"])
def test_nothing_that_a_repository_brings_along_is_run(
    branch: Branch, repository: Repository, tmp_path: Path, origin: str
) -> None:
    tripwire = tmp_path / "tripwire"
    repository.commit(
        {"a.md": prose(1), "lacking.md": b"x" * 999, ".gitattributes": b"* diff=trip filter=trip"}
    )
    blob = lack_content(repository)
    hostile(repository, tripwire)
    repository("config", "remote.origin.url", origin.format(tripwire))
    before = whole(repository.folder)
    assert branch.sync() == {"a.md": "live"}
    branch.source.look("a.md")
    branch.source.ask()
    assert not tripwire.exists()
    assert whole(repository.folder) == before, "and nothing is written to it"
    subprocess.run(["git", "cat-file", "-e", blob], cwd=repository.folder, capture_output=True, timeout=60)
    assert tripwire.exists(), "which it does where nothing holds it back"


def whole(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file in it, with its size and time."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
        if not path.is_dir()
    }


def test_a_hostile_repository_can_be_fetched(
    database: Database, repository: Repository, tmp_path: Path
) -> None:
    tripwire = tmp_path / "tripwire"
    repository.commit({"a.md": prose(1)})
    hostile(repository, tripwire)
    repository("config", "--unset", "extensions.partialClone")
    branch = remote(database, f"file://{repository.folder}", tmp_path)
    assert branch.sync() == {"a.md": "live"}
    assert not tripwire.exists()


def test_the_settings_of_the_user_do_not_matter(
    branch: Branch, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tripwire = tmp_path / "tripwire"
    (tmp_path / ".gitconfig").write_text(f"[core]\n\tfsmonitor = touch {tripwire}\n[nonsense")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_TRACE", str(tripwire))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", f"touch {tripwire}")
    repository.folder.joinpath("x").write_text("")
    monkeypatch.delenv("GIT_DIR")
    repository.commit({"a.md": prose(1)})
    tripwire.unlink(missing_ok=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    assert "a.md" in branch.sync()
    assert not tripwire.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only the administrator may give files away")
def test_the_repository_of_another_user_is_read(branch: Branch, repository: Repository) -> None:
    repository.commit({"a.md": prose(1)})
    for path in [repository.folder, *repository.folder.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    plain = ["git", "status"]
    assert subprocess.run(plain, cwd=repository.folder, capture_output=True, timeout=60).returncode != 0
    assert branch.sync() == {"a.md": "live"}


def test_git_is_ended_at_its_time_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "git"
    slow.write_text(f"#!/bin/sh\nsleep 600 & echo $! > {tmp_path}/child\nsleep 600\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(GitFailed, match=r"longer than 0\.5 s"):
        Git(tmp_path, timeout_s=0.5)("version")
    child = int((tmp_path / "child").read_text())
    ends = time.monotonic() + SOON_S
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < ends, "what it started still runs"
        time.sleep(0.01)


def test_without_git_it_is_said_so(branch: Branch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SourceUnavailable, match="git cannot be run"):
        branch.source.list()


# Elsewhere.


def remote(database: Database, url: str, tmp_path: Path, branch: str | None = None) -> Branch:
    place = Remote(url, tmp_path / "kept" / "notes", branch=branch, timeout_s=60.0)
    return Branch(database, place, url)


@pytest.fixture
def server(repository: Repository) -> Iterator[GitServer]:
    made = GitServer(repository.folder.parent)
    yield made
    made.stop()


@pytest.fixture
def far(database: Database, server: GitServer, tmp_path: Path) -> Branch:
    return remote(database, f"{server.url}/repository/.git", tmp_path)


def test_a_repository_elsewhere_is_followed(
    far: Branch, repository: Repository, server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "FRESH_S", SOON_S)
    repository.commit({f"{n}.md": prose(n) for n in range(5)})
    assert far.sync().keys() == {f"{n}.md" for n in range(5)}
    server.asked.clear()
    assert far.source.ask() == Dirty()
    assert not [one for one in server.asked if "PACK" in one]
    far.rig.forget_outcomes()
    repository("mv", "0.md", "moved.md")
    (repository.folder / "1.md").unlink()
    repository.commit({"2.md": prose(22)})
    server.asked.clear()
    assert far.follow().keys() == {"moved.md", "2.md", "3.md", "4.md"}
    assert far.rig.results(Result.RENAMED) == ["moved.md"]
    assert sum("info/refs" in one for one in server.asked) == 2, "asked once, fetched once"
    assert far.bodies()["2.md"] == prose(22)


def test_a_worker_makes_no_copy_of_a_repository_elsewhere(
    far: Branch, database: Database, repository: Repository, server: GitServer, tmp_path: Path
) -> None:
    """What it misses it leaves to whoever watches."""
    repository.commit({"a.md": prose(1), "b.md": prose(2)})
    far.sync()
    place = Remote(f"{server.url}/repository/.git", tmp_path / "other", branch=None, timeout_s=60.0)
    worker = Branch(database, place, watches=False)
    repository.commit({"a.md": prose(3)})
    (repository.folder / "b.md").unlink()
    repository.commit()
    far.follow()
    server.asked.clear()
    worker.rig.reconciler.absent(worker.source, ["a.md", "b.md"])
    worker.rig.settle()
    assert worker.rig.states() == {"a.md": "live"}
    assert server.asked == []
    assert not (tmp_path / "other").exists()


def test_a_forced_push_elsewhere_is_followed(far: Branch, repository: Repository) -> None:
    start = repository.commit({"a.md": prose(1), "b.md": prose(2)})
    repository.commit({"a.md": prose(3)})
    far.sync()
    repository("reset", "--hard", "--quiet", start)
    repository.commit({"b.md": prose(4)})
    far.follow()
    assert far.bodies() == {"a.md": prose(1), "b.md": prose(4)}


def test_a_branch_elsewhere_that_is_deleted_retires_nothing(
    database: Database, repository: Repository, server: GitServer, tmp_path: Path
) -> None:
    repository("branch", "news")
    repository.commit({"a.md": prose(1)})
    repository("branch", "--force", "news", "main")
    far = remote(database, f"{server.url}/repository/.git", tmp_path, "news")
    far.sync()
    repository("branch", "-D", "news")
    with pytest.raises(SourceUnavailable, match="no branch news"):
        far.source.list()
    far.rig.scan()
    assert far.rig.states() == {"a.md": "live"}


def test_a_damaged_copy_is_made_again(far: Branch, repository: Repository, tmp_path: Path) -> None:
    repository.commit({"a.md": prose(1)})
    far.sync()
    (copy,) = (tmp_path / "kept").glob("notes/*.git")
    for path in (copy / "objects").rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.write_bytes(b"damaged")
    repository.commit({"a.md": prose(2)})
    far.rig.scan()
    assert far.sync() == {"a.md": "live"}
    assert far.bodies() == {"a.md": prose(2)}
    (copy / "HEAD").unlink()
    repository.commit({"a.md": prose(3)})
    assert far.sync() == {"a.md": "live"}
    assert far.bodies() == {"a.md": prose(3)}


def fetch(url: str, keep: Path) -> None:
    Remote(url, keep, branch=None, timeout_s=60.0).head()


@pytest.mark.parametrize("known", [False, True], ids=["clone", "fetch"])
def test_a_process_killed_while_it_fetches_harms_nothing(
    far: Branch, repository: Repository, server: GitServer, tmp_path: Path, known: bool
) -> None:
    repository.commit({"a.md": os.urandom(300_000)})
    if known:
        far.sync()
    repository.commit({"b.md": os.urandom(300_000), "c.md": prose(3)})
    server.stalls.set()
    url, keep = f"{server.url}/repository/.git", tmp_path / "kept" / "notes"
    process = multiprocessing.get_context("spawn").Process(target=fetch, args=(url, keep))
    process.start()
    assert server.stalled.wait(SOON_S)
    process.kill()
    process.join(SOON_S)
    server.stalls.clear()
    (copy,) = keep.glob("*.git")
    (copy / "refs").mkdir(exist_ok=True)
    (copy / "packed-refs.lock").write_bytes(b"")  # as one that was killed a moment later
    assert far.sync() == {"a.md": "skipped", "b.md": "skipped", "c.md": "live"}
    assert not list(copy.glob("objects/pack/tmp_*"))


def test_several_processes_may_fetch_at_once(
    far: Branch, repository: Repository, server: GitServer, tmp_path: Path
) -> None:
    repository.commit({f"{n}.md": prose(n) for n in range(20)})
    url, keep = f"{server.url}/repository/.git", tmp_path / "kept" / "notes"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=fetch, args=(url, keep)) for _ in range(2)]
    for process in processes:
        process.start()
    assert len(far.sync()) == 20
    for process in processes:
        process.join(SOON_S)
        assert process.exitcode == 0


def test_a_refused_password_and_an_unknown_certificate_are_told(
    database: Database, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit({"a.md": prose(1)})
    tls = certified(tmp_path)
    server = GitServer(repository.folder.parent, tls=tls, password="a-secret")
    url = f"{server.url}/repository/.git"
    given = ["wrong-secret"]
    place = Remote(url, tmp_path / "kept", branch=None, timeout_s=60.0, user="me", password=lambda: given[0])
    far = Branch(database, place, url)
    try:
        with pytest.raises(SourceUnavailable, match="certificate"):
            far.source.list()
        monkeypatch.setenv("GIT_SSL_CAINFO", str(tls.authority))
        with pytest.raises(SourceUnavailable, match=r"Authentication|terminal prompts") as refused:
            far.source.list()
        assert "secret" not in str(refused.value)
        given[0] = "a-secret"
        assert far.sync() == {"a.md": "live"}
        config = (next((tmp_path / "kept").glob("*.git")) / "config").read_text()
        assert "secret" not in config and "Authorization" not in config
    finally:
        server.stop()
    with pytest.raises(SourceUnavailable):
        far.source.list()
    far.rig.scan()
    assert far.rig.states() == {"a.md": "live"}


def ssh_is(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another program for ssh, which notes how it was called: there is no server for ssh everywhere."""
    (folder / "bin").mkdir()
    program, noted = folder / "bin" / "ssh", folder / "called"
    program.write_text(f'#!/bin/sh\necho "$@" >> {noted}\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    return noted


@pytest.mark.parametrize("url", ["ssh://git@127.0.0.1:2222{}", "git@127.0.0.1:{}"])
def test_a_repository_by_ssh_is_followed(
    database: Database, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    noted = ssh_is(tmp_path, 'for last; do :; done; exec sh -c "$last"', monkeypatch)
    far = remote(database, url.format(repository.folder), tmp_path)
    repository.commit({"a.md": prose(1)})
    assert far.sync() == {"a.md": "live"}
    repository.commit({"a.md": prose(2)})
    far.follow()
    assert far.bodies() == {"a.md": prose(2)}
    assert all("BatchMode=yes" in call and "git@127.0.0.1" in call for call in noted.read_text().splitlines())


def test_an_unknown_host_key_is_told(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh_is(tmp_path, "echo 'Host key verification failed.' >&2; exit 255", monkeypatch)
    far = remote(database, "ssh://git@127.0.0.1/x.git", tmp_path)
    with pytest.raises(SourceUnavailable, match=r"Host key verification failed"):
        far.source.list()


def test_an_empty_repository_elsewhere_is_told(
    database: Database, server: GitServer, tmp_path: Path, repository: Repository
) -> None:
    empty = repository.folder.with_name("empty")
    empty.mkdir()
    repository("init", "--quiet", "--bare", str(empty))
    far = remote(database, f"{server.url}/empty", tmp_path)
    with pytest.raises(SourceUnavailable, match="no commit yet"):
        far.source.list()


def test_an_object_format_of_sha256(database: Database, repository: Repository, tmp_path: Path) -> None:
    no_commit(repository)
    shutil.rmtree(repository.folder / ".git")
    repository("init", "--quiet", "--object-format=sha256", "--initial-branch=main")
    repository.commit({"a.md": prose(1)})
    far = remote(database, f"file://{repository.folder}", tmp_path)
    assert far.sync() == {"a.md": "live"}
    repository.commit({"a.md": prose(2)})
    far.follow()
    assert far.bodies() == {"a.md": prose(2)}
