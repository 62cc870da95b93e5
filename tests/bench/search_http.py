"""Searches over HTTP at ten and a hundred thousand chunks, alone and while a first index is made.

    python -m tests.bench.search_http [CHUNKS ...] [--busy-model all-MiniLM-L6-v2]

The chunks are those of ``_prepared``. Times are those of the client, over one connection kept alive, minus
what the service says it spent embedding the question.
The floor is ``/healthz`` over the same connection. Recall of the vector part is measured by
``search_index``. Targets: issue 3, figure 4.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench._common import (
    HASHING,
    REAL,
    Service,
    begin,
    percentile,
    row,
    service,
    small_files,
    workplace,
    write_all,
)
from tests.bench._prepared import prepare

SEARCHES = 200
BUSY_FILES = {HASHING: 20_000, REAL: 6_000}
BUSY_MOST_S = 60.0
_EMBED = re.compile(r"embed;dur=([0-9.]+)")


def main(sizes: Sequence[int], busy_models: Sequence[str]) -> None:
    begin("Searches over HTTP")
    for size in sizes:
        with workplace() as place:
            questions = prepare(place, size, HASHING)
            alone(place, size, questions)
            for model in busy_models:
                if model != HASHING:
                    questions = prepare(place / model, size, model)
                during_first_index(place if model == HASHING else place / model, size, model, questions)


def alone(place: Path, size: int, questions: Sequence[str]) -> None:
    limit_ms = 20 if size <= 10_000 else 30
    with service([place / "held"], place / "data") as one:
        one.until_ready(120)
        timed(one, questions[:20])
        took, _ = timed(one, repeated(questions, SEARCHES))
        floor = [request_s(one) for _ in range(SEARCHES)]
    row(f"{size} chunks: floor, /healthz", shown(floor))
    row(f"{size} chunks: a search, alone", shown(took), f"p50 <= {limit_ms} ms")


def during_first_index(place: Path, size: int, model: str, questions: Sequence[str]) -> None:
    bulk = place / f"bulk-{model}"
    write_all(bulk, small_files(BUSY_FILES[model], seed=17))
    took: list[float] = []
    whole: list[float] = []
    with service([place / "held", bulk], place / "data", model=model) as one:
        one.until(lambda: pending(one, bulk.name), 120, "bulk work")
        one.until(lambda: "model" not in (one.reasons() or ""), 180, "the model", pause_s=0.05)
        ends = time.monotonic() + BUSY_MOST_S
        while time.monotonic() < ends and pending(one, bulk.name):
            without, with_model = timed(one, repeated(questions, 20))
            took += without
            whole += with_model
            time.sleep(0.1)
    if took:
        what = f"{size} chunks: {len(took)} searches, first index, {model}"
        row(what, shown(took), "p95 <= 250 ms")
        row("  with the embedding of the question", shown(whole))


def pending(one: Service, name: str) -> int:
    found = [source for source in one.get("/v1/sources")["sources"] if source["name"] == name]
    return int(found[0]["documents"].get("pending", 0)) if found else 0


def timed(one: Service, questions: Sequence[str]) -> tuple[list[float], list[float]]:
    """Seconds of each search without its embedding, and with it."""
    without, whole = [], []
    for question in questions:
        began = time.perf_counter()
        answer = one.client.post("/v1/search", json={"query": question, "top_k": 10})
        took = time.perf_counter() - began
        embedding = _EMBED.search(answer.raise_for_status().headers["server-timing"])
        if not embedding or len(answer.json()["hits"]) != 10:
            raise AssertionError(f"not a whole answer: {answer.headers['server-timing']}")
        whole.append(took)
        without.append(took - float(embedding[1]) / 1000)
    return without, whole


def request_s(one: Service) -> float:
    began = time.perf_counter()
    one.client.get("/healthz").raise_for_status()
    return time.perf_counter() - began


def repeated(questions: Sequence[str], number: int) -> list[str]:
    return [questions[at % len(questions)] for at in range(number)]


def shown(seconds: Sequence[float]) -> str:
    p50, p95 = (1000 * percentile(seconds, percent) for percent in (50, 95))
    return f"p50 {p50:.1f} ms, p95 {p95:.1f} ms"


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("chunks", type=int, nargs="*", default=[10_000, 100_000])
    arguments.add_argument("--busy-model", choices=[HASHING, REAL], action="append")
    given = arguments.parse_args()
    main(given.chunks, given.busy_model or [HASHING, REAL])
