"""Waiting for threads to end: for all of them together no longer than for one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable


def join_all(threads: Iterable[threading.Thread], timeout_s: float) -> None:
    """Returns once all have ended, or the time is over."""
    ends = time.monotonic() + timeout_s
    for thread in threads:
        thread.join(max(0.0, ends - time.monotonic()))
