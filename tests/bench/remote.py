"""Embedding at a provider that takes 50 ms a call: how much of what its limits allow is used.

    python -m tests.bench.remote

The stand-in (``tests.bench._stand_in``) is a process of its own on the same cores. It allows so many requests
at once with so many texts each, hence texts/s = requests x texts / 50 ms. First the embedder alone, through
the micro-batcher, then the whole program: a first index of small files, one text each, with limits at which
reading, chunking and writing are not what it waits for (the same files with the hashing embedder, whose
calls take no time, are the floor that shows it). Then with a 429 for every 20th request. Targets: issue 4,
figure 6.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from ingestion.records import Lane
from ops.wiring import SWITCH_S
from retrieval.embedding.batching import MicroBatcher
from retrieval.embedding.remote.making import RemoteModel, make_remote
from tests.bench._common import HASHING, ROOT, begin, row, service, small_files, workplace, write_all
from tests.bench._stand_in import CALL_S, DIMENSIONS

ALONE = ((4, 96), (16, 32))
PROGRAM = (4, 4)
QUICKER = (4, 8)
FILES = 12_000
SECONDS = 8
LEAST = 0.9
BUSY_EVERY = 20
RETRY_AFTER_S = 0.3


def main() -> None:
    begin("Embedding at a provider of 50 ms a call")
    sys.setswitchinterval(SWITCH_S)  # as in the program
    for at_once, texts in ALONE:
        alone(at_once, texts)
    with workplace() as place:
        corpus = place / "files"
        write_all(corpus, small_files(FILES))
        row(f"program, {FILES} files, hashing here", f"{floor(corpus, place):,.0f} texts/s")
        program(corpus, place, *PROGRAM, least=LEAST)
        program(corpus, place, *QUICKER)
        program(corpus, place, *QUICKER, busy_every=BUSY_EVERY)


def alone(at_once: int, texts: int) -> None:
    """Callers hand over slices of a request each, as the bulk lane does, and two more wait."""
    allowed = at_once * texts / CALL_S
    number = int(allowed * SECONDS) // texts
    slices = [[f"text {part} {place}" for place in range(texts)] for part in range(number)]
    with provider(at_once, texts) as url:
        embedder = make_remote(model(url, at_once, texts))
        batcher = MicroBatcher(embedder)
        batcher.embed(["a first text"], Lane.BULK)
        started = time.perf_counter()
        with ThreadPoolExecutor(at_once + 2) as callers:
            list(callers.map(lambda part: batcher.embed(part, Lane.BULK), slices))
        rate = number * texts / (time.perf_counter() - started)
        batcher.close()
        embedder.close()
        told = report(url)
    tell(f"embedder alone, {at_once} calls of {texts} texts", rate, allowed, LEAST)
    row("  requests at once, texts answered twice", f"{told['most_at_once']}, {told['answered_twice']}")


def floor(corpus: Path, place: Path) -> float:
    with service([corpus], place / "floor", model=HASHING) as one:
        return FILES / one.until_ready(300)


def program(
    corpus: Path, place: Path, at_once: int, texts: int, *, least: float = 0.0, busy_every: int = 0
) -> None:
    """``headwater up`` on new data; the rate from the first text of a document to the last answer."""
    allowed = at_once * texts / CALL_S
    with provider(at_once, texts, busy_every) as url:
        environ = {
            "HEADWATER_EMBEDDING__RUNTIME": "openai",
            "HEADWATER_EMBEDDING__URL": url,
            "HEADWATER_EMBEDDING__DIMENSIONS": str(DIMENSIONS),
            "HEADWATER_EMBEDDING__CONCURRENCY": str(at_once),
            "HEADWATER_EMBEDDING__BATCH_TEXTS": str(texts),
        }
        with service(
            [corpus], place / f"data-{texts}-{busy_every}", model="stand-in", environ=environ
        ) as one:
            one.until_ready(300)
            cores = one.processor_s()
        told = report(url)
    seconds = told["last_at"] - told["first_at"]
    if not busy_every:
        tell(f"program, {FILES} files, {at_once} calls of {texts} texts", FILES / seconds, allowed, least)
        row("  processor time of the program", f"{cores / seconds:.0%} of a core")
    else:
        row(f"program, every {busy_every}th request refused", f"{FILES / seconds:,.0f} texts/s")
    row("  429 answers", str(told["refused"]))
    row("  requests before Retry-After was over", str(told["early"]), "0")
    row("  texts answered twice", str(told["answered_twice"]), "0")
    row("  texts sent twice but for refused requests", str(told["sent_needlessly"]), "0")


def tell(what: str, rate: float, allowed: float, least: float) -> None:
    row(what, f"{rate:,.0f} texts/s")
    row(
        f"  of the {allowed:,.0f} texts/s allowed",
        f"{rate / allowed:.0%}",
        f">= {least:.0%}" if least else "",
    )


@contextlib.contextmanager
def provider(at_once: int, texts: int, busy_every: int = 0) -> Iterator[str]:
    """The address of a stand-in with these limits."""
    limits = [f"--at-once={at_once}", f"--texts={texts}", f"--busy-every={busy_every}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench._stand_in", *limits, f"--retry-after={RETRY_AFTER_S}"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)


def model(url: str, at_once: int, texts: int) -> RemoteModel:
    return RemoteModel(
        "openai", url, "stand-in", dimensions=DIMENSIONS, concurrency=at_once, batch_texts=texts
    )


def report(url: str) -> dict[str, Any]:
    told: dict[str, Any] = httpx.get(f"{url}/report", trust_env=False).json()
    return told


if __name__ == "__main__":
    main()
