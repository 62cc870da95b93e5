"""How fast texts are embedded: the library as it comes, at its best, and through the micro-batcher.

Run: ``python tests/bench/embedding.py [--texts 400] [--model all-MiniLM-L6-v2]``. The texts are passages of
*The Rust Programming Language* of at most 256 tokens. The floor, in the same run, is one direct call of
sentence-transformers with bf16 and batches sorted by length.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

from ingestion.records import Lane
from retrieval.embedding.batching import MicroBatcher
from retrieval.embedding.hashing import HashingEmbedder
from retrieval.embedding.model_folder import read_model_folder
from retrieval.embedding.models import DEFAULT_MODEL, find_model
from retrieval.embedding.port import Embedder
from retrieval.embedding.sentence_transformers import SentenceTransformersEmbedder

BOOK = Path(__file__).resolve().parents[2] / "../shared/data/rust-book-history/base.json.gz"
SLICE = 32


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--texts", type=int, default=400)
    arguments.add_argument("--model", default=DEFAULT_MODEL)
    given = arguments.parse_args()
    report_hashing()
    embedder = SentenceTransformersEmbedder(read_model_folder(find_model(given.model), given.model))
    report_loading(embedder)
    texts = passages(embedder, given.texts)
    report_as_it_comes(given.model, texts[: given.texts // 4])
    report_rates(embedder, texts)
    report_waiting(embedder, texts)


def passages(embedder: Embedder, count: int) -> list[str]:
    """Paragraphs of the book run together up to the limit; a fixed random sample, in random order."""
    files: dict[str, str] = json.loads(gzip.decompress(BOOK.read_bytes()))["files"]
    found: list[str] = []
    for path in sorted(files):
        run = ""
        for paragraph in files[path].split("\n\n"):
            joined = f"{run}\n\n{paragraph}".strip()
            if run and embedder.count_tokens([joined])[0] > embedder.max_tokens:
                found.append(run)
                joined = paragraph
            run = joined
        found.append(run)
    tokens = embedder.count_tokens(found)
    print(f"{len(found)} passages, {statistics.mean(tokens):.0f} tokens on average")
    return random.Random(7).sample(found, min(count, len(found)))


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


def report_loading(embedder: SentenceTransformersEmbedder) -> None:
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


def report_as_it_comes(model: str, texts: Sequence[str]) -> None:
    from sentence_transformers import SentenceTransformer

    plain = SentenceTransformer(str(find_model(model)), local_files_only=True)
    seconds = timed(lambda: in_thread(lambda: plain.encode(list(texts), show_progress_bar=False)))
    print(f"sentence-transformers as it comes: {len(texts) / seconds:.1f} texts/s")


def report_rates(embedder: SentenceTransformersEmbedder, texts: list[str]) -> None:
    """Three times each, in turns, because the machine's speed drifts; the best counts.

    Each in a thread that ends: OpenMP slows down while the threads of two callers exist.
    """
    import torch
    from sentence_transformers import SentenceTransformer

    wide = "bf16" in embedder.description
    direct = SentenceTransformer(
        str(embedder.model_folder),
        local_files_only=True,
        model_kwargs={"dtype": torch.bfloat16 if wide else torch.float32},
    )
    in_thread(lambda: direct.encode(texts[:SLICE], show_progress_bar=False))
    sorted_texts = sorted(texts, key=len)
    ways: dict[str, Callable[[], object]] = {
        f"direct, sorted, batches of {size}": lambda size=size: direct.encode(  # type: ignore[misc]
            sorted_texts, batch_size=size, show_progress_bar=False
        )
        for size in (8, 16, 32)
    }
    ways["embedder, all at once"] = lambda: embedder.embed_documents(texts)
    ways["batcher, slices of 32, 2 callers"] = lambda: through_batcher(embedder, texts)
    ways["batcher, the same sorted by the caller"] = lambda: through_batcher(embedder, sorted_texts)
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(3):
        for way, call in ways.items():
            best[way] = min(best[way], timed(lambda call=call: in_thread(call)))  # type: ignore[misc]
    floor = min(seconds for way, seconds in best.items() if way.startswith("direct"))
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
