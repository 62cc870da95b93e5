"""How a process that stays says what happens: a bar and lines for people, JSON for whatever reads logs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import TextIO

from ingestion.clock import Clock
from ops.damping import Begins
from ops.printing import Printing
from ops.progress import LINE_EVERY_S, PlainMeter, meter_for
from ops.settings import Settings
from ops.structured import StructuredPrinting
from ops.tracing import Traces
from workers.tracing import trace_id


def printing_for(
    settings: Settings,
    clock: Clock,
    traces: Traces,
    *,
    role: str,
    bar: bool = False,
    every_s: float = LINE_EVERY_S,
    begins: Begins = lambda _: None,
    stream: TextIO | None = None,
) -> Printing:
    """The form that ``daemon.log_format`` names; ``auto`` is text where somebody watches, else JSON.

    ``bar``: whether a terminal shows how far a first index is; elsewhere a line says so, each ``every_s`` at
    most. ``begins`` is as for ``Printing``. ``stream`` is the standard output, if none is given. Its first
    line is why changes cannot be followed, where they should be.
    """
    stream = stream or sys.stdout
    write, form = _writing(stream), settings.daemon.log_format
    if form == "json" or (form == "auto" and not _watched(stream)):
        printing: Printing = StructuredPrinting(
            write,
            clock,
            role=role,
            every_s=every_s,
            begins=begins,
            trace_id=lambda: trace_id(traces.tracing),
        )
    elif bar:
        printing = Printing(meter_for(stream, write, clock.monotonic), clock, begins=begins)
    else:
        printing = Printing(PlainMeter(write, clock.monotonic, every_s=every_s), clock, begins=begins)
    if traces.fault:
        printing.line(traces.fault)
    return printing


def _watched(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _writing(stream: TextIO | None) -> Callable[[str], None]:
    """Lines reach a pipe or a log at once. A disk that is full or a reader that left ends no service, and
    neither does a stream that was closed from the start."""

    def write(line: str) -> None:
        if stream is None:
            return
        with contextlib.suppress(OSError, ValueError):
            stream.write(line + "\n")
            stream.flush()

    return write
