"""How to install a package into the environment that runs this program. Installs nothing."""

from __future__ import annotations

import importlib.util
import shlex
import sys


def install_command(package: str, *options: str) -> str:
    """One command line. A plain ``pip`` might be another interpreter's, and an environment made by uv has
    none of its own."""
    if importlib.util.find_spec("pip") is not None:
        words = [sys.executable, "-m", "pip", "install"]
    else:
        words = ["uv", "pip", "install", "--python", sys.executable]
    return shlex.join([*words, *options, package])
