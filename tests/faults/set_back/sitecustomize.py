"""Found by Python at the start of a process whose path begins here: its clock is behind.

But for gRPC: it tells its core, which reads the machine's clock, moments of this one.
"""

import os
import sys
import time

_behind_s = float(os.environ.get("TEST_CLOCK_BEHIND_S", "0"))
_time, _time_ns = time.time, time.time_ns


def _late() -> float:
    asks = sys._getframe(1).f_globals.get("__name__", "")
    return _time() if asks.startswith("grpc") else _time() - _behind_s


def _late_ns() -> int:
    return _time_ns() - int(_behind_s * 1e9)


time.time, time.time_ns = _late, _late_ns
