"""Which machine this is: numbers of devices mean something on one machine only."""

from __future__ import annotations

import functools
import hashlib
import platform
from pathlib import Path

MACHINE_ID = Path("/etc/machine-id")


@functools.cache
def machine_id() -> str:
    """The same for all processes of a machine and from one start of it to the next, as far as it can say.

    In a container without a machine id it is the container's host name. Hashed: the id itself is not to be
    passed on (machine-id(5)).
    """
    try:
        name = MACHINE_ID.read_text().strip()
    except OSError:
        name = ""
    return hashlib.sha256(f"headwater {name or platform.node()}".encode()).hexdigest()[:16]
