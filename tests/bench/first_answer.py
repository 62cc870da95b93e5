"""How long a user waits for the first answer by meaning, and what the model costs a search and the memory.

    python -m tests.bench.first_answer [--skip-make]

Each from the start of a process: ``headwater up`` on an index of 10,000 chunks, and ``make up`` on a clean
clone with no environment yet (packages come from the installer's cache), both with the real model. An answer
counts once it is of mode ``hybrid``: before, words alone are searched. The floors are an interpreter that
loads the model and embeds one question, and the installer alone. Targets: issue 4, figures 2 and 3.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from tests.bench._common import (
    REAL,
    ROOT,
    Service,
    as_a_user,
    begin,
    percentile,
    row,
    service,
    until,
    workplace,
)
from tests.bench._prepared import prepare

CHUNKS = 10_000
STARTS = 5
SEARCHES = 300
QUESTION = "How many days of leave do I have?"
_EMBED = re.compile(r"embed;dur=([0-9.]+)")
_ONE_QUESTION = (
    f"from retrieval.embedding.models import make_embedder; make_embedder({REAL!r}).embed_query({QUESTION!r})"
)


def main(*, with_make: bool) -> None:
    begin(f"First answers, with {REAL}")
    with workplace() as place:
        questions = prepare(place, CHUNKS, REAL)
        floor = [run([sys.executable, "-c", _ONE_QUESTION], ROOT) for _ in range(STARTS)]
        row("floor: a process that embeds one question", f"{statistics.median(floor):.2f} s")
        started = [first_answer(place) for _ in range(STARTS)]
        row(
            f"headwater up on {CHUNKS} chunks, until a hybrid answer",
            f"{statistics.median(started):.2f} s, worst {max(started):.2f}",
            "<= 2.5 s",
        )
        with service([place / "held"], place / "data", model=REAL) as one:
            until_hybrid(one, QUESTION)
            searches(one, questions)
            now, peak = one.memory_mb()
            row("memory with it and the model, resident", f"{now:.0f} MB, peak {peak:.0f} MB", "<= 450 MB")
        if with_make:
            make_up(place)


def first_answer(place: Path) -> float:
    with service([place / "held"], place / "data", model=REAL) as one:
        until_hybrid(one, QUESTION)
        return time.perf_counter() - one.started


def until_hybrid(one: Service, question: str) -> None:
    one.until(lambda: is_hybrid(one.client, question), 120, "an answer by meaning", pause_s=0.02)


def is_hybrid(client: httpx.Client, question: str) -> bool:
    """Whether a search now finds something, by meaning too."""
    answer = client.post("/v1/search", json={"query": question, "top_k": 3}).raise_for_status().json()
    return bool(answer["hits"]) and answer["mode"] == "hybrid"


def searches(one: Service, questions: Sequence[str]) -> None:
    whole, embedding = [], []
    for at in range(SEARCHES):
        body = {"query": f"{questions[at % len(questions)]} {at}", "top_k": 10}
        began = time.perf_counter()
        answer = one.client.post("/v1/search", json=body)
        whole.append(time.perf_counter() - began)
        found = _EMBED.search(answer.raise_for_status().headers["server-timing"])
        if found is None:
            raise AssertionError("the question was not embedded")
        embedding.append(float(found[1]) / 1000)
    row("embedding of a question, in the service", shown(embedding), "p50 <= 3.5 ms")
    row(f"a search over HTTP at {CHUNKS} chunks, that included", shown(whole), "p50 <= 15 ms")


def make_up(place: Path) -> None:
    """A clone as git gives it; what is not committed is not in it."""
    clone, data = place / "clone", place / "clone-data"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True, timeout=60)
    environ = {
        **{name: value for name, value in as_a_user().items() if name != "PYTHONPATH"},
        "HEADWATER_DAEMON__DATA": str(data),
        "HEADWATER_DAEMON__PORT": "0",
        # The installer's cache is warm, ours is not: the trial of the model is part of a first start.
        "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv"),
        "XDG_CACHE_HOME": str(place / "cache"),
    }
    row("floor: make, until the program is installed", f"{installed_s(clone, environ):.1f} s")
    run(["make", "clean"], clone, environ)
    row(
        "make up on a clean clone, until a hybrid answer",
        f"{answered_s(clone, data, environ):.1f} s",
        "<= 20 s",
    )
    size = subprocess.run(["du", "-sm", str(clone / ".venv")], check=True, capture_output=True, text=True)
    row("  its environment on the disk", f"{size.stdout.split()[0]} MB")


def installed_s(clone: Path, environ: Mapping[str, str]) -> float:
    return run(["make", ".venv/.headwater-run"], clone, environ)


def answered_s(clone: Path, data: Path, environ: Mapping[str, str]) -> float:
    began = time.perf_counter()
    making = subprocess.Popen(
        ["make", "up"],
        cwd=clone,
        env=dict(environ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until(lambda: _answers(data), 300, "the first answer of make up", 0.02)
        return time.perf_counter() - began
    finally:
        os.killpg(making.pid, signal.SIGTERM)
        making.wait(20)


def _answers(data: Path) -> bool:
    try:
        note = json.loads((data / "daemon.json").read_text())
        with httpx.Client(base_url=f"http://{note['host']}:{note['port']}", timeout=30) as client:
            return is_hybrid(client, QUESTION)
    except (OSError, ValueError, httpx.TransportError):
        return False


def run(command: Sequence[str], folder: Path, environ: Mapping[str, str] | None = None) -> float:
    began = time.perf_counter()
    subprocess.run(
        command,
        check=True,
        cwd=folder,
        env=dict(environ or as_a_user()),
        stdout=subprocess.DEVNULL,
        timeout=600,
    )
    return time.perf_counter() - began


def shown(seconds: Sequence[float]) -> str:
    p50, p95 = (1000 * percentile(seconds, percent) for percent in (50, 95))
    return f"p50 {p50:.1f} ms, p95 {p95:.1f} ms"


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--skip-make", action="store_true")
    main(with_make=not arguments.parse_args().skip_make)
