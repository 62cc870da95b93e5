"""Spans to an OTLP collector, where the environment names one: the variables are OpenTelemetry's own.

Without ``OTEL_EXPORTER_OTLP_ENDPOINT`` nothing is imported and nothing is followed. A collector that is away
costs spans, never work: they are sent from a thread, out of a queue that is bounded.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.version import version
from workers.tracing import HEADER, UNTRACED, Attribute, Tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
FLUSH_S = 1.5  # what is still to be sent at the end of a process may take this long


@dataclass(frozen=True, slots=True)
class Traces:
    """What a process follows changes with; ``fault`` is why it cannot, though it was asked to."""

    tracing: Tracing = UNTRACED
    fault: str | None = None
    close: Callable[[], None] = lambda: None


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether spans are to be sent, by the variables that OpenTelemetry defines."""
    off = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    none = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"
    return not off and not none and any(environ.get(name, "").strip() for name in ENDPOINTS)


def missing() -> str | None:
    """What is to be done before spans can be sent; None if nothing is."""
    if all(_is_there(name) for name in NEEDED):
        return None
    return (
        "OTEL_EXPORTER_OTLP_ENDPOINT is set, and what sends spans is not installed: changes are not "
        "followed. Install headwater[tracing], or unset the variable."
    )


def open_traces(role: str, environ: Mapping[str, str] = os.environ) -> Traces:
    """Begin to send, or not. ``role`` is told with every span."""
    if not is_wanted(environ):
        return Traces()
    if (fault := missing()) is not None:
        return Traces(fault=fault)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = {} if environ.get("OTEL_SERVICE_NAME") else {"service.name": "headwater"}
    resource = Resource.create({"service.version": version(), "headwater.role": role, **named})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Traces(OpenTelemetry(provider), close=lambda: _shut(provider))


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # not even what it lies in
        return False


def _shut(provider: TracerProvider) -> None:
    """Send what is left, for a moment: a collector that is away must not hold up the end of a process."""
    closing = threading.Thread(target=provider.shutdown, name="spans", daemon=True)
    closing.start()
    closing.join(FLUSH_S)


class OpenTelemetry:
    """Implements ``workers.tracing.Tracing``. Attributes are told as ``headwater.NAME``.

    Of an error, spans tell its kind alone: what else an unforeseen one says may hold text of a document.
    """

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import context, trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._context, self._trace = context, trace
        self._carried = TraceContextTextMapPropagator()
        self._tracer = provider.get_tracer("headwater", version())

    @contextlib.contextmanager
    def span(self, name: str, /, *, begun_at: float | None = None, **attributes: Attribute) -> Iterator[None]:
        span = self._begun(name, begun_at, attributes)
        with self._trace.use_span(
            span, end_on_exit=True, record_exception=False, set_status_on_exception=False
        ):
            try:
                yield
            except BaseException as error:
                span.set_status(self._trace.StatusCode.ERROR, type(error).__name__)
                raise

    def past(self, name: str, /, *, begun_at: float, ended_at: float, **attributes: Attribute) -> None:
        begun_at = min(begun_at, ended_at)  # two clocks may disagree
        self._begun(name, begun_at, attributes).end(_nanoseconds(ended_at))

    @contextlib.contextmanager
    def under(self, traceparent: str | None, /) -> Iterator[None]:
        carrier = {HEADER: traceparent} if isinstance(traceparent, str) else {}
        token = self._context.attach(self._carried.extract(carrier, self._context.Context()))
        try:
            yield
        finally:
            self._context.detach(token)

    def traceparent(self) -> str | None:
        carrier: dict[str, str] = {}
        self._carried.inject(carrier)
        return carrier.get(HEADER)

    def _begun(self, name: str, begun_at: float | None, attributes: Mapping[str, Attribute]) -> Span:
        begun_at = None if begun_at is None else min(begun_at, time.time())
        return self._tracer.start_span(
            name,
            attributes={f"headwater.{key}": value for key, value in attributes.items()},
            start_time=None if begun_at is None else _nanoseconds(begun_at),
        )


def _nanoseconds(at: float) -> int:
    return int(at * 1e9)
