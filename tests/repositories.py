"""Git repositories for tests, made and changed by the git program as anybody does."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "gc.auto",  # which goes on in the background
    "GIT_CONFIG_VALUE_0": "0",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}


class Repository:
    """One with a working tree, its branch called main, and an empty first commit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self("init", "--quiet", "--initial-branch=main")
        self("commit", "--quiet", "--allow-empty", "--message=first")

    def __call__(self, *words: str, given: bytes = b"", at: float | None = None) -> str:
        """``at``: the time that a commit is given."""
        moment = {} if at is None else {"GIT_COMMITTER_DATE": f"@{at:.0f} +0000"}
        done = subprocess.run(
            ["git", *words],
            input=given,
            capture_output=True,
            cwd=self.folder,
            env={**os.environ, **_ENVIRONMENT, **moment},
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout.decode(errors="replace").strip()

    def write(self, files: Mapping[str, bytes]) -> None:
        for name, body in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)

    def commit(self, files: Mapping[str, bytes] | None = None, *, at: float | None = None) -> str:
        """Everything as it lies there, these written first. Returns the commit."""
        self.write(files or {})
        self("add", "--all")
        self("commit", "--quiet", "--allow-empty", "--message=next", at=at)
        return self("rev-parse", "HEAD")
