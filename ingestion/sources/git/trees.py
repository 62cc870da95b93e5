"""What a repository holds at a commit, and what lies between two commits. Names of files are as the os module
gives them: bytes that are no UTF-8 are kept."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ingestion.sources.git.program import Git, GitFailed

MOST_WALKED = 200  # commits; what was changed in earlier ones is dated by the last
RENAMES = 2000  # so many on each side are compared with one another, where content was edited, too
WORDS_BYTES = 64 * 1024  # of names in one command
_BLOB = "blob"


@dataclass(frozen=True, slots=True)
class Entry:
    """A regular file in a tree. ``size_bytes`` is None where the repository lacks its content."""

    path: str
    blob: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class Difference:
    """Of a path: ``old`` None where it is new, ``new`` None where it is gone; both, and not the same, where
    it was renamed."""

    old: str | None
    new: str | None


def below(git: Git, commit: str, folder: str) -> list[Entry]:
    """Every regular file below a folder ('' or ending with '/'). Raises GitFailed."""
    where = ["--", folder] if folder else []
    return _entries(git("ls-tree", "-r", "-z", "-l", "--full-tree", commit, *where))


def at(git: Git, commit: str, paths: Sequence[str]) -> list[Entry]:
    """Those of these paths that are regular files. Raises GitFailed."""
    found: list[Entry] = []
    for some in _slices(paths):
        answer = git("ls-tree", "-z", "-l", "--full-tree", commit, "--", *some)
        found += _entries(answer)
    return found


def bodies(git: Git, blobs: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Each once, all of them held at once. Raises GitFailed."""
    answer = git("cat-file", "--batch", given="".join(f"{blob}\n" for blob in blobs).encode())
    start = 0
    for blob in blobs:
        end = answer.find(b"\n", start)
        head = answer[start:end].split(b" ")
        if len(head) != 3 or head[1] != b"blob":
            raise GitFailed(f"the object {blob} is missing", 1)
        start = end + 1 + int(head[2])
        yield blob, answer[end + 1 : start]
        start += 1


def differences(git: Git, old: str, new: str, folder: str) -> list[Difference]:
    """Between the trees of two commits, below a folder. Raises GitFailed."""
    words = ("diff-tree", "-r", "-z", "--raw", "-M", f"-l{RENAMES}", "--no-ext-diff", "--no-textconv")
    told = _fields(git(*words, old, new, *(["--", folder] if folder else [])))
    found: list[Difference] = []
    for about in told:
        was, now, _, _, status = about.lstrip(":").split(" ")
        old = new = next(told)
        if status[0] == "R":
            new = next(told)
        found.append(Difference(old if _is_file(was) else None, new if _is_file(now) else None))
    return found


def dated(git: Git, old: str, new: str, folder: str) -> dict[str, float]:
    """When the branch last changed each path, on its way from one commit to another. Raises GitFailed.

    What came with a merge came when it was merged.
    """
    listed = git(
        *("rev-list", "--first-parent", "--parents", "--timestamp", f"--max-count={MOST_WALKED}"),
        *(new, f"^{old}", "--"),
    )
    walked = [line.split()[:3] for line in listed.decode("ascii").splitlines()]
    moments = {commit: float(moment) for moment, commit, *_ in walked}
    given = "".join(f"{' '.join(commits)}\n" for _, *commits in walked)
    words = ("diff-tree", "--stdin", "--root", "-r", "-z", "--raw", "--no-renames")
    told = _fields(git(*words, *(["--", folder] if folder else []), given=given.encode()))
    found: dict[str, float] = {}
    moment = 0.0
    for field in told:
        if field.startswith(":"):
            found.setdefault(next(told), moment)  # the youngest comes first
        else:
            moment = moments.get(field, moment)
    return found


def moment(git: Git, commit: str) -> float:
    """The commit's own time. Raises GitFailed."""
    told = git("rev-list", "--max-count=1", "--timestamp", commit, "--")
    return float(told.split()[0])


def holds(git: Git, commit: str) -> bool:
    """Whether the repository has it. Raises GitFailed."""
    return bool(_held(git, [commit]))


def ancestors(git: Git, commits: Collection[str], head: str) -> set[str]:
    """Those that lead to the head. Raises GitFailed."""
    known = _held(git, sorted(set(commits)))
    if not known:
        return set()
    given = "".join(f"{commit}\n" for commit in [*known, f"^{head}"])
    beside = set(git("rev-list", "--stdin", given=given.encode()).decode("ascii").split())
    return {commit for commit in known if commit not in beside}


def _held(git: Git, commits: Sequence[str]) -> list[str]:
    given = "".join(f"{commit}\n" for commit in commits)
    told = git("cat-file", "--batch-check=%(objecttype)", given=given.encode()).decode("utf-8", "replace")
    return [commit for commit, kind in zip(commits, told.splitlines(), strict=True) if kind == "commit"]


def _entries(answer: bytes) -> list[Entry]:
    found: list[Entry] = []
    for line in _fields(answer):
        about, _, path = line.partition("\t")
        mode, kind, blob, size = about.split()
        if kind == _BLOB and _is_file(mode):
            found.append(Entry(path, blob, int(size) if size.isdigit() else None))
    return found


def _is_file(mode: str) -> bool:
    """A regular one: no symbolic link, no submodule, and something at all."""
    return mode.startswith("100")


def _fields(answer: bytes) -> Iterator[str]:
    return map(os.fsdecode, answer.split(b"\0")[:-1])


def _slices(paths: Iterable[str]) -> Iterator[list[str]]:
    some: list[str] = []
    size = 0
    for path in paths:
        size += len(os.fsencode(path))
        if some and size > WORDS_BYTES:
            yield some
            some, size = [], len(os.fsencode(path))
        some.append(path)
    if some:
        yield some
