"""A git repository, kept searchable by `headwater up`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.program import Program
from tests.repositories import Repository
from tests.servers.git import GitServer

SETTINGS = """
[[sources]]
name = "here"
kind = "git"
repository = "repository"
every_s = 0.2
[[sources]]
name = "far"
kind = "git"
repository = "{url}/repository/.git"
subfolder = "docs"
every_s = 0.2
"""
FERRY = "# Ferry {n}\n\nThe ferry number {n} leaves at {time} in the morning.\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    made = GitServer(tmp_path)
    yield made
    made.stop()


def test_commits_become_searchable_and_renames_embed_nothing(server: GitServer, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    files = {f"docs/{n}.md": FERRY.format(n=n, time="nine").encode() for n in range(5)}
    repository.commit(files | {"notes.md": b"# Notes\n\nNothing about boats here.\n"})
    config = tmp_path / "headwater.toml"
    config.write_text(SETTINGS.format(url=server.url).replace('"repository"', '"./repository"', 1))

    def shown(words: str) -> set[str]:
        hits = program.search("when does the ferry leave", top_k=50)
        return {f"{hit['source']}/{hit['uri']}" for hit in hits if words in hit["text"]}

    with Program(tmp_path / "data", "--config", config) as program:
        program.start().ready()
        everywhere = {f"here/docs/{n}.md" for n in range(5)} | {f"far/{n}.md" for n in range(5)}
        assert shown("leaves at nine") == everywhere
        repository.commit({"docs/3.md": FERRY.format(n=3, time="seven").encode()})
        edited = {"here/docs/3.md", "far/3.md"}
        program.until(lambda: shown("leaves at seven") == edited, what="the edit is found")
        embedded = program.texts_embedded()
        repository("mv", "docs/0.md", "docs/first.md")
        (repository.folder / "docs/4.md").unlink()
        repository.commit()
        moved = {"here/docs/first.md", "far/first.md"}
        program.until(lambda: moved <= shown("number 0"), what="the renames are found")
        program.until(lambda: not shown("number 4"), what="the deletions are found")
        assert shown("number 0") == moved
        assert program.texts_embedded() == embedded
        repository.folder.rename(tmp_path / "elsewhere")
        said = program.command("sync", "--config", config).stdout
        assert "cannot be looked at" in said
        assert shown("leaves at seven") == edited, "what is away takes nothing with it"
        assert program.texts_embedded() == embedded
