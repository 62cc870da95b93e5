"""A commit in a repository of ten thousand files: asked for, looked at, searchable.

    python -m tests.bench.git [--files 10000]

Files of 600 bytes, one chunk each, hashing embedder, a repository on this machine. A commit has 20 changes:
10 edits, 3 new files, 2 deletions and 5 renames. The parts are measured in this process, with a ledger in a
file; then the program is, from the end of the commit to a search. The floor, in the same run, is what git
itself takes for the same answers. Targets: issue 7, figure 4.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.sources.git.places import Local
from ingestion.sources.git.source import GitSource
from ingestion.sources.settling import Settling
from tests.bench._common import Service, begin, row, service, small_files, spread, workplace, write_all
from tests.repositories import Repository
from tests.rig import SOURCE, Rig
from workers.outcomes import Result

EDITS, NEW, GONE, RENAMES = range(10), range(3), range(10, 12), range(12, 17)
COMMITS = 10
NOTE = "# Note\n\nOne line with {word} in it, and some more words around it.\n"


@dataclass
class Commits:
    """Makes one commit after another, each of other files."""

    repository: Repository
    names: list[str]
    made: int = 0

    def next(self) -> str:
        """The word that is in what was edited and added."""
        number, self.made = self.made, self.made + 1
        names = self.names[number * 17 : (number + 1) * 17]
        word = f"xylophone{number}"
        files = {names[n]: NOTE.format(word=f"{word} {n}") for n in EDITS}
        files |= {f"new/{number}-{n}.md": NOTE.format(word=f"{word} new {n}") for n in NEW}
        for n in GONE:
            (self.repository.folder / names[n]).unlink()
        for n in RENAMES:
            self.repository("mv", names[n], f"{names[n].removesuffix('.md')}-moved.md")
        self.repository.commit({name: text.encode() for name, text in files.items()})
        return word


def main(number: int) -> None:
    begin(f"{number} files of 600 bytes in a git repository, commits of 20 changes")
    with workplace() as place:
        repository = Repository(place / "repository")
        files = small_files(number)
        write_all(repository.folder, files)
        repository.commit()
        repository("gc", "--quiet")
        commits = Commits(repository, sorted(files))
        parts(commits, place, number)
        for every_s in (0.1, 1.0):
            searchable(commits, place / f"data-{every_s}", every_s)


def parts(commits: Commits, place: Path, number: int) -> None:
    database, clock = Database.file(place / "ledger.db"), SystemClock()
    rig = Rig(database, [], clock=clock)
    source = GitSource(
        SOURCE,
        rig.ledger.kept,
        Local(commits.repository.folder, branch=None, timeout_s=60),
        location="here",
        max_file_bytes=2**20,
        every_s=1,
        clock=clock,
    )
    rig.sources[SOURCE] = source
    rig.recover()
    began = time.perf_counter()
    rig.scan()
    row("first listing, every file kept in the ledger", f"{time.perf_counter() - began:.2f} s")
    began = time.perf_counter()
    rig.scan()
    row("a listing, nothing changed", f"{time.perf_counter() - began:.2f} s")
    rig.settle()
    floors, asks, looks, founds = [], [], [], []
    for _ in range(COMMITS):
        old = commits.repository("rev-parse", "HEAD")
        commits.next()
        rig.forget_outcomes()
        began = time.perf_counter()
        dirty = source.ask()
        asks.append(time.perf_counter() - began)
        assert dirty is not None and len(dirty.touched) == 15 and len(dirty.moved) == 5
        settling, look_s = Settling(), 0.0
        settling.add(dirty, time.monotonic())
        while (due := settling.next_due()) is not None:
            time.sleep(max(0.0, due - time.monotonic()))
            batch, before = settling.due(time.monotonic()), time.perf_counter()
            if batch is not None:
                rig.reconciler.look(source, batch)
                look_s += time.perf_counter() - before
        founds.append(time.perf_counter() - began)
        looks.append(look_s)
        assert len(rig.results(Result.RENAMED)) == 5 and len(rig.results(Result.RETIRED)) == 2
        rig.settle()
        assert len(rig.embedder.texts) == 13, "renames embed nothing"
        floors.append(floor(commits.repository, old))
    row("floor: git's own answers", spread(floors))
    row("  the question", spread(asks))
    row("  the looks, ledger written", spread(looks))
    row("found, deletions and their 0.2 s of settling included", spread(founds), "<= 0.5 s")
    row("  without that settling, of the floor", f"{(sum(asks) + sum(looks)) / sum(floors):.1f} x")
    row("texts embedded by 5 renames, 10 edits, 3 new files", "13", "none by the renames")
    database.close()


def floor(repository: Repository, old: str) -> float:
    """The head, what changed since, where that is now, and its content: git alone."""

    def git(*words: str, given: str = "") -> str:
        done = subprocess.run(
            ["git", *words],
            input=given.encode(),
            capture_output=True,
            cwd=repository.folder,
            check=True,
        )
        return done.stdout.decode()

    began = time.perf_counter()
    head = git("rev-parse", "HEAD").strip()
    told = git("diff-tree", "-r", "-z", "--raw", "-M", old, head).split("\0")
    names = [one for one in told if one and not one.startswith(":")]
    listed = git("ls-tree", "-z", "-l", head, "--", *names).split("\0")[:-1]
    git("cat-file", "--batch", given="".join(f"{line.split()[2]}\n" for line in listed))
    return time.perf_counter() - began


def searchable(commits: Commits, data: Path, every_s: float) -> None:
    data.mkdir()
    config = data / "headwater.toml"
    config.write_text(
        f'[[sources]]\nname = "notes"\nkind = "git"\nrepository = "{commits.repository.folder}"\n'
        f"every_s = {every_s}\n"
    )
    with service(["--config", str(config)], data) as one:
        ready_s = one.until_ready(300)
        row("first index, from the start of the process", f"{ready_s:.1f} s")
        lags = []
        for _ in range(COMMITS):
            before = one.metric("headwater_texts_embedded_total")
            word = commits.next()
            lags.append(_lag(one, word))
            one.until(lambda: not _pending(one), 30, "everything is published")
            embedded = one.metric("headwater_texts_embedded_total") - before
            assert embedded == 13, f"{embedded} texts were embedded"
            time.sleep(0.037 * commits.made)
        now, _ = one.memory_mb()
    row(f"searchable, from the commit's end, asked every {every_s:g} s", spread(lags))
    row("  memory, resident after it", f"{now:.0f} MB")


def _lag(one: Service, word: str) -> float:
    began = time.perf_counter()
    one.until(lambda: len([hit for hit in one.search(word, 20) if word in hit["text"]]) == 13, 30, word)
    return time.perf_counter() - began


def _pending(one: Service) -> int:
    return sum(int(lane["pending"]) for lane in one.get("/v1/status")["lanes"])


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--files", type=int, default=10_000)
    main(arguments.parse_args().files)
