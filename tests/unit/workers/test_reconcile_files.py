"""Every change of a folder, found by a listing and by hints: the same end, and nothing embedded twice."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.objectives import Kind
from ingestion.sources.files import FilesSource
from ingestion.sources.paths import uri_of
from ingestion.sources.settling import Batch
from tests.rig import SOURCE, Rig, from_scratch
from workers.outcomes import Result

QUESTIONS = ("common words", "alpha", "changed")


class Folder:
    """A folder with a pipeline behind it. ``notice`` is how changes come to be known."""

    def __init__(self, root: Path, rig: Rig, *, by_hints: bool) -> None:
        self.root = root
        self.rig = rig
        self._by_hints = by_hints

    def write(self, uri: str, text: str) -> Path:
        path = self.root / uri
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def notice(self, *uris: str, subtrees: tuple[str, ...] = ()) -> None:
        self.rig.forget_outcomes()
        if self._by_hints:
            self.rig.look(*uris, subtrees=subtrees)
        else:
            self.rig.scan()
        self.rig.settle()
        self.rig.consistent()

    def texts(self) -> dict[str, str]:
        """The live text of each document, chunks joined."""
        found: dict[str, list[str]] = {uri: [] for uri in self.rig.states()}
        for uri, *_, text in self.rig.passages():
            found[uri].append(text)
        return {uri: "|".join(texts) for uri, texts in found.items()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "folder"
    root.mkdir()
    for name in ("alpha", "beta", "gamma"):
        (root / f"{name}.md").write_text(f"common words of {name}")
    return root


@pytest.fixture(params=["listing", "hints"])
def folder(request: pytest.FixtureRequest, root: Path, database: Database) -> Iterator[Folder]:
    rig = Rig(database, [FilesSource(SOURCE, root, clock=SystemClock())])
    rig.recover()
    rig.sync()
    assert set(rig.states().values()) == {"live"}
    folder = Folder(root, rig, by_hints=request.param == "hints")
    yield folder
    scratch = from_scratch(
        root.parent / "scratch", [FilesSource(SOURCE, root, clock=SystemClock())], QUESTIONS
    )
    if "held" not in rig.states().values():
        rig.sweep()
        assert rig.passages() == scratch[0]
        assert {question: rig.answers(question) for question in QUESTIONS} == scratch[1]


def test_a_new_file(folder: Folder) -> None:
    folder.write("new.md", "common words of a new one")
    folder.notice("new.md")
    assert folder.texts()["new.md"] == "common words of a new one"


def test_an_edit(folder: Folder) -> None:
    folder.write("alpha.md", "changed words")
    folder.notice("alpha.md")
    assert folder.texts()["alpha.md"] == "changed words"
    assert folder.rig.embedder.texts == ["changed words"]


def test_an_append_and_a_truncation(folder: Folder) -> None:
    with (folder.root / "alpha.md").open("a") as file:
        file.write("\n\nand appended words")
    (folder.root / "beta.md").write_text("")
    folder.notice("alpha.md", "beta.md")
    assert folder.texts()["alpha.md"].endswith("and appended words")
    assert folder.texts()["beta.md"] == ""
    assert folder.rig.states()["beta.md"] == "live"


def test_a_deletion(folder: Folder) -> None:
    (folder.root / "alpha.md").unlink()
    folder.notice("alpha.md")
    assert sorted(folder.texts()) == ["beta.md", "gamma.md"]
    assert folder.rig.results(Result.RETIRED) == ["alpha.md"]
    (told,) = (one for one in folder.rig.outcomes if one.result is Result.RETIRED)
    assert told.changed_at is not None and told.observed_at is not None
    assert told.changed_at <= told.observed_at <= told.finished_at
    sizes = folder.rig.ledger.punctuality.last_hour()
    assert sum(sizes[SOURCE, Kind.DELETION].values()) == 1


def test_a_file_that_comes_back_keeps_its_document(folder: Folder) -> None:
    before = folder.rig.document_ids()["alpha.md"]
    (folder.root / "alpha.md").unlink()
    folder.notice("alpha.md")
    folder.write("alpha.md", "common words of alpha")
    folder.notice("alpha.md")
    assert folder.rig.document_ids()["alpha.md"] == before
    assert folder.texts()["alpha.md"] == "common words of alpha"
    assert folder.rig.embedder.texts == []  # its vector was not swept yet


def test_an_atomic_save(folder: Folder) -> None:
    before = folder.rig.document_ids()["alpha.md"]
    folder.write(".alpha.md.swp", "changed words").rename(folder.root / "alpha.md")
    folder.notice("alpha.md")
    assert folder.texts()["alpha.md"] == "changed words"
    assert folder.rig.document_ids()["alpha.md"] == before


def test_an_unlink_and_create_as_git_does(folder: Folder) -> None:
    before = folder.rig.document_ids()["alpha.md"]
    (folder.root / "alpha.md").unlink()
    folder.write("alpha.md", "changed words")
    folder.notice("alpha.md")
    assert folder.texts()["alpha.md"] == "changed words"
    assert folder.rig.document_ids()["alpha.md"] == before


def test_a_rename_embeds_nothing_and_keeps_the_document(folder: Folder) -> None:
    before = folder.rig.document_ids()["alpha.md"]
    (folder.root / "alpha.md").rename(folder.root / "delta.md")
    folder.notice("alpha.md", "delta.md")
    assert folder.rig.document_ids()["delta.md"] == before
    assert "alpha.md" not in folder.rig.states()
    assert folder.rig.embedder.texts == []
    assert folder.rig.results(Result.RENAMED) == ["delta.md"]


def test_a_rename_of_which_one_end_only_is_hinted(folder: Folder) -> None:
    before = folder.rig.document_ids()["alpha.md"]
    (folder.root / "alpha.md").rename(folder.root / "delta.md")
    folder.notice("delta.md")
    assert folder.rig.document_ids()["delta.md"] == before
    folder.notice("alpha.md")
    assert folder.rig.results(Result.RETIRED) == []
    assert folder.rig.document_ids()["delta.md"] == before


def test_a_rename_that_copies_is_known_by_its_content(folder: Folder) -> None:
    before = folder.rig.document_ids()["alpha.md"]
    shutil.copy(folder.root / "alpha.md", folder.root / "delta.md")
    (folder.root / "alpha.md").unlink()
    folder.notice("alpha.md", "delta.md")
    assert folder.rig.document_ids()["delta.md"] == before
    (folder.root / "delta.md").rename(folder.root / "last.md")  # known by its look again
    folder.notice("last.md")
    assert folder.rig.document_ids()["last.md"] == before
    assert folder.rig.embedder.texts == []


def test_a_rename_of_case_only(folder: Folder) -> None:
    before = folder.rig.document_ids()["alpha.md"]
    (folder.root / "alpha.md").rename(folder.root / "ALPHA.md")
    folder.notice("alpha.md", "ALPHA.md")
    assert folder.rig.document_ids()["ALPHA.md"] == before
    assert folder.rig.embedder.texts == []


def test_a_rename_that_changes_the_format_is_read_in_the_new_one(folder: Folder) -> None:
    folder.write("page.md", "# A heading\n\ncommon words")
    folder.notice("page.md")
    (folder.root / "page.md").rename(folder.root / "page.txt")
    folder.notice("page.md", "page.txt")
    paths = {path for uri, _, _, path, _ in folder.rig.passages() if uri == "page.txt"}
    assert paths == {()}  # plain text knows no headings


def test_an_edit_and_a_rename_at_once(folder: Folder) -> None:
    folder.write("alpha.md", "changed words")
    (folder.root / "alpha.md").rename(folder.root / "delta.md")
    folder.notice("alpha.md", "delta.md")
    assert folder.texts()["delta.md"] == "changed words"
    assert "alpha.md" not in folder.rig.states()


@pytest.mark.parametrize("moved", [{"a/x.md": "b/y.md"}, {"a/": "b/", "b/x.md": "b/y.md"}])
def test_a_rename_before_an_edit_is_published_leaves_no_gap(folder: Folder, moved: dict[str, str]) -> None:
    """Its live passages are served under the new name until the edit is published there."""
    folder.write("a/x.md", "old words")
    folder.notice("a/x.md")
    document_id = folder.rig.document_ids()["a/x.md"]
    folder.write("a/x.md", "changed words")
    folder.rig.look("a/x.md")
    (folder.root / "a").rename(folder.root / "b")
    (folder.root / "b/x.md").rename(folder.root / "b/y.md")
    folder.rig.reconciler.look(folder.rig.sources[SOURCE], Batch(("a/x.md", "b/y.md"), (), moved))
    assert folder.texts()["b/y.md"] == "old words"
    assert folder.rig.document_ids()["b/y.md"] == document_id
    assert "a/x.md" not in folder.rig.states()
    folder.rig.settle()
    assert folder.texts()["b/y.md"] == "changed words"
    assert folder.rig.document_ids()["b/y.md"] == document_id


def test_a_document_never_published_is_new_under_its_new_name(folder: Folder) -> None:
    folder.write("a.md", "new words")
    folder.rig.look("a.md")
    (folder.root / "a.md").rename(folder.root / "b.md")
    batch = Batch(("a.md", "b.md"), (), {"a.md": "b.md"})
    folder.rig.reconciler.look(folder.rig.sources[SOURCE], batch)
    folder.rig.settle()
    assert folder.texts()["b.md"] == "new words"
    assert folder.rig.results(Result.RENAMED) == []


def test_a_rename_onto_an_existing_file_keeps_the_replaced_document(folder: Folder) -> None:
    ids = folder.rig.document_ids()
    (folder.root / "alpha.md").rename(folder.root / "beta.md")
    folder.notice("alpha.md", "beta.md")
    assert folder.rig.document_ids() == {"beta.md": ids["beta.md"], "gamma.md": ids["gamma.md"]}
    assert folder.texts()["beta.md"] == "common words of alpha"
    assert folder.rig.embedder.texts == []


def test_a_rename_onto_a_tombstone(folder: Folder) -> None:
    ids = folder.rig.document_ids()
    (folder.root / "beta.md").unlink()
    folder.notice("beta.md")
    (folder.root / "alpha.md").rename(folder.root / "beta.md")
    folder.notice("alpha.md", "beta.md")
    assert folder.rig.document_ids() == {"beta.md": ids["alpha.md"], "gamma.md": ids["gamma.md"]}
    assert folder.texts()["beta.md"] == "common words of alpha"
    assert folder.rig.embedder.texts == []


def test_two_files_that_swap_their_names(folder: Folder) -> None:
    (folder.root / "alpha.md").rename(folder.root / "tmp.md")
    (folder.root / "beta.md").rename(folder.root / "alpha.md")
    (folder.root / "tmp.md").rename(folder.root / "beta.md")
    folder.notice("alpha.md", "beta.md", "tmp.md")
    assert folder.texts()["alpha.md"] == "common words of beta"
    assert folder.texts()["beta.md"] == "common words of alpha"
    assert folder.rig.embedder.texts == []


def test_a_chain_of_renames(folder: Folder) -> None:
    (folder.root / "gamma.md").rename(folder.root / "delta.md")
    (folder.root / "beta.md").rename(folder.root / "gamma.md")
    (folder.root / "alpha.md").rename(folder.root / "beta.md")
    folder.notice("alpha.md", "beta.md", "gamma.md", "delta.md")
    assert folder.texts() == {
        "beta.md": "common words of alpha",
        "gamma.md": "common words of beta",
        "delta.md": "common words of gamma",
    }
    assert folder.rig.embedder.texts == []


def test_a_copy_embeds_nothing(folder: Folder) -> None:
    shutil.copy(folder.root / "alpha.md", folder.root / "copy.md")
    folder.notice("copy.md")
    assert folder.texts()["copy.md"] == folder.texts()["alpha.md"]
    assert folder.rig.embedder.texts == []


def test_hard_links_are_documents_of_their_own(folder: Folder) -> None:
    before = folder.rig.document_ids()["alpha.md"]
    os.link(folder.root / "alpha.md", folder.root / "link.md")
    folder.notice("link.md")
    assert folder.rig.document_ids()["alpha.md"] == before
    os.link(folder.root / "alpha.md", folder.root / "link 2.md")
    (folder.root / "alpha.md").unlink()
    (folder.root / "link.md").unlink()
    folder.notice("alpha.md", "link.md", "link 2.md")
    assert sorted(folder.texts()) == ["beta.md", "gamma.md", "link 2.md"]
    assert folder.rig.results(Result.RENAMED) == []  # which of the two it was, nobody can say
    assert folder.rig.embedder.texts == []


def test_a_rename_of_a_directory(folder: Folder) -> None:
    for number in range(12):
        folder.write(f"old/deep/{number}.md", f"common words {number}")
    folder.notice(subtrees=("old/",))
    before = folder.rig.document_ids()
    (folder.root / "old").rename(folder.root / "new")
    folder.notice(subtrees=("old/", "new/"))
    assert folder.rig.document_ids() == {uri.replace("old/", "new/"): key for uri, key in before.items()}
    assert folder.rig.embedder.texts == []
    assert "held" not in folder.rig.states().values()


def test_a_directory_moved_out_and_in_again(folder: Folder, tmp_path: Path) -> None:
    for number in range(4):
        folder.write(f"sub/{number}.md", f"common words {number}")
    folder.notice(subtrees=("sub/",))
    before = folder.rig.document_ids()
    (folder.root / "sub").rename(tmp_path / "outside")
    folder.notice(subtrees=("sub/",))
    assert sorted(folder.texts()) == ["alpha.md", "beta.md", "gamma.md"]
    (tmp_path / "outside").rename(folder.root / "sub")
    folder.notice(subtrees=("sub/",))
    assert folder.rig.document_ids() == before
    assert folder.rig.embedder.texts == []


def test_a_file_replaced_by_a_directory_and_back(folder: Folder) -> None:
    (folder.root / "alpha.md").unlink()
    folder.write("alpha.md/inner.md", "inner words")
    folder.notice("alpha.md", subtrees=("alpha.md/",))
    assert sorted(folder.texts()) == ["alpha.md/inner.md", "beta.md", "gamma.md"]
    shutil.rmtree(folder.root / "alpha.md")
    folder.write("alpha.md", "a file again")
    folder.notice("alpha.md", subtrees=("alpha.md/",))
    assert folder.texts()["alpha.md"] == "a file again"
    assert "alpha.md/inner.md" not in folder.texts()


def test_a_change_of_the_same_size_and_mtime(folder: Folder) -> None:
    path = folder.root / "alpha.md"
    times = path.stat()
    path.write_text(path.read_text().replace("alpha", "ahpla"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    folder.notice("alpha.md")
    assert folder.texts()["alpha.md"] == "common words of ahpla"


@pytest.mark.parametrize(
    "name",
    [
        "two words.md",
        " leading.md",
        "new\nline.md",
        "tab\t.md",
        "Grüße.md",
        "e\u0301.md",
        "日本.md",
        "100%.md",
        "%41.md",
        "'\"`$.md",
    ],
)
def test_names(folder: Folder, name: str) -> None:
    path = folder.write(f"in {name}/{name}", "named words")
    prefix = f"in {uri_of(name)}/"
    folder.notice(subtrees=(prefix,))
    assert list(folder.texts().values()).count("named words") == 1
    path.unlink()
    folder.notice(subtrees=(prefix,))
    assert "named words" not in folder.texts().values()


def test_a_name_that_is_no_unicode(folder: Folder) -> None:
    path = os.fsencode(folder.root) + b"/caf\xe9.md"
    Path(os.fsdecode(path)).write_text("bytes words")
    folder.notice("caf%E9.md")
    assert folder.texts()["caf%E9.md"] == "bytes words"
    Path(os.fsdecode(path)).unlink()
    folder.notice("caf%E9.md")
    assert "caf%E9.md" not in folder.texts()


def test_what_becomes_too_large_is_withdrawn_and_what_shrinks_returns(root: Path, database: Database) -> None:
    source = FilesSource(SOURCE, root, clock=SystemClock(), max_file_bytes=100)
    rig = Rig(database, [source])
    rig.recover()
    rig.sync()
    for by_hints in (False, True):

        def notice(hinted: bool = by_hints) -> None:
            if hinted:
                rig.look("alpha.md")
            else:
                rig.scan()
            rig.settle()

        (root / "alpha.md").write_text("large words " * 20)
        notice()
        assert rig.states()["alpha.md"] == "skipped"
        assert "alpha.md" not in {uri for uri, *_ in rig.passages()}
        (root / "alpha.md").write_text("small again")
        notice()
        assert rig.states()["alpha.md"] == "live"


def test_a_rename_to_an_excluded_name_is_a_deletion(folder: Folder) -> None:
    (folder.root / "alpha.md").rename(folder.root / "alpha.md~")
    folder.notice("alpha.md")
    assert sorted(folder.texts()) == ["beta.md", "gamma.md"]


def test_nothing_changed_reads_nothing(folder: Folder) -> None:
    old = folder.rig.clock.now() - 1000
    for path in folder.root.iterdir():
        os.utime(path, (old, old))
    folder.notice("alpha.md", "beta.md", "gamma.md")
    before = {uri: folder.rig.ledger.views.named(SOURCE, uri) for uri in folder.rig.states()}
    folder.notice("alpha.md", "beta.md", "gamma.md")
    assert folder.rig.embedder.texts == []
    after = {uri: folder.rig.ledger.views.named(SOURCE, uri) for uri in folder.rig.states()}
    assert {uri: view and view.published_at for uri, view in after.items()} == {
        uri: view and view.published_at for uri, view in before.items()
    }
