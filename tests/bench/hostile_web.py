"""Web pages that want to be somewhere else, all of them: see ``tests.hostile_web``.

    python -m tests.bench.hostile_web

Every URL is looked at twice by a real source in one process. Nothing may be connected to but the server that
stands for the internet, every input ends in a state that has a name, and time and memory are bounded.
"""

from __future__ import annotations

import time

from tests import hostile_web
from tests.bench import _common
from tests.bench.web import resident_mb

WITHIN_S = 120.0
MOST_MB = 300.0


def main() -> None:
    _common.begin("Web pages that lead inside, or never end")
    before_mb = resident_mb()
    began = time.perf_counter()
    with _common.workplace() as folder:
        result = hostile_web.look_at_all(folder)
    took_s = time.perf_counter() - began
    _common.row("inputs", str(result.inputs), ">= 500")
    for state, number in result.states.most_common():
        _common.row(f"  {state}", str(number))
    _common.row("without a named state", str(len(result.nameless)), "0")
    _common.row("connections where nobody may come", str(result.touched + len(result.strayed)), "0")
    _common.row("time for both looks", f"{took_s:.0f} s", f"<= {WITHIN_S:.0f} s")
    _common.row(
        "memory at the start, and at most",
        f"{before_mb:.0f} MB; {resident_mb():.0f} MB",
        f"<= {MOST_MB:.0f} MB",
    )


if __name__ == "__main__":
    main()
