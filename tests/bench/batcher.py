"""How fast texts go through the micro-batcher, and how long the urgent ones wait there.

Run: ``python -m tests.bench.batcher [--texts 400] [--model all-MiniLM-L6-v2]``. The texts are chunks of *The
Rust Programming Language*. The floor, in the same run, is one direct call of the same embedder.
"""

from __future__ import annotations

import argparse
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import psutil

from ingestion.records import Lane
from retrieval.embedding.batching import MicroBatcher
from retrieval.embedding.hashing import HashingEmbedder
from retrieval.embedding.models import DEFAULT_MODEL, make_embedder
from retrieval.embedding.port import Embedder
from tests.bench._common import book
from tests.bench._direct import texts_of

SLICE = 32


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--texts", type=int, default=400)
    arguments.add_argument("--model", default=DEFAULT_MODEL)
    given = arguments.parse_args()
    report_hashing()
    embedder = make_embedder(given.model)
    report_loading(embedder)
    texts = list(texts_of(book(), embedder).values())
    texts = random.Random(7).sample(texts, min(given.texts, len(texts)))
    report_rates(embedder, texts)
    report_waiting(embedder, texts)


def report_hashing() -> None:
    words = [f"w{number}" for number in range(20_000)]
    pick = random.Random(7)
    texts = [" ".join(pick.choices(words, k=100)) for _ in range(20_000)]
    embedder = HashingEmbedder()
    embedder.embed_documents(texts)
    direct_s = timed(lambda: [embedder.embed_documents(part) for part in slices(texts)])
    batcher = MicroBatcher(embedder)
    through_s = timed(lambda: submit(batcher, list(slices(texts)), callers=2))
    batcher.close()
    print(f"hashing 20,000 texts: direct {direct_s:.2f} s, through the batcher {through_s:.2f} s")


def report_loading(embedder: Embedder) -> None:
    """Load in a thread, and see for how long another thread cannot run meanwhile."""
    before = psutil.Process().memory_info().rss
    loading = threading.Thread(target=embedder.load)
    started = last = time.perf_counter()
    loading.start()
    longest = 0.0
    while loading.is_alive():
        time.sleep(0.002)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    grown = psutil.Process().memory_info().rss - before
    print(
        f"load {last - started:.1f} s, another thread held up for at most {longest:.2f} s, "
        f"{grown / 2**20:.0f} MiB, {embedder.description}"
    )


def report_rates(embedder: Embedder, texts: list[str]) -> None:
    """Three times each, in turns, because the machine's speed drifts; the best counts.

    Each in a thread that ends: OpenMP slows down while the threads of two callers exist.
    """
    sorted_texts = sorted(texts, key=len)
    ways: dict[str, Callable[[], object]] = {
        "direct, all at once": lambda: embedder.embed_documents(texts),
        "batcher, slices of 32, 2 callers": lambda: through_batcher(embedder, texts),
        "batcher, the same sorted by the caller": lambda: through_batcher(embedder, sorted_texts),
    }
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(3):
        for way, call in ways.items():
            best[way] = min(best[way], timed(lambda call=call: in_thread(call)))  # type: ignore[misc]
    floor = next(iter(best.values()))
    for way, seconds in best.items():
        print(f"{way}: {len(texts) / seconds:.1f} texts/s, {floor / seconds:.0%} of the floor")


def report_waiting(embedder: Embedder, texts: list[str]) -> None:
    """Queries and single fresh texts, alone and while two callers keep the bulk lane full."""
    batcher = MicroBatcher(embedder)
    question = "How do I borrow a mutable reference?"
    urgent: dict[str, Callable[[], object]] = {
        "query": lambda: batcher.embed_query(question),
        "fresh text": lambda: batcher.embed(texts[:1], Lane.FRESH),
    }
    for name, call in urgent.items():
        print(f"{name}, idle: {quantiles([timed(call) for _ in range(30)])}")
    stopped = threading.Event()
    callers = [threading.Thread(target=keep_full, args=(batcher, texts, stopped)) for _ in range(2)]
    for caller in callers:
        caller.start()
    for name, call in urgent.items():
        waits = []
        for pause in random.Random(7).choices(range(5, 120), k=30):
            time.sleep(pause / 1000)
            waits.append(timed(call))
        print(f"{name}, bulk lane full: {quantiles(waits)}")
    stopped.set()
    for caller in callers:
        caller.join()
    batcher.close()


def through_batcher(embedder: Embedder, texts: list[str]) -> None:
    batcher = MicroBatcher(embedder)
    submit(batcher, list(slices(texts)), callers=2)
    batcher.close()


def in_thread(call: Callable[[], object]) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def keep_full(batcher: MicroBatcher, texts: list[str], stopped: threading.Event) -> None:
    while not stopped.is_set():
        batcher.embed(random.sample(texts, SLICE), Lane.BULK)


def submit(batcher: MicroBatcher, waiting: list[Sequence[str]], callers: int) -> None:
    """Every slice once, each caller taking the next one when its last is answered."""

    def call() -> None:
        while True:
            try:
                part = waiting.pop()
            except IndexError:
                return
            batcher.embed(part, Lane.BULK)

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def slices(texts: list[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(texts), SLICE):
        yield texts[start : start + SLICE]


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def quantiles(seconds: list[float]) -> str:
    deciles = statistics.quantiles(seconds, n=10)
    return (
        f"p50 {1000 * deciles[4]:.0f} ms, p90 {1000 * deciles[8]:.0f} ms, worst {1000 * max(seconds):.0f} ms"
    )


if __name__ == "__main__":
    main()
