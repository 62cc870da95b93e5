"""Root may read everything, and tests may run as root: what runs a command as if it were anybody."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

# Without these two capabilities root is asked for permission, too.
_LIKE_ANYBODY = (
    "import ctypes, os, sys\n"
    "for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH (linux/capability.h)\n"
    "    if ctypes.CDLL(None, use_errno=True).prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP\n"
    "        sys.exit(f'prctl: {os.strerror(ctypes.get_errno())}')\n"
    "os.execv(sys.argv[1], sys.argv[1:])\n"
)


def like_anybody() -> Sequence[str]:
    """What runs a command without root's right to read everything."""
    if os.geteuid() != 0:
        return []
    prefix = [sys.executable, "-c", _LIKE_ANYBODY]
    done = subprocess.run([*prefix, sys.executable, "-c", ""], capture_output=True, text=True, timeout=20)
    if done.returncode:
        pytest.skip(f"root cannot give up its capabilities here: {done.stderr.strip()}")
    return prefix
