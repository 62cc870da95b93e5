"""The runtimes of the default model compared: rate, latency, start, memory, size, quality.

    python -m tests.bench.embedding [--texts 300] [--without-quality]

Each runs in a process of its own, one after the other, on the same chunks of *The Rust Programming
Language*. The floors are in the same run: sentence-transformers as it comes, and at its best (batches sorted
by length; bf16 where the processor has it). Targets: issue 4, figures 1, 3 and 5. Start: from the start of
the process to its first vector, the second time, when the trial has been held. Environment: the packages that
a runtime needs installed.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
from packaging.requirements import Requirement

from retrieval.embedding.models import DEFAULT_MODEL, make_embedder
from retrieval.embedding.processor import cpu_has_bf16
from tests.bench._common import begin, book, row
from tests.bench._direct import texts_of
from tests.bench._ways import WAYS

AS_IT_COMES, SORTED, FLOAT32, BF16, INT8 = (
    "sentence-transformers, as it comes",
    "sentence-transformers, length-sorted",
    "openvino float32",
    "openvino bf16",
    "openvino int8",
)
LIGHT, HEAVY = ("openvino", "tokenizers", "numpy"), ("sentence-transformers",)


@dataclass(frozen=True)
class Line:
    """One row of the table."""

    description: str
    texts_per_s: float
    query_ms: float
    resident_mb: float
    start_s: float
    vectors: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    ndcg: float | None = None


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--texts", type=int, default=300)
    arguments.add_argument("--without-quality", action="store_true")
    given = arguments.parse_args()
    begin(f"Runtimes of {DEFAULT_MODEL}")
    counting = make_embedder(DEFAULT_MODEL)
    chunks = list(texts_of(book(), counting).values())
    texts = random.Random(7).sample(chunks, min(given.texts, len(chunks)))
    tokens = float(np.mean([min(count, counting.max_tokens) for count in counting.count_tokens(texts)]))
    print(f"{len(texts)} chunks, {tokens:.0f} tokens on average\n")
    lines = {}
    for name in WAYS:
        if name == BF16 and not cpu_has_bf16():
            print(f"{name}: not measured, this processor has no bf16")
            continue
        lines[name] = measured(
            name, texts, quality=not given.without_quality and name in (FLOAT32, BF16, INT8)
        )
    print_table(lines)
    print_targets(lines)


def measured(name: str, texts: list[str], *, quality: bool) -> Line:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "texts.json").write_text(json.dumps(texts))
        if quality:
            (place / "quality").touch()
        run(name, place, only_start=True)
        start_s, found = run(name, place)
        return Line(**found, start_s=start_s, vectors=np.load(place / "vectors.npy"))  # type: ignore[arg-type]


def run(name: str, place: Path, *, only_start: bool = False) -> tuple[float, dict[str, object]]:
    """Seconds to the first vector, and the rest that was measured."""
    command = [sys.executable, "-m", "tests.bench._ways", name, str(place)]
    began = time.perf_counter()
    with (
        (place / "log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        said(process, place)
        start_s = time.perf_counter() - began
        if only_start:
            process.kill()
            return start_s, {}
        return start_s, said(process, place)


def said(process: subprocess.Popen[str], place: Path) -> dict[str, object]:
    """Its next line. Raises RuntimeError with the end of its log where there is none."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError((place / "log").read_text()[-2000:])
    found: dict[str, object] = json.loads(line)
    return found


def print_table(lines: dict[str, Line]) -> None:
    print(
        "\n| | texts/s | query p50 ms | start s | resident MB | environment MB | nDCG@10 | min. cosine |"
        "\n|---|---|---|---|---|---|---|---|"
    )
    plain = lines[AS_IT_COMES].vectors
    for name, line in lines.items():
        cells = (
            f"{name} ({line.description.rsplit(', ', 1)[-1]})",
            f"{line.texts_per_s:.1f}",
            f"{line.query_ms:.1f}",
            f"{line.start_s:.2f}",
            f"{line.resident_mb:.0f}",
            f"{installed_bytes(HEAVY if 'sentence' in name else LIGHT) / 1e6:.0f}",
            "" if line.ndcg is None else f"{line.ndcg:.4f}",
            f"{np.einsum('ij,ij->i', plain, line.vectors).min():.6f}",
        )
        print(f"| {' | '.join(cells)} |")
    print()


def print_targets(lines: dict[str, Line]) -> None:
    ours = lines.get(BF16) or lines[FLOAT32]
    for floor, least in ((SORTED, 1.35), (AS_IT_COMES, 4.0)):
        row(f"rate over {floor}", f"{ours.texts_per_s / lines[floor].texts_per_s:.2f}", f">= {least}")
    row("query p50", f"{ours.query_ms:.1f} ms", "<= 3.5 ms")
    exact = lines[FLOAT32].ndcg
    for name in (BF16, INT8):
        if exact is not None and name in lines and (ndcg := lines[name].ndcg) is not None:
            row(f"nDCG@10, {name} off float32", f"{abs(ndcg - exact):.4f}", "<= .003")


def installed_bytes(roots: tuple[str, ...]) -> int:
    """The files of these distributions and of all that they require."""
    sizes = [
        path.stat().st_size
        for name in required(roots)
        for file in metadata.files(name) or ()
        if (path := Path(str(file.locate()))).is_file()
    ]
    return sum(sizes)


def required(roots: tuple[str, ...]) -> Iterator[str]:
    waiting, seen = list(roots), set(roots)
    while waiting:
        name = waiting.pop()
        yield name
        for text in metadata.requires(name) or ():
            one = Requirement(text)
            if (one.marker is None or one.marker.evaluate({"extra": ""})) and one.name not in seen:
                seen.add(one.name)
                waiting.append(one.name)


if __name__ == "__main__":
    main()
