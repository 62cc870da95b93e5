"""Spans of the OpenTelemetry kit, and when there are none."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ops import tracing as tracing_module
from ops.tracing import OpenTelemetry, Traces, is_wanted, open_traces
from workers.tracing import UNTRACED, trace_id

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}


class Kept:
    """A tracing whose spans are kept."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = OpenTelemetry(self.provider)

    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self._exporter.get_finished_spans()}


@pytest.fixture
def kept() -> Iterator[Kept]:
    made = Kept()
    yield made
    made.provider.shutdown()


def test_spans_within_spans_are_one_trace(kept: Kept) -> None:
    assert kept.tracing.traceparent() is None
    with kept.tracing.span("outer", source="handbook", documents=2):
        outer_id = trace_id(kept.tracing)
        with kept.tracing.span("inner", begun_at=1_700_000_000.0):
            pass
    outer, inner = kept.spans()["outer"], kept.spans()["inner"]
    assert outer.attributes == {"headwater.source": "handbook", "headwater.documents": 2}
    assert inner.parent is not None
    assert inner.parent.span_id == outer.context.span_id
    assert format(outer.context.trace_id, "032x") == outer_id
    assert inner.start_time == 1_700_000_000 * 10**9
    assert kept.tracing.traceparent() is None


def test_a_trace_goes_on_where_it_was_carried_to(kept: Kept) -> None:
    with kept.tracing.under(TRACEPARENT):
        assert trace_id(kept.tracing) == "4bf92f3577b34da6a3ce929d0e0e4736"
        with kept.tracing.span("worked"), kept.tracing.under(None):
            assert kept.tracing.traceparent() is None
    parent = kept.spans()["worked"].parent
    assert parent is not None
    assert parent.span_id == 0x00F067AA0BA902B7


@pytest.mark.parametrize("lost", [None, "", "nonsense", "00-0-0-0", 7, ["x"]])
def test_what_is_no_traceparent_is_none(kept: Kept, lost: object) -> None:
    with kept.tracing.under(lost), kept.tracing.span("worked"):  # type: ignore[arg-type]
        pass
    assert kept.spans()["worked"].parent is None


def test_what_is_over_is_told_and_never_ends_before_it_began(kept: Kept) -> None:
    kept.tracing.past("queue", begun_at=1_700_000_002.0, ended_at=1_700_000_001.0)
    kept.tracing.past("detect", begun_at=1_700_000_000.5, ended_at=1_700_000_001.0)
    queue, detect = kept.spans()["queue"], kept.spans()["detect"]
    assert queue.start_time == queue.end_time
    assert detect.end_time is not None
    assert detect.start_time is not None
    assert detect.end_time - detect.start_time == 500_000_000


def test_an_error_is_told_by_its_kind_alone(kept: Kept) -> None:
    with pytest.raises(ValueError, match="secret words"), kept.tracing.span("draft"):
        raise ValueError("secret words of a document")
    span = kept.spans()["draft"]
    assert not span.status.is_ok
    assert span.status.description == "ValueError"
    assert not span.events


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_the_environment_says_whether(environ: dict[str, str], wanted: bool) -> None:
    assert is_wanted(environ) is wanted


def test_without_the_extra_it_is_said_and_nothing_else_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib.util, "find_spec", none)
    traces = open_traces("daemon", ENDPOINT)
    assert traces.tracing is UNTRACED
    assert "headwater[tracing]" in (traces.fault or "")
    assert open_traces("daemon", {}) == Traces(close=open_traces("daemon", {}).close)
    assert tracing_module.NEEDED


def test_nothing_is_followed_by_default() -> None:
    with UNTRACED.span("x", a=1), UNTRACED.under(TRACEPARENT):
        UNTRACED.past("y", begun_at=0.0, ended_at=1.0)
        assert UNTRACED.traceparent() is None
        assert trace_id(UNTRACED) is None
