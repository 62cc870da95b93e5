"""A daemon in the foreground: says what happens, and ends it when asked.

The first signal asks the daemon to stop; the second one, or five seconds, end the process. That is
safe: whatever was under way is in the ledger and is taken up at the next start.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from ingestion.errors import HeadwaterError
from ingestion.own import is_own
from ops.daemon import Daemon
from ops.ending import end_now
from ops.opening import data_file
from ops.printing import Printing
from ops.settings import Settings
from ops.settings_stores import masked
from ops.showing import counted, duration, plain
from workers.tracing import UNTRACED, Tracing

STOP_S = 4.0
BUSY_TICK_S = 0.5
IDLE_TICK_S = 2.0
BUSY_SHARE = 10  # of the time, one part of so many is for asking how far the work is

# What they warn of is told already: by the outcomes, by what watches the folder, by whoever met a lost
# connection.
_TOLD_ELSEWHERE = ("headwater.refresh", "headwater.reconcile", "watchdog.observers.inotify_c", "psycopg")
# They tell of each try to reach a broker that is away; that is told once, by what sends.
_REPEATING = ("celery.worker.consumer", "celery.beat", "kombu")
# It tells of each batch that a collector of spans did not take.
_SELDOM = ("opentelemetry",)
SELDOM_S = 600.0


class Stop:
    """Set by the first signal."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.number = 0

    def listen(self) -> None:
        """Take SIGINT and SIGTERM from now on. Only in the main thread."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def wait(self, seconds: float) -> bool:
        return self._event.wait(seconds)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        if self._event.is_set():
            end_now(128 + number)
        self.number = number
        self._event.set()


class LogLines(logging.Handler):
    """Warnings and errors of the log as lines, so that they do not disturb the bar."""

    def __init__(self, printing: Printing) -> None:
        super().__init__(logging.WARNING)
        self._printing = printing
        self._told_at: dict[str, float] = {}
        self.setFormatter(printing.formatter)

    def filter(self, record: logging.LogRecord) -> bool:
        told = (record.levelno < logging.ERROR and record.name.startswith(_TOLD_ELSEWHERE)) or (
            record.levelno < logging.CRITICAL and record.name.startswith(_REPEATING)
        )
        return not told and bool(super().filter(record)) and not self._is_repeated(record)

    def _is_repeated(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(_SELDOM):
            return False
        before = self._told_at.get(record.msg)
        if before is not None and 0 <= record.created - before < SELDOM_S:
            return True
        self._told_at[record.msg] = record.created
        return False

    def emit(self, record: logging.LogRecord) -> None:
        self._printing.logged(self.format(record))


def run(
    settings: Settings,
    printing: Printing,
    *,
    started: Callable[[], None],
    tracing: Tracing = UNTRACED,
) -> None:
    """Start, tell, and return when stopped. Raises Misconfigured and its kind where nothing was started.

    ``started`` is called once the data folder is ours.
    """
    handler = LogLines(printing)
    logging.getLogger().addHandler(handler)
    stop = Stop()
    stop.listen()
    daemon = Daemon(settings, listener=printing.outcome, tracing=tracing)
    daemon.start()
    try:
        started()
        _greet(settings, daemon, printing)
        _tell(daemon, printing, stop)
    finally:
        _end(daemon, printing)


def _greet(settings: Settings, daemon: Daemon, printing: Printing) -> None:
    printing.line(f"Headwater {daemon.note.version if daemon.note else ''} listens at {daemon.url}")
    ledger = settings.ledger.url
    where = str(data_file(settings)) if ledger is None else masked(ledger.get_secret_value())
    printing.line(f"  data     {plain(where)}")
    printing.line(f"  model    {plain(daemon.parts.embedder.description)}")
    for source in settings.sources:
        printing.line(f"  source   {source.name}: {plain(source.place)}")


def _tell(daemon: Daemon, printing: Printing, stop: Stop) -> None:
    """The model, progress, readiness and sources' faults, until the stop."""
    ready, tick, faults = False, BUSY_TICK_S, dict[str, str | None]()
    model = _ModelLines(daemon, printing)
    while not stop.wait(tick):
        began = time.monotonic()
        try:
            now_ready = not ready and daemon.ready  # asked first: the summary comes before it
            remaining = daemon.bulk_remaining()
            if model.tell():
                printing.backlog(remaining)
            _tell_faults(daemon, printing, faults)
            if now_ready:
                ready = True
                _tell_ready(daemon, printing)
        except HeadwaterError:
            remaining = 1  # the ledger is away; the outcomes say so
        asked_s = time.monotonic() - began  # it grows with what waits, and takes from what works on that
        tick = IDLE_TICK_S if ready and not remaining else max(BUSY_TICK_S, BUSY_SHARE * asked_s)


class _ModelLines:
    """What becomes of loading the model, each turn once."""

    def __init__(self, daemon: Daemon, printing: Printing) -> None:
        self._batcher = daemon.parts.batcher
        self._printing = printing
        self._since = time.monotonic()
        self._told = ""

    def tell(self) -> bool:
        """Whether the model is loaded: before that, nothing is indexed and there is no pace to show."""
        if self._batcher.ready:
            if self._told:
                self._say(f"the embedding model is loaded, after {duration(time.monotonic() - self._since)}")
                self._told = ""
            return True
        failure = self._batcher.load_failure
        line = str(failure) if failure else "loading the embedding model; until then words alone are searched"
        if line != self._told:
            self._say(line)
            self._told = line
        return False

    def _say(self, line: str) -> None:
        self._printing.line(plain(line))


def _tell_faults(daemon: Daemon, printing: Printing, told: dict[str, str | None]) -> None:
    for state in daemon.parts.ledger.sources.all():
        if state.active and not state.is_own and told.get(state.name) != state.fault:
            told[state.name] = state.fault
            printing.line(
                f"{state.name}  " + (plain(state.fault) if state.fault else "can be looked at again")
            )


def _tell_ready(daemon: Daemon, printing: Printing) -> None:
    lags = daemon.parts.ledger.views.lags()
    counts = [lag.counts for name, lag in lags.items() if not is_own(name)]
    live = sum(count.get("live", 0) for count in counts)
    chunks = counted(daemon.parts.ledger.views.live_chunk_count(), "chunk")
    printing.line(
        f"ready: {counted(live, 'document')}, {chunks} searchable. "
        'Ask in another terminal: headwater search "..."   Ctrl-C ends this.'
    )


def _end(daemon: Daemon, printing: Printing) -> None:
    """Within STOP_S, threads of libraries that do not end included."""
    watchdog = threading.Timer(STOP_S, end_now, (0,))
    watchdog.daemon = True
    watchdog.start()
    printing.close()
    printing.line("stopping ...")
    daemon.stop()
    printing.line("stopped; nothing is lost, the next start goes on from here.")
