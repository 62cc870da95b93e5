"""Where a repository is: on this machine, where it is read in place, or elsewhere, of which a copy is kept.

Nothing is ever written to a repository that is not our own copy. A copy can be made again at any time: one
that turns out to be damaged is thrown away.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from ingestion.machine import machine_id
from ingestion.records import Root
from ingestion.sources.git.program import Git, GitFailed

ASK_S = 20.0  # for the head alone
PAUSE_S = 0.05
_HEAD = "refs/headwater/head"
_SHA256 = 64  # letters of such an object's name

Secret = Callable[[], str]
"""Reads a password. May raise Misconfigured."""


class Place(Protocol):
    """Any thread may call, at any time."""

    @property
    def git(self) -> Git:
        """For reading what ``head`` has named."""

    def root(self) -> Root:
        """Cheaply, and never raises."""

    def head(self, age_s: float = 0.0) -> str:
        """The commit that the branch is at, now or so many seconds ago, all of it readable. Raises
        GitFailed."""

    @property
    def is_copy(self) -> bool:
        """Whether it can be made again."""

    def make_again(self) -> None:
        """Reading a copy failed."""


class Local:
    """A repository on this machine."""

    def __init__(self, folder: Path, *, branch: str | None, timeout_s: float) -> None:
        self._folder = folder
        self._branch = branch
        self._timeout_s = timeout_s

    @property
    def git(self) -> Git:
        own = self._folder / ".git"  # a folder, or of a linked working tree a file that names one
        return Git(own if own.exists() else self._folder, timeout_s=self._timeout_s)

    def root(self) -> Root:
        try:
            self._folder.stat()
        except OSError as error:
            return Root(present=False, device=None, reason=error.strerror or "it is not there")
        return Root(present=True, device=None, machine=machine_id())

    def head(self, age_s: float = 0.0) -> str:
        root, git = self.root(), self.git
        if not root.present:
            raise GitFailed(root.reason, None)
        name = "HEAD" if self._branch is None else f"refs/heads/{self._branch}"
        try:
            return git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").decode("ascii").strip()
        except GitFailed as fault:
            raise self._why_not(git, name, fault) from None

    is_copy = False

    def make_again(self) -> None:
        raise NotImplementedError("it is somebody's own")

    def _why_not(self, git: Git, name: str, fault: GitFailed) -> GitFailed:
        if fault.code is None:
            return fault
        try:
            git("rev-parse", "--git-dir")
        except GitFailed as no_repository:
            return no_repository
        with contextlib.suppress(GitFailed):
            git("rev-parse", "--verify", "--quiet", name)
            return GitFailed("its last commit is lacking or damaged", None)
        return GitFailed(_no_branch(self._branch), None)


class Remote:
    """A repository elsewhere, of which the history of one branch is kept below a folder of ours.

    Plain: where the contents of files are left out, git fetches each when it is read, one after the other.
    """

    def __init__(
        self,
        url: str,
        keep: Path,
        *,
        branch: str | None,
        timeout_s: float,
        user: str | None = None,
        password: Secret | None = None,
    ) -> None:
        """``keep``: a folder for this source alone; it is made. ``url`` names no user but one of ssh."""
        self._url = url
        self._keep = keep
        self._folder = keep / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.git"
        self._branch = branch
        self._timeout_s = timeout_s
        self._user, self._password = user, password
        self._turn = threading.Lock()
        self._last: tuple[float, str] = (float("-inf"), "")

    @property
    def git(self) -> Git:
        return Git(self._folder, timeout_s=self._timeout_s)

    def root(self) -> Root:
        """That it cannot be reached is a fault of the look. Empty where there is no copy yet: a worker that
        was not asked to make one leaves what is missing to whoever watches."""
        return Root(present=True, device=None, empty=not self._folder.exists())

    def head(self, age_s: float = 0.0) -> str:
        asked_at, head = self._last
        now = time.monotonic()
        if now - asked_at >= age_s:
            head = self._head()
            self._last = now, head
        return head

    def _head(self) -> str:
        asking = self._asking()
        told = self._told(asking)
        if self._known() == told:
            return told
        with self._turn, self._alone() as lock:
            if not self._is_whole():
                self._make(len(told))
            if self._known() != told:
                self._fetch(asking, lock)
            known = self._known()
        if known is None:
            raise GitFailed("what was fetched is no commit", None)
        return known

    is_copy = True

    def make_again(self) -> None:
        self._last = float("-inf"), ""
        with self._turn, self._alone():
            shutil.rmtree(self._folder, ignore_errors=True)

    def _asking(self) -> Git:
        """Git as it asks others: with the password, which reading needs not."""
        settings: list[tuple[str, str]] = []
        if self._password is not None:
            given = f"{self._user or 'git'}:{self._password()}".encode()
            basic = base64.b64encode(given).decode("ascii")
            settings = [(f"http.{self._url}.extraHeader", f"Authorization: Basic {basic}")]
        return Git(self._folder, timeout_s=self._timeout_s, settings=settings)

    def _told(self, git: Git) -> str:
        limit_s = min(ASK_S, self._timeout_s)
        words = ("ls-remote", "--quiet", "--", self._url, self._wanted)
        answer = git(*words, transport=_transport(self._url), timeout_s=limit_s).decode("utf-8", "replace")
        for line in answer.splitlines():  # names that end with this one are told as well
            commit, _, name = line.partition("\t")
            if name == self._wanted:
                return commit
        raise GitFailed(_no_branch(self._branch), None)

    @property
    def _wanted(self) -> str:
        return "HEAD" if self._branch is None else f"refs/heads/{self._branch}"

    def _known(self) -> str | None:
        with contextlib.suppress(GitFailed):
            answer = self.git("rev-parse", "--verify", "--quiet", f"{_HEAD}^{{commit}}")
            return answer.decode("ascii").strip()
        return None

    def _fetch(self, git: Git, lock: int) -> None:
        """What was killed while it fetched leaves its locks and what it had: both are removed first. The lock
        is handed on: it is held as long as this git runs, whatever becomes of this process."""
        for left in [*self._folder.glob("objects/pack/tmp_*"), *self._folder.rglob("*.lock")]:
            left.unlink(missing_ok=True)
        words = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules")
        refs = f"+{self._wanted}:{_HEAD}"  # after a forced push, too
        try:
            git(*words, "--", self._url, refs, transport=_transport(self._url), held=[lock])
        except GitFailed as fault:
            if fault.code is not None and not self._is_connected():
                shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def _is_whole(self) -> bool:
        try:
            self.git("rev-parse", "--git-dir")
        except GitFailed as fault:
            if fault.code is None:
                raise
            return False
        return True

    def _is_connected(self) -> bool:
        try:
            self.git("fsck", "--connectivity-only", "--no-dangling", "--no-progress")
        except GitFailed as fault:
            return fault.code is None
        return True

    def _make(self, letters: int) -> None:
        """Whole or not at all; what was kept of another place goes."""
        for other in self._keep.glob("*.git*"):
            shutil.rmtree(other, ignore_errors=True)
        making = self._folder.with_suffix(".git-making")
        kind = "sha256" if letters == _SHA256 else "sha1"
        words = ("init", "--quiet", "--bare", "--template=", f"--object-format={kind}")
        Git(making, timeout_s=self._timeout_s)(*words, str(making))
        making.rename(self._folder)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[int]:
        """As the only one of all processes that writes to it; gives the lock's descriptor."""
        with _writing(self._keep):
            self._keep.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._keep / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            ends = time.monotonic() + self._timeout_s
            while not _locked(lock):
                if time.monotonic() > ends:
                    raise GitFailed("another process has been fetching it all the time", None)
                time.sleep(PAUSE_S)
            with _writing(self._keep):
                yield lock
        finally:
            os.close(lock)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise GitFailed(f"{folder} cannot be written to ({error.strerror})", None) from error


def _no_branch(branch: str | None) -> str:
    return "it has no commit yet" if branch is None else f"it has no branch {branch}"


def _transport(url: str) -> str:
    """``user@host:path`` is ssh."""
    return urlsplit(url).scheme if "://" in url else "ssh"
