from __future__ import annotations

import pytest

from ingestion.errors import WrongSettings
from ingestion.sources.patterns import Patterns


def taken(paths: list[str], **settings: list[str]) -> set[str]:
    patterns = Patterns(**settings)
    return {path for path in paths if patterns.takes(path)}


@pytest.mark.parametrize(
    "path",
    [
        ".hidden.md",
        ".git/config",
        "sub/.git/config",
        ".obsidian/workspace.json",
        "node_modules/left-pad/README.md",
        "web/node_modules/left-pad/README.md",
        ".venv/lib/README.md",
        "venv/lib/README.md",
        "lib/python3.11/site-packages/x/README.md",
        "pkg/__pycache__/x.md",
        "notes.md~",
        ".notes.md.swp",
        "notes.md.swp",
        ".#notes.md",
        "#notes.md#",
        "4913",
        "upload.tmp",
        "movie.part",
        "page.crdownload",
        "~$report.docx",
        ".goutputstream-ABC123",
        ".~lock.report.odt#",
        "notes.md.___jb_tmp___",
    ],
)
def test_left_out_by_default(path: str) -> None:
    assert taken([path]) == set()


@pytest.mark.parametrize(
    "path",
    [
        "notes.md",
        "a/b/c/notes.md",
        "build/notes.md",
        "target/notes.md",
        "vendor/notes.md",
        "env/notes.md",
        "49130",
        "C#/notes.md",
        "C#",
        "a.tmp.md",
        "part/one.md",
        "line\nbreak.md",
        "no suffix",
        "100%.md",
        "\udcff.md",
    ],
)
def test_taken_by_default(path: str) -> None:
    assert taken([path]) == {path}


def test_exclude_reads_as_gitignore() -> None:
    paths = [
        "a.png",
        "sub/a.png",
        "drafts/x.md",
        "sub/drafts/x.md",
        "drafts",
        "top.md",
        "sub/top.md",
        "keep.png",
    ]
    assert taken(paths, exclude=["*.png", "!keep.png", "drafts/", "/top.md", "# a comment", ""]) == {
        "drafts",
        "sub/top.md",
        "keep.png",
    }


def test_a_file_below_an_excluded_folder_cannot_be_brought_back() -> None:
    assert taken(["drafts/x.md"], exclude=["drafts/", "!drafts/x.md"]) == set()


def test_only_what_include_matches_is_taken() -> None:
    paths = ["a.md", "sub/b.md", "sub/c.txt", "docs/d.txt", "docs/deep/e.txt", "draft.md"]
    assert taken(paths, include=["*.md", "docs/", "!draft.md"]) == {
        "a.md",
        "sub/b.md",
        "docs/d.txt",
        "docs/deep/e.txt",
    }


def test_exclude_beats_include() -> None:
    assert taken(["a.md", "b.md"], include=["*.md"], exclude=["b.md"]) == {"a.md"}


def test_a_wildcard_does_not_reach_what_the_defaults_leave_out() -> None:
    paths = [".hidden.md", ".git/x.md", "node_modules/y/README.md", "a.md", "a.md~"]
    assert taken(paths, include=["*.md", "*", "**"]) == {"a.md"}


def test_a_pattern_that_names_it_brings_it_back() -> None:
    paths = [
        ".github/w/ci.yml",
        ".git/config",
        ".github/.git/x",
        "node_modules/ours/README.md",
        "a.md",
        "x.tmp",
    ]
    assert taken(paths, include=[".github/", "/node_modules/ours/", "*.tmp", "*.md"]) == {
        ".github/w/ci.yml",
        "node_modules/ours/README.md",
        "a.md",
        "x.tmp",
    }


def test_a_negated_exclude_adds_to_the_defaults() -> None:
    paths = [".github/ci.yml", ".hidden", "a.md"]
    assert taken(paths, exclude=["!.github/"]) == {".github/ci.yml", "a.md"}


def test_line_breaks_in_names_match_like_any_letter() -> None:
    paths = ["a\nb.md", "x.md\n", "d\n/x.md"]
    assert taken(paths, include=["*.md"]) == {"a\nb.md", "d\n/x.md"}


def test_every_faulty_pattern_is_named() -> None:
    with pytest.raises(WrongSettings) as refused:
        Patterns(exclude=["!", "*.md", "[z-a]", "end\\"])
    assert "'!', '[z-a]', 'end" in refused.value.message


def test_the_memory_of_folders_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestion.sources.patterns._REMEMBERED_DIRECTORIES", 10)
    patterns = Patterns(exclude=["7/"])
    for _ in range(2):
        assert [n for n in range(50) if not patterns.takes(f"{n}/sub/x.md")] == [7]
    assert len(patterns._reached) <= 12


@pytest.mark.parametrize(
    ("path", "settings", "why"),
    [
        ("notes.md", {}, None),
        ("a/.git/b/c.md", {}, "its folder a/.git is left out by default (.*)"),
        ("web/node_modules/x.md", {}, "its folder web/node_modules is left out by default (node_modules)"),
        ("x.swp", {}, "it is left out by default (*.sw[a-p])"),
        ("a.txt", {"include": ["*.md", "*.rst"]}, "it is taken by no pattern of include (*.md, *.rst)"),
        ("a/b.log", {"exclude": ["*.txt", "*.log"]}, "it is left out by exclude (*.log)"),
        ("a/b.log", {"exclude": ["*.log", "!b.log"]}, None),
        ("a/b.log", {"exclude": ["*.log", "!b.log", "a/*"]}, "it is left out by exclude (a/*)"),
        ("drafts/2/a.md", {"exclude": ["drafts/"]}, "its folder drafts is left out by exclude (drafts/)"),
        (".github/a.yml", {"include": [".github/"]}, None),
        (".github/a.md", {"exclude": ["!.github/", "*.md"]}, "it is left out by exclude (*.md)"),
        ("caf\udce9/.x", {"exclude": ["caf*"]}, "its folder caf%E9 is left out by exclude (caf*)"),
    ],
)
def test_why_something_is_left_out(path: str, settings: dict[str, list[str]], why: str | None) -> None:
    patterns = Patterns(**settings)
    assert patterns.why_not(path) == why
    assert patterns.takes(path) is (why is None)
