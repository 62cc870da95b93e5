"""Twenty thousand small files into Weaviate through the whole stack, without a model's part.

    python -m tests.bench.stack_files [--files 20000] [--workers 1]

Files of 600 bytes, one chunk each, hashing embedder; watch, bulk worker and schedule on Redis, PostgreSQL
and Weaviate. The floor, in the same run and on the same server, is a script with Weaviate's own client that
inserts the same texts with the same vectors. The time of the program is the ledger's: from the first file
seen to the last one published. A second, shorter run with a sampler in each process says where their
processor time goes; no rate is taken from it. Target: issue 5, figure 2.
"""

from __future__ import annotations

import argparse
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import sqlalchemy as sa

from ingestion.ledger.tables import documents, publications
from retrieval.embedding.hashing import HashingEmbedder
from retrieval.index.port import IndexedChunk
from tests.acceptance.roles import BULK, SCHEDULE, WATCH
from tests.bench import _sampler
from tests.bench._common import ROOT, begin, row, small_files, workplace, write_all
from tests.bench._direct import chunks_of
from tests.bench._stack import Servers, Stack, serving, stack
from tests.bench.weaviate import connected, insert_bare, rate

FILES = 20_000
SAMPLED = 5_000  # of them, in the run with a sampler
LEAST = 0.5
DEADLINE_S = 900.0


def main(number: int, workers: int) -> None:
    begin(f"{number} files of 600 bytes through Redis, PostgreSQL and Weaviate, hashing embedder")
    files = small_files(number)
    with workplace() as place, serving(place) as servers:
        bare = bare_rate(servers, objects(files))
        write_all(place / "files", files)
        ours = indexed_rate(place, servers, number, workers)
        row("of the bare script's rate", f"{ours / bare:.0%}", f">= {LEAST:.0%}")
        some = min(number, SAMPLED)
        write_all(place / "some", dict(list(files.items())[:some]))
        sample(place, servers, some, workers)


def objects(files: Mapping[str, str]) -> list[IndexedChunk]:
    """What the program makes of these files, without the program."""
    embedder = HashingEmbedder()
    chunks = [one for path, text in files.items() for one in chunks_of(path, text, embedder)]
    vectors = embedder.embed_documents([one.embedded_text for one in chunks])
    return [
        IndexedChunk(
            str(uuid.uuid4()), "files", one.digest, " > ".join(one.heading_path), one.text, vectors[at]
        )
        for at, one in enumerate(chunks)
    ]


def bare_rate(servers: Servers, held: Sequence[IndexedChunk]) -> float:
    with connected(servers.weaviate) as client:
        before, own_before = servers.processor_s()["weaviate"], time.process_time()
        collection, measured = rate(len(held), lambda: insert_bare(client, held))
        own = time.process_time() - own_before
        server = servers.processor_s()["weaviate"] - before
        client.collections.delete(collection.name)
    row("inserted by a bare script", f"{measured:.0f}/s")
    row("processor time a thousand objects", f"{1000 * (own + server) / len(held):.2f} s")
    row("  the script", f"{1000 * own / len(held):.2f} s")
    row("  weaviate", f"{1000 * server / len(held):.2f} s")
    return measured


def indexed_rate(place: Path, servers: Servers, number: int, workers: int) -> float:
    with stack([place / "files"], place / "run", servers, roles=[SCHEDULE, *[BULK] * workers]) as one:
        spent = index(one, number)
        seconds = took_s(one)
    row(f"indexed by watch and {workers} bulk worker{'s' * (workers > 1)}", f"{number / seconds:.0f}/s")
    row("processor time a thousand files, all processes", f"{1000 * sum(spent.values()) / number:.2f} s")
    for name, used in sorted(spent.items(), key=lambda pair: -pair[1]):
        row(f"  {name}", f"{1000 * used / number:.2f} s, {used / seconds:.0%} of a core")
    return number / seconds


def index(one: Stack, number: int) -> dict[str, float]:
    """Processor seconds by process, from before the watch is started until everything is searchable."""
    one.until_open()
    before = one.processor_s()
    one.start(WATCH)
    one.until_settled(DEADLINE_S, documents=number, pause_s=0.2)
    return {name: used - before.get(name, 0.0) for name, used in one.processor_s().items()}


def took_s(one: Stack) -> float:
    """From the first file seen to the last one published, by the ledger's own times."""
    first = sa.select(sa.func.min(documents.c.observed_at))
    last = sa.select(sa.func.max(publications.c.published_at))
    with one.database.read() as connection:
        return float(connection.execute(last).scalar_one() - connection.execute(first).scalar_one())


def sample(place: Path, servers: Servers, number: int, workers: int) -> None:
    samples = place / "samples"
    samples.mkdir()
    environ = {
        "PYTHONPATH": f"{Path(__file__).with_name('sampled')}:{ROOT}",
        "HEADWATER_BENCH_SAMPLES": str(samples),
    }
    roles = [SCHEDULE, *[BULK] * workers]
    with stack([place / "some"], place / "sampled", servers, roles=roles, environ=environ) as one:
        one.until_open()
        before = parts(one, samples)
        index(one, number)
        seen = parts(one, samples)
    for name in ("worker-bulk", "watch"):
        spent = seen[name] - before.get(name, Counter())
        row(f"{name}, sampled: processor time a thousand files", f"{1000 * spent.total() / number:.2f} s")
        for part, used in spent.most_common():
            row(f"  {part}", f"{1000 * used / number:.2f} s, {used / spent.total():.0%}")


def parts(one: Stack, samples: Path) -> dict[str, Counter[str]]:
    """Of all processes, as they tell it within a moment; workers of one kind together."""
    time.sleep(2 * _sampler.TELL_S)
    found: dict[str, Counter[str]] = {}
    for name, role in one.roles.items():
        kind = name.rstrip("-0123456789")
        found.setdefault(kind, Counter()).update(_sampler.told(samples, role.process.pid))
    return found


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--files", type=int, default=FILES)
    arguments.add_argument("--workers", type=int, default=1)
    given = arguments.parse_args()
    main(given.files, given.workers)
