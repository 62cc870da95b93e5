"""A branch of a git repository."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from ops.findings import Finding, note, ok, wrong
from ops.kinds.base import Means, SourceSettings, one_schedule
from ops.kinds.files import Patterns
from ops.schedules import Cron, Every, Schedule
from ops.secret_file import read_secret
from ops.settings_types import AbsolutePath, Count, CronLine, Seconds

if TYPE_CHECKING:
    from ingestion.sources.git.places import Place
    from ingestion.sources.git.source import GitSource

LOCAL_EVERY_S = 1.0  # a question takes 3 ms
REMOTE_EVERY_S = 60.0
_SCHEMES = ("https", "ssh", "file", "http")
_AS_SCP = re.compile(r"[\w][\w.+-]*@[\w][\w.-]*:[^\s]+")  # git@github.com:owner/name.git
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NO_BRANCH = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|^[-/.]|[/.]$|^@$")


def _a_repository(value: str) -> str:
    if _CONTROL.search(value) or not value.strip() or value.startswith("-"):
        raise ValueError("is no repository; write a path, or a URL of https, ssh or file.")
    if "://" not in value:
        if not _AS_SCP.fullmatch(value) and not Path(value).is_absolute():
            raise ValueError(
                f"{value[:80]!r} is no repository; write the whole path, or a URL of https, ssh or file."
            )
        return value
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in _SCHEMES or parts.query or parts.fragment:
        raise ValueError("is no URL of a repository; write one of https, ssh or file.")
    if parts.password is not None:
        raise ValueError("holds a password; write it to a file, and name that as password_file.")
    if (parts.hostname or "").startswith("-") or bool(parts.hostname) == (parts.scheme == "file"):
        raise ValueError("is no URL of a repository; write https://host/path, or file:///path.")
    return value


def _a_branch(value: str) -> str:
    if _NO_BRANCH.search(value):
        raise ValueError(f"{value[:80]!r} is no name of a branch.")
    return value


def _a_subfolder(value: str) -> str:
    parts = value.strip("/").split("/")
    if value and (_CONTROL.search(value) or any(part in ("", ".", "..") for part in parts)):
        raise ValueError(f"{value[:80]!r} is no folder of a repository; write it as docs/manual.")
    return value.strip("/")


def copy_of(name: str, data: Path) -> Path:
    """Where the copy of a repository elsewhere is kept."""
    return data / "git" / name


class GitSettings(SourceSettings):
    """The files of a branch of a git repository, on this machine or elsewhere."""

    kind: Literal["git"] = "git"
    repository: Annotated[
        str, AfterValidator(_a_repository), Field(description="its path, or a URL of https, ssh or file")
    ]
    branch: Annotated[
        str | None, AfterValidator(lambda value: None if value is None else _a_branch(value))
    ] = Field(default=None, description="the branch; unset, the one that its HEAD names")
    subfolder: Annotated[
        str, AfterValidator(_a_subfolder), Field(description="only what lies below this folder")
    ] = ""
    include: Annotated[Patterns, Field(description="patterns as in .gitignore of what is taken")] = ()
    exclude: Annotated[Patterns, Field(description="patterns of what is left out")] = ()
    password_file: Annotated[
        AbsolutePath | None, Field(description="a file with the password or token for https")
    ] = None
    every_s: Annotated[Seconds | None, Field(ge=0.1, description="seconds between questions for news")] = None
    list_every_s: Annotated[Seconds, Field(ge=1, description="seconds between complete listings")] = 3600.0
    cron: Annotated[
        CronLine | None, Field(description="when to list instead, as in a crontab and in UTC: 30 2 * * *")
    ] = None
    max_file_bytes: Annotated[
        Count, Field(ge=1, le=64 * 1024 * 1024, description="larger files are skipped")
    ] = 16 * 1024 * 1024
    timeout_s: Annotated[Seconds, Field(ge=1, description="how long git may take for one thing")] = 600.0

    @model_validator(mode="after")
    def _makes_sense(self) -> GitSettings:
        one_schedule(self, "list_every_s", "cron")
        if self.password_file is not None and urlsplit(self.repository).scheme != "https":
            raise ValueError("has a password_file, which is for a repository by https.")
        return self

    @property
    def place(self) -> str:
        return self.repository

    @property
    def schedule(self) -> Schedule:
        return Every(self.list_every_s) if self.cron is None else Cron(self.cron)

    def source(self, means: Means) -> GitSource:
        from ingestion.sources.git.source import GitSource

        usual_s = LOCAL_EVERY_S if self._is_local else REMOTE_EVERY_S
        return GitSource(
            self.name,
            means.ledger.kept,
            self._place(means.data),
            location=self.place,
            subfolder=f"{self.subfolder}/" if self.subfolder else "",
            include=self.include,
            exclude=self.exclude,
            max_file_bytes=self.max_file_bytes,
            every_s=usual_s if self.every_s is None else self.every_s,
            clock=means.clock,
        )

    def examined(self) -> Iterator[Finding]:
        about = f"source {self.name}"
        if shutil.which("git") is None:
            yield wrong(about, "git is not installed.", "Install it: sources of the kind git need it.")
        elif not self._is_local:
            yield note(about, f"is at {self.place}; its listings say whether it answers.")
        else:
            yield self._examined_in_place(about)

    def _examined_in_place(self, about: str) -> Finding:
        from ingestion.sources.git.program import GitFailed

        try:
            commit = self._place(Path()).head()
        except GitFailed as fault:
            what = f"{self.place} cannot be read: {fault.said}."
            return wrong(about, what, "Correct repository or branch.")
        return ok(about, f"{self.place} is at commit {commit[:12]}")

    @property
    def _is_local(self) -> bool:
        return Path(self.repository).is_absolute()

    def _place(self, data: Path) -> Place:
        from ingestion.sources.git.places import Local, Remote

        if self._is_local:
            return Local(Path(self.repository), branch=self.branch, timeout_s=self.timeout_s)
        file = self.password_file
        parts = urlsplit(self.repository) if "://" in self.repository else None
        url, user = self.repository, None
        if parts is not None and parts.scheme in ("http", "https"):
            user, url = parts.username, parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        return Remote(
            url,
            copy_of(self.name, data),
            branch=self.branch,
            timeout_s=self.timeout_s,
            user=user,
            password=None
            if file is None
            else lambda: read_secret(file, setting="password_file", what="The password"),
        )
