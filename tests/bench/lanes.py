"""Edits of one file while a first index of thousands of documents is being made.

    python -m tests.bench.lanes [--model hashing]

One folder is indexed already; its file is edited first while nothing else happens, and again after a
second folder was added, for as long as that one's first index lasts. The difference of the medians is
what bulk work costs an edit. Targets: issue 3, "Two lanes".
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from tests.bench._common import (
    HASHING,
    REAL,
    Service,
    begin,
    row,
    save,
    service,
    small_files,
    spread,
    workplace,
    write_all,
)

EDITS = 30
MOST_S = 0.15
BULK_FILES = {HASHING: 20_000, REAL: 6_000}


def main(models: list[str]) -> None:
    begin("Edits during a first index")
    for model in models:
        with workplace() as place:
            measure(place, model)


def measure(place: Path, model: str) -> None:
    notes, bulk, data = place / "notes", place / "bulk", place / "data"
    write_all(notes, small_files(50))
    write_all(bulk, small_files(BULK_FILES[model], seed=13))
    with service([notes], data, model=model) as one:
        one.until_ready(300)
        idle = [edit(one, notes, f"quiet{number}") for number in range(EDITS)]
    with service([notes, bulk], data, model=model) as one:
        busy = during_first_index(one, notes)
    difference = statistics.median(busy) - statistics.median(idle)
    row(f"{model}: an edit, idle", spread(idle))
    row(f"{model}: {len(busy)} edits, first index of {BULK_FILES[model]} files", spread(busy))
    row("  difference of the medians", f"{difference:.3f} s", f"<= {MOST_S} s")


def during_first_index(one: Service, notes: Path) -> list[float]:
    """Lags of edits that began and ended while bulk work was pending, with the model loaded."""
    one.until(lambda: pending(one) > 0, 60, "bulk work")
    one.until(lambda: "model" not in (one.reasons() or ""), 180, "the model", pause_s=0.05)
    lags: list[float] = []
    while len(lags) < EDITS:
        lag = edit(one, notes, f"busy{len(lags)}")
        if not pending(one):
            break
        lags.append(lag)
    return lags


def edit(one: Service, notes: Path, word: str) -> float:
    """Polls the document, not the search: a search costs an embedding on the same cores."""
    time.sleep(0.2)
    file = notes / "0000/7.md"
    page = one.get("/v1/documents?source=notes&limit=100")["documents"]
    (known,) = [view for view in page if view["uri"] == "0000/7.md"]
    path = f"/v1/documents/{known['document_id']}"
    save(file, f"# Note\n\nOne line with {word} in it, and some more words around it.\n")
    saved = time.perf_counter()
    one.until(lambda: one.get(path)["generation"] > known["generation"], 60, word, pause_s=0.005)
    one.until(lambda: any(word in hit["text"] for hit in one.search(word, 3)), 60, word)
    return time.perf_counter() - saved


def pending(one: Service) -> int:
    """Documents of the bulk folder that are not searchable yet."""
    (source,) = [source for source in one.get("/v1/sources")["sources"] if source["name"] == "bulk"]
    return int(source["documents"].get("pending", 0))


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--model", choices=[HASHING, REAL], action="append")
    main(arguments.parse_args().model or [HASHING, REAL])
