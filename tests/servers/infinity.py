"""A real OpenAI-compatible server, Infinity, on a model folder of this machine.

Its packages contradict ours, so it lives in an environment of its own: made once, in the user's cache, under
the digest of its lock. ``infinity.lock`` is made by::

    cd tests/servers
    uv pip compile --universal --generate-hashes --no-header --python-version 3.11 \\
        --overrides infinity-overrides.txt infinity.in -o infinity.lock
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import platformdirs

LOCK = Path(__file__).with_name("infinity.lock")
# Where it was before tests were given a cache of their own, which ends with them.
ENVIRONMENTS = Path(platformdirs.user_cache_dir("headwater")) / "tests"
INSTALL_S = 900.0
START_S = 100.0  # it imports torch
SERVED_AS = "served-model"

_START = "from infinity_emb.cli import cli; cli()"
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "INFINITY_ANONYMOUS_USAGE_STATS": "0",
}


class NotInstalled(Exception):
    """The server's environment could not be made: no uv, or no way to the packages."""


@contextlib.contextmanager
def serving(model: Path, place: Path, key: str) -> Iterator[str]:
    """The address of a server of this model folder that wants this key; its log lies in ``place``.

    Raises NotInstalled.
    """
    python = environment() / "bin" / "python"
    log = place / "infinity.log"
    port = _free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [python, "-W", "ignore", "-c", _START, "v2", *_arguments(model, port, key)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=place,
            env={**os.environ, **_OFFLINE},
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _await(url, process, log)
        yield f"{url}/v1"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def environment() -> Path:
    """The server's environment, made on first use. Raises NotInstalled."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    name = f"infinity-{digest}-py{sys.version_info.major}{sys.version_info.minor}"
    folder = ENVIRONMENTS / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".making").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            _make(folder)
            (folder / "complete").touch()
    return folder


def _make(folder: Path) -> None:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        raise NotInstalled("there is no uv to install it with")
    python = folder / "bin" / "python"
    _run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
    # The lock is complete, and holds on purpose what its packages do not ask for (numpy 2).
    _run(
        uv,
        "pip",
        "install",
        "--quiet",
        "--python",
        str(python),
        "--no-deps",
        "--require-hashes",
        "-r",
        str(LOCK),
    )


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_S)
    except subprocess.CalledProcessError as error:
        raise NotInstalled(error.stderr.strip()[-500:]) from error
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(f"its installation took longer than {INSTALL_S:.0f} s") from error


def _arguments(model: Path, port: int, key: str) -> list[str]:
    given = {
        "--model-id": str(model),
        "--served-model-name": SERVED_AS,
        "--engine": "torch",
        "--device": "cpu",
        "--dtype": "float32",
        "--host": "127.0.0.1",
        "--port": str(port),
        "--url-prefix": "/v1",
        "--api-key": key,
        "--batch-size": "32",
    }
    return [word for pair in given.items() for word in pair] + ["--no-bettertransformer", "--no-model-warmup"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + START_S
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/health", trust_env=False).status_code < 500:
                return
        said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        assert process.poll() is None, f"the server ended with {process.poll()}:\n{said}"
        assert time.monotonic() < ends, f"the server did not start within {START_S:.0f} s:\n{said}"
        time.sleep(0.2)


if __name__ == "__main__":
    try:
        environment()
    except NotInstalled as fault:
        print(f"Without a real embedding server: {fault}", file=sys.stderr)
