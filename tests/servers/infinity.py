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
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.servers.process import CACHE, NotInstalled, Server, free_port

LOCK = Path(__file__).with_name("infinity.lock")
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


@contextlib.contextmanager
def serving(model: Path, place: Path, key: str) -> Iterator[str]:
    """The address of a server of this model folder that wants this key; its log lies in ``place``.

    Raises NotInstalled.
    """
    python = environment() / "bin" / "python"
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = Server(
        [python, "-W", "ignore", "-c", _START, "v2", *_arguments(model, port, key)],
        log=place / "infinity.log",
        answers=lambda: _answers(url),
        start_s=START_S,
        environment=_OFFLINE,
    )
    with server.running():
        yield f"{url}/v1"


def environment() -> Path:
    """The server's environment, made on first use. Raises NotInstalled."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    name = f"infinity-{digest}-py{sys.version_info.major}{sys.version_info.minor}"
    folder = CACHE / name
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


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{url}/health", trust_env=False).status_code < 500
    return False


if __name__ == "__main__":
    try:
        environment()
    except NotInstalled as fault:
        print(f"Without a real embedding server: {fault}", file=sys.stderr)
