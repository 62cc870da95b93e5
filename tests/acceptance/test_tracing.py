"""An edit followed from its event to its publication, through processes that share a broker alone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.program import Program
from tests.acceptance.roles import API, BULK, FRESH, SCHEDULE, WATCH, Deployment, until
from tests.collector import Collector, Span, collecting
from tests.servers.process import free_port
from tests.servers.redis import Redis

STAGES = ("refresh", "claim", "queue", "draft", "stage", "embed", "publish")


def sends_to(url: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "200"}


def of_edit(collector: Collector, uri: str, after: float) -> dict[str, list[Span]]:
    """The trace in which an edit of this document was seen and published; empty before it is there."""
    for seen in collector.spans("detect"):
        if seen.attributes.get("headwater.uri") == uri and seen.ended_at > after:
            trace = collector.trace(seen.trace_id)
            if "publish" in trace and "refresh" in trace:
                return trace
    return {}


@pytest.mark.timeout(500)
def test_one_trace_goes_from_the_watcher_to_the_worker(redis: Redis, tmp_path: Path, notes: Path) -> None:
    with collecting() as collector, Deployment(tmp_path, notes, redis.url) as deployment:
        deployment.environment |= sends_to(collector.url) | {"HEADWATER_DAEMON__LOG_FORMAT": "json"}
        deployment.write("leave.md", "twenty-seven days of holiday")
        _, fresh, *_ = deployment.start(WATCH, FRESH, BULK, SCHEDULE, API)
        deployment.shows("twenty-seven days")
        deployment.settled()
        written_at = time.time()
        deployment.write("leave.md", "thirty days of holiday")
        deployment.shows("thirty days")
        until(lambda: of_edit(collector, "leave.md", written_at), "the trace is whole")
        trace = of_edit(collector, "leave.md", written_at)
        (detect,) = trace["detect"]
        assert (detect.role, detect.parent_id) == ("watcher", "")
        assert detect.begun_at >= written_at - 1.0
        for name in STAGES:
            assert {span.role for span in trace[name]} == {"worker-fresh"}, name
        (refresh,) = [span for span in trace["refresh"] if _has_child(trace["draft"], span)]
        assert refresh.parent_id == detect.span_id
        (draft,), (publish,) = trace["draft"], trace["publish"]
        assert draft.attributes["headwater.source"] == "notes"
        assert draft.attributes["headwater.generation"] == max(_generations(deployment))
        assert draft.ended_at <= publish.begun_at
        assert not any(span.failed for spans in trace.values() for span in spans)
        told = [json.loads(line) for line in fresh.said().splitlines()]
        assert detect.trace_id in [one.get("trace_id") for one in told]
        # What no message said where it came from begins its own: the first index, sent by the scheduler.
        (first,) = [span for span in collector.spans("draft") if span.role == "worker-bulk"]
        whole = collector.trace(first.trace_id)
        assert {"detect", *STAGES} == set(whole)
        assert {span.role for spans in whole.values() for span in spans} == {"worker-bulk"}
        assert "holiday" not in str(collector.spans())


@pytest.mark.timeout(500)
def test_a_worker_of_celerys_own_program_goes_on_with_a_trace(
    redis: Redis, tmp_path: Path, notes: Path
) -> None:
    with collecting() as collector, Deployment(tmp_path, notes, redis.url) as deployment:
        deployment.environment |= sends_to(collector.url)
        deployment.environment["HEADWATER_CONFIG"] = str(tmp_path / "headwater.toml")
        (tmp_path / "headwater.toml").write_text("")
        deployment.write("leave.md", "twenty-seven days of holiday")
        deployment.celery("worker", "-P", "threads", "-Q", "fresh,bulk", "-c", "2", "-l", "INFO")
        deployment.start(WATCH, SCHEDULE, API)
        deployment.shows("twenty-seven days")
        written_at = time.time()
        deployment.write("leave.md", "thirty days of holiday")
        deployment.shows("thirty days")
        until(lambda: of_edit(collector, "leave.md", written_at), "the trace is whole")
        trace = of_edit(collector, "leave.md", written_at)
        assert {span.role for span in trace["detect"]} == {"watcher"}
        assert {span.role for span in trace["publish"]} == {"worker"}
        assert "notes/leave.md published" in deployment.said()  # in Celery's form


def test_a_daemon_follows_edits_too(tmp_path: Path, notes: Path) -> None:
    (notes / "leave.md").write_text("# Leave\n\ntwenty-seven days\n")
    (notes / "pay.md").write_text("# Pay\n\nonce a month\n")
    with collecting() as collector, Program(tmp_path / "data", notes) as program:
        program.environment |= sends_to(collector.url)
        program.start().ready()
        written_at = time.time()
        (notes / "leave.md").write_text("# Leave\n\nthirty days of it\n")
        program.until(lambda: of_edit(collector, "leave.md", written_at), what="the trace is whole")
        trace = of_edit(collector, "leave.md", written_at)
        assert {"detect", *STAGES} <= set(trace)
        assert {span.role for spans in trace.values() for span in spans} == {"daemon"}
        deleted_at = time.time()
        (notes / "leave.md").unlink()
        program.until(lambda: collector.spans("retire"), what="the trace of the deletion is there")
        (retire,) = collector.spans("retire")
        assert retire.attributes["headwater.uri"] == "leave.md"
        assert deleted_at - 1.0 <= retire.begun_at <= retire.ended_at
        program.stop()


def test_a_collector_that_is_away_costs_no_edit(tmp_path: Path, notes: Path) -> None:
    (notes / "leave.md").write_text("# Leave\n\ntwenty-seven days\n")
    with Program(tmp_path / "data", notes) as program:
        program.environment |= sends_to(f"http://127.0.0.1:{free_port()}")
        program.start().ready()
        (notes / "leave.md").write_text("# Leave\n\nthirty days of it\n")
        program.until(lambda: "thirty" in program.search("days", top_k=1)[0]["text"], what="it is found")
        program.until(lambda: "opentelemetry" in program.said(), what="it is told")
        program.stop()
        assert program.said().count("encountered while exporting") <= 1


def test_nothing_is_imported_where_nobody_collects(tmp_path: Path) -> None:
    """Other libraries import parts of the kit where it is installed, for metrics of their own."""
    code = (
        "import sys\n"
        "import ops.daemon, ops.roles.worker, ops.roles.watch, ops.telling\n"
        "from ops.tracing import open_traces\n"
        "assert open_traces('daemon', {}).tracing.traceparent() is None\n"
        "ours = ('opentelemetry.sdk.trace', 'opentelemetry.exporter')\n"
        "print([name for name in sys.modules if name.startswith(ours)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def _has_child(spans: list[Span], parent: Span) -> bool:
    return any(span.parent_id == parent.span_id for span in spans)


def _generations(deployment: Deployment) -> list[int]:
    return [hit["generation"] for hit in deployment.answers("holiday")]
