"""What ``headwater doctor`` says of the places of sources, and where paths among their settings lead."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.doctor_permissions import secrets
from ops.findings import Verdict
from ops.kinds.base import SourceSettings
from ops.kinds.git import GitSettings
from ops.kinds.objects import ObjectsSettings
from ops.settings import load
from tests.repositories import Repository

SETTINGS = """
[[sources]]
name = "here"
kind = "git"
repository = "{here}"
[[sources]]
name = "far"
kind = "git"
repository = "{far}"
password_file = "password"
[[sources]]
name = "papers"
kind = "objects"
bucket = "papers"
prefix = "docs/manual"
access_key_id = "AKEYID"
secret_access_key_file = "secret"
"""


def said(settings: SourceSettings) -> tuple[Verdict, str]:
    (found,) = settings.examined()
    return found.verdict, found.what


def test_the_repository_of_this_machine_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository(tmp_path / "there")
    commit = repository("rev-parse", "HEAD")
    there = GitSettings(name="g", repository=str(repository.folder))
    assert said(there) == (Verdict.OK, f"{repository.folder} is at commit {commit[:12]}")
    for wrong, words in (
        (there.model_copy(update={"branch": "gone"}), "no branch gone"),
        (there.model_copy(update={"repository": str(tmp_path / "nowhere")}), "No such file"),
    ):
        verdict, what = said(wrong)
        assert verdict is Verdict.WRONG and words in what
    monkeypatch.setenv("PATH", "/nowhere")
    assert said(there) == (Verdict.WRONG, "git is not installed.")


def test_secrets_of_sources_that_everybody_may_read_are_told(tmp_path: Path) -> None:
    for name in ("password", "secret"):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o604)
    config = tmp_path / "headwater.toml"
    config.write_text(SETTINGS.format(here="/here", far="https://git.example.com/x.git"))
    told = [one.what for one in secrets(load(config, environ={}))]
    assert [what.partition(" (")[2].partition(")")[0] for what in told] == [
        "password_file of the source far",
        "secret_access_key_file of the source papers",
    ]


def test_what_is_elsewhere_is_asked_nothing() -> None:
    for settings in (
        GitSettings(name="g", repository="git@127.0.0.1:x.git"),
        ObjectsSettings(name="o", bucket="papers", endpoint_url="https://127.0.0.1:9"),
    ):
        verdict, what = said(settings)
        assert verdict is Verdict.NOTE and settings.place in what


@pytest.mark.parametrize(
    ("here", "path"), [("./here", "here"), ("../here", "../here"), ("~/here", None), ("/here", "/here")]
)
def test_paths_begin_where_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: str, path: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config = tmp_path / "headwater.toml"
    config.write_text(SETTINGS.format(here=here, far="https://me@git.example.com/x.git"))
    local, far, papers = load(config, environ={}).sources
    wanted = tmp_path / "home" / "here" if path is None else (tmp_path / path)
    assert local.place == str(wanted.parent.resolve() / wanted.name)
    assert isinstance(far, GitSettings) and isinstance(papers, ObjectsSettings)
    assert (far.place, far.password_file) == ("https://me@git.example.com/x.git", tmp_path / "password")
    assert (papers.place, papers.secret_access_key_file) == ("s3://papers/docs/manual/", tmp_path / "secret")
