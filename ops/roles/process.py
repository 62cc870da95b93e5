"""One role as a process: it waits for what it needs, says what happens, and ends when asked.

What is missing at the start, a ledger, a broker, an index, is waited for with one line, and so is what goes
away later. Settings that are wrong end the process. The first signal lets what is under way end or hands it
back; the second one, or ``GRACE_S``, ends the process, which is safe at any moment.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from ingestion.clock import Clock
from ingestion.errors import Interrupted, Transient
from ops.ending import end_now
from ops.lock import shared
from ops.outages import Outages
from ops.printing import Printing
from ops.roles.health import Health
from ops.roles.missing import Missing
from ops.running import LogLines, Stop
from ops.settings import Settings
from ops.showing import duration, plain
from ops.version import version
from ops.wiring import SWITCH_S

GRACE_S = 20.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
TICK_S = 0.5

Made = TypeVar("Made")

log = logging.getLogger("headwater.roles")


class Waiting:
    """Makes what needs others, again until they are there. Raises Interrupted once it is to stop."""

    def __init__(self, clock: Clock, stop: Stop, told: Callable[[Sequence[str]], None]) -> None:
        """``told`` is given what is waited for, and nothing once it is there."""
        self._clock = clock
        self._stop = stop
        self._told = told

    def until_made(self, make: Callable[[], Made], *, level: int = logging.WARNING) -> Made:
        since, said, pause_s = self._clock.monotonic(), None, FIRST_PAUSE_S
        while True:
            try:
                made = make()
            except Interrupted:
                raise
            except Transient as fault:
                if type(fault) is not said:  # its words may change from one try to the next
                    said = type(fault)
                    log.log(level, "waiting: %s", str(fault))
                self._told([str(fault)])
                self.pause(pause_s)
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
            else:
                self._told([])
                if said:
                    log.info("goes on, after %s", duration(self._clock.monotonic() - since))
                return made

    def pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Interrupted("It is being stopped.")


class Role(Protocol):
    """What a process does. ``open`` is called once, then ``close`` in any case."""

    name: str
    missing: Missing | None  # there once it is open

    def open(self, waiting: Waiting, health: Health, undo: contextlib.ExitStack) -> str:
        """Begin; what is to be ended is left to ``undo``. Returns a line that says what was begun."""

    def stopping(self) -> None:
        """The end was asked for: what is under way is to come to an end."""

    def alive(self) -> bool:
        """Whether every thread that is to run still does."""

    def tell(self) -> None:
        """Asked every ``TICK_S`` while it runs: say how far it is, where that is worth a line now."""


class RoleLines(LogLines):
    """Also what is worth knowing and no fault."""

    def __init__(self, write: Callable[[str], None], outages: Outages) -> None:
        super().__init__(write)
        self.setLevel(logging.INFO)
        self._outages = outages

    def filter(self, record: logging.LogRecord) -> bool:
        ours = record.name.startswith("headwater")
        wanted = (ours or record.levelno >= logging.WARNING) and super().filter(record)
        return wanted and self._outages.filter(record)


def run_role(
    settings: Settings, role: Role, health: Health, printing: Printing, outages: Outages, clock: Clock
) -> int:
    """Run until a signal; returns the exit code. Raises Misconfigured and its kind."""
    sys.setswitchinterval(SWITCH_S)
    logging.getLogger().addHandler(RoleLines(printing.line, outages))
    logging.getLogger("headwater").setLevel(logging.INFO)
    stop = Stop()
    stop.listen()
    code = 0
    with contextlib.ExitStack() as undo:
        if settings.ledger.url is None:
            undo.enter_context(shared(settings.daemon.data))
        health.start()
        undo.callback(health.stop)
        undo.callback(_say_end, printing)
        waiting = Waiting(clock, stop, health.wait_for)
        with contextlib.suppress(Interrupted):
            line = role.open(waiting, health, undo)
            health.opened()
            if role.missing is not None:
                outages.look_at(role.missing.by_name)
                outages.start()
                undo.callback(outages.close)
            where = f", at {health.url}" if health.url else ""
            printing.line(plain(f"Headwater {version()} {role.name}: {line}{where}"))
            code = _until_stopped(role, stop)
        _end_in_time()
        printing.line("stopping ...")
        role.stopping()
    return code


def _until_stopped(role: Role, stop: Stop) -> int:
    while not stop.wait(TICK_S):
        if not role.alive():
            log.error("a thread of this process ended by itself: the process ends, to be started again")
            return 1
        role.tell()
    return 0


def _end_in_time() -> None:
    watchdog = threading.Timer(GRACE_S, end_now, (0,))
    watchdog.daemon = True
    watchdog.start()


def _say_end(printing: Printing) -> None:
    printing.line("stopped; nothing is lost.")
