"""kill -9 in the middle of a first index, and a second start: what is embedded twice, what comes out.

    python -m tests.bench.kill9 [--model hashing]

The program runs with an embedder that notes each text before it embeds it (``tests.bench._counted``).
Targets: issue 3, figure 5: at most 64 texts twice, the same chunks as an index that nobody disturbed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from tests.bench._common import (
    HASHING,
    REAL,
    Service,
    begin,
    book,
    exported,
    row,
    service,
    small_files,
    workplace,
    write_all,
)
from tests.bench._counted import LINE_BYTES, NOTES

COMMAND = (sys.executable, "-m", "tests.bench._counted")
MOST_TWICE = 64
SHARES = (0.1, 0.5, 0.9)
LARGE_CHUNKS = 2000


def main(model: str) -> None:
    begin(f"kill -9 during a first index, {model}")
    corpora = {"the Rust book": book(), f"one file of {LARGE_CHUNKS} chunks": one_large_file()}
    if model == HASHING:
        corpora["5000 small files"] = small_files(5000)
    with workplace() as place:
        for number, (name, files) in enumerate(corpora.items()):
            corpus = place / str(number) / "files"
            write_all(corpus, files)
            measure(name, corpus, place / str(number), model)


def measure(name: str, folder: Path, place: Path, model: str) -> None:
    undisturbed = place / "undisturbed"
    notes = place / "undisturbed.notes"
    with counted(folder, undisturbed, notes, model) as one:
        one.until_ready(900)
    wanted, total = exported(undisturbed), count(notes)
    row(f"{name}: undisturbed", f"{total} texts, {len(wanted)} chunks")
    for share in SHARES:
        data, notes = place / f"killed-{share}", place / f"killed-{share}.notes"
        killed_at = kill_after(folder, data, notes, model, int(total * share))
        with counted(folder, data, notes, model) as one:
            one.until_ready(900)
        twice = count(notes) - distinct(notes)
        same = "equal" if exported(data) == wanted else "DIFFERENT"
        row(
            f"{name}: killed after {killed_at} texts",
            f"{twice} twice, {same}",
            f"<= {MOST_TWICE} twice, equal",
        )


def kill_after(folder: Path, data: Path, notes: Path, model: str, texts: int) -> int:
    """Texts that had been noted when the process was dead."""
    with counted(folder, data, notes, model) as one:
        one.until(lambda: count(notes) >= texts, 900, f"{texts} texts", pause_s=0.0005)
        one.kill()
    return count(notes)


def counted(folder: Path, data: Path, notes: Path, model: str) -> AbstractContextManager[Service]:
    return service([folder], data, model=model, command=COMMAND, environ={NOTES: str(notes)})


def count(notes: Path) -> int:
    return notes.stat().st_size // LINE_BYTES if notes.exists() else 0


def distinct(notes: Path) -> int:
    return len(set(notes.read_text().split()))


def one_large_file() -> Mapping[str, str]:
    """Sections of which each is one chunk."""
    sections = [
        f"## Section {number}\n\n" + text.split("\n\n", 1)[1]
        for number, text in enumerate(small_files(LARGE_CHUNKS, seed=11).values())
    ]
    return {"large.md": "# One large file\n\n" + "\n".join(sections)}


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--model", choices=[HASHING, REAL], default=HASHING)
    main(arguments.parse_args().model)
