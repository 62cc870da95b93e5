"""The tesseract of the system's packages: no server, and to be there in CI as they are."""

from __future__ import annotations

import shutil

from tests.servers.process import NotInstalled, missing

_MISSING = """There is no tesseract on this machine. Install it:
    Debian, Ubuntu   sudo sh tests/servers/packages.sh
    Fedora           sudo dnf install tesseract
    macOS            brew install tesseract"""


def tesseract() -> str:
    """Where it lies. Skips the test where it is missing; in CI, fails."""
    found = shutil.which("tesseract")
    if found is None:
        missing(NotInstalled(_MISSING))
    assert found is not None
    return found
