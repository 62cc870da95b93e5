"""The first index of the Rust book's base with the real model, against one direct encode of its chunks.

    python -m tests.bench.first_index

The rate counts from the moment the model is loaded, for both. The floor is one call of the same embedder on
all chunks, which it sorts by length, before the index is made and again afterwards. Targets: issue 3, figure
2, and issue 4, figure 1.
"""

from __future__ import annotations

import time
from pathlib import Path

from tests.bench._common import REAL, begin, book, row, service, workplace, write_all
from tests.bench._direct import Direct


def main() -> None:
    begin(f"First index of the Rust book with {REAL}")
    direct = Direct()
    texts = list(direct.texts(book()).values())
    with workplace() as place:
        write_all(place / "book", book())
        before_s = direct.best_s(texts)
        loaded_s, index_s = first_index(place / "book", place / "data")
        floor_s = min(before_s, direct.best_s(texts))
    row("floor: one direct encode", f"{len(texts) / floor_s:.1f} texts/s", direct.embedder.description)
    row("from the start of the process until the model is loaded", f"{loaded_s:.1f} s")
    row(f"first index of {len(texts)} distinct texts after that", f"{len(texts) / index_s:.1f} texts/s")
    row("  of the floor", f"{100 * floor_s / index_s:.0f} %", ">= 90 %")


def first_index(folder: Path, data: Path) -> tuple[float, float]:
    """Seconds until the model was loaded, and from then until everything was searchable."""
    with service([folder], data, model=REAL) as one:
        one.until(lambda: "model" not in (one.reasons() or ""), 180, "the model", pause_s=0.05)
        loaded = time.perf_counter()
        one.until(lambda: one.reasons() is None, 900, "ready", pause_s=0.5)  # a look takes 5 ms of a core
        return loaded - one.started, time.perf_counter() - loaded


if __name__ == "__main__":
    main()
