"""Runs git: without a shell, with no settings but these, and never for longer than it may.

A repository that is looked at may have been made by anybody. What its own settings could have git run (hooks,
filters, pagers, a file system monitor, helpers for credentials, transports) is turned off, or belongs to
commands that are not used here: those that are used read objects, and no working tree, index or attributes.
"""

from __future__ import annotations

import os
import re
import select
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

MOST_BYTES = 128 * 1024 * 1024  # of one answer: the names of a million files
_PIECE = 64 * 1024
_SAID = 300  # characters of git's own words in a message
_PASSED_ON = (
    *("PATH", "HOME", "TMPDIR", "SSH_AUTH_SOCK", "GIT_SSL_CAINFO", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("http_proxy", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"),
)
_SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.attributesFile": os.devnull,
    "core.askPass": "",
    "credential.helper": "",
    "diff.external": "",
    "fetch.recurseSubmodules": "false",
    "gc.autoDetach": "false",  # whoever is ended at its time takes it along
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "60",
    "log.showSignature": "false",
    "protocol.ext.allow": "never",
    "safe.directory": "*",  # whose it is does not matter where it can have nothing run
}
_SSH = "ssh -oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=15"
_USER = re.compile(r"(\w://)[^/\s@]*@")


class GitFailed(Exception):
    """``code``: its exit status; None where it was ended or never began. ``said``: its words, for people,
    with no secret in them."""

    def __init__(self, said: str, code: int | None) -> None:
        super().__init__(said)
        self.said = said
        self.code = code


class Git:
    """The program, for one repository. Safe to call from any thread."""

    def __init__(self, folder: Path, *, timeout_s: float, settings: Sequence[tuple[str, str]] = ()) -> None:
        """``folder``: its .git, or itself where it is bare. ``settings``: more of git's; secrets may be among
        them."""
        self.folder = folder
        self.timeout_s = timeout_s
        self._settings = [*_SETTINGS.items(), *settings]

    def __call__(
        self,
        *words: str,
        given: bytes = b"",
        transport: str = "",
        held: Sequence[int] = (),
        timeout_s: float | None = None,
    ) -> bytes:
        """What it answers. Raises GitFailed.

        ``transport``: the only one by which it may reach another repository; '' is none, so that objects
        missing from a partial clone are not fetched. ``held``: descriptors that it keeps open.
        """
        command = ["git", f"--git-dir={self.folder}", "--no-replace-objects", "--literal-pathspecs", *words]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd="/",
                env=self._environment(transport),
                pass_fds=held,
                start_new_session=True,
            )
        except OSError as error:
            raise GitFailed(f"git cannot be run ({error.strerror})", None) from error
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        try:
            answer, words_said = _exchanged(process, given, limit_s)
        except subprocess.TimeoutExpired:
            raise GitFailed(f"git took longer than {limit_s:g} s", None) from None
        finally:
            _end(process)
        if process.returncode:
            code = process.returncode if process.returncode > 0 else None
            raise GitFailed(_told(words_said) or f"git ended with {process.returncode}", code)
        return answer

    def _environment(self, transport: str) -> dict[str, str]:
        """Settings go by the environment: others on this machine may read the words of a command."""
        given = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        for number, (name, value) in enumerate(self._settings):
            given |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
        return given | {
            "GIT_CONFIG_COUNT": str(len(self._settings)),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_ALLOW_PROTOCOL": transport,
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": _SSH,
            "GIT_SSH_VARIANT": "ssh",
            "LC_ALL": "C",
        }


def _exchanged(process: subprocess.Popen[bytes], given: bytes, limit_s: float) -> tuple[bytes, bytes]:
    """What it answers and says, to no more than may be: a few trees can name thousands of millions of files.

    Raises GitFailed and subprocess.TimeoutExpired.
    """
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    ends, rest = time.monotonic() + limit_s, memoryview(given)
    answer, said = bytearray(), bytearray()
    with selectors.DefaultSelector() as pipes:
        pipes.register(process.stdin, selectors.EVENT_WRITE)
        pipes.register(process.stdout, selectors.EVENT_READ, answer)
        pipes.register(process.stderr, selectors.EVENT_READ, said)
        while pipes.get_map():
            if (left_s := ends - time.monotonic()) <= 0:
                raise subprocess.TimeoutExpired(process.args, limit_s)
            for ready, _ in pipes.select(left_s):
                if ready.data is None:
                    rest = rest[_written(ready.fd, rest) :]
                    ended = not rest
                else:
                    ready.data.extend(piece := os.read(ready.fd, _PIECE))
                    ended = not piece
                if ended:
                    pipes.unregister(ready.fileobj)
                    if ready.data is None:
                        process.stdin.close()
            if len(answer) + len(said) > MOST_BYTES:
                raise GitFailed(f"git answers with more than {MOST_BYTES:,} bytes", None)
    process.wait(max(0.0, ends - time.monotonic()))
    return bytes(answer), bytes(said)


def _written(pipe: int, rest: memoryview) -> int:
    """How much of it. One that wants no more of it has it all."""
    try:
        return os.write(pipe, rest[: select.PIPE_BUF])
    except BrokenPipeError:
        return len(rest)


def _end(process: subprocess.Popen[bytes]) -> None:
    """With whatever it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _told(said: bytes) -> str:
    """The line that says most: the first that is fatal or an error, else the last; ssh's own with it."""
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
    told = "; ".join([*lines[:1], *fatal[:1]] if fatal and fatal[0] != lines[0] else fatal[:1] or lines[-1:])
    shown = "".join(letter if letter.isprintable() else "?" for letter in told)
    return _USER.sub(r"\1", shown)[:_SAID].removesuffix(".")
