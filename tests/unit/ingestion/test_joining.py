"""Waiting for many threads takes no longer than for one."""

from __future__ import annotations

import threading
import time

from ingestion.joining import join_all


def test_those_that_hang_are_waited_for_together() -> None:
    let_go = threading.Event()
    hanging = [threading.Thread(target=let_go.wait, args=(60,), daemon=True) for _ in range(40)]
    for one in hanging:
        one.start()
    began = time.monotonic()
    join_all(hanging, 0.5)
    assert time.monotonic() - began < 40 * 0.5 / 2
    assert all(one.is_alive() for one in hanging)
    let_go.set()
    join_all(hanging, 60.0)
    assert not any(one.is_alive() for one in hanging)
