"""Searches over HTTP through the api role, on Redis, Weaviate and PostgreSQL: one client, and sixteen.

    python -m tests.bench.search_stack [CHUNKS ...] [--clients 16]

The chunks are those of ``_prepared``, ten a document; every role runs and has found them unchanged. One
client asks the api and, by turns with it, Weaviate by its own client: the same questions, collection and
number of hits, in one hybrid query. Then sixteen clients ask at once, in four processes of four threads,
first the api, then Weaviate by its own client. The embedder is the one without a model; beside it stands what
one client waits where the question is embedded by all-MiniLM-L6-v2 (the chunks' vectors are nobody's, so this
changes no other time). Target: issue 5, figure 5.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from retrieval.index.weaviate_collections import collection_name
from tests.bench._common import HASHING, REAL, begin, percentile, row, workplace
from tests.bench._crowd import Crowd, OverHttp, OwnClient, crowd
from tests.bench._prepared import SOURCE, prepare, settle
from tests.bench._stack import ROLES, Servers, Stack, serving, stack

SEARCHES = 400
WARM_UP = 40
CROWD_S = 15.0
ABOVE_MS = 5.0
READY_S = 180.0
_PART = re.compile(r"(\w+);dur=([0-9.]+)")


def main(sizes: Sequence[int], clients: int) -> None:
    begin("Searches over HTTP on Redis, Weaviate and PostgreSQL")
    with workplace() as place, serving(place) as servers:
        for size in sizes:
            row(f"{size} chunks", "")
            with deployed(place / f"{size}-{HASHING}", size, HASHING, servers) as (one, questions):
                alone(one, questions)
                together(one, questions, clients)
        with deployed(place / REAL, sizes[0], REAL, servers) as (one, questions):
            with_model(one, sizes[0], questions)


@contextlib.contextmanager
def deployed(place: Path, size: int, model: str, servers: Servers) -> Iterator[tuple[Stack, list[str]]]:
    """A deployment that has found so many chunks unchanged, and questions for it."""
    with stack([place / SOURCE], place, servers, roles=(), model=model) as one:
        questions = prepare(place, size, model, one.deployment.environment)
        settle(one.servers.postgres, one.database)
        one.start(*ROLES)
        one.until_open(READY_S)
        one.until_ready(READY_S)
        yield one, list(questions)


def own_client(one: Stack) -> OwnClient:
    """The collection of the live edition, without the program."""
    edition = one.ledger.sources.live_edition()
    assert edition is not None
    name = collection_name(one.deployment.environment["HEADWATER_INDEX__PREFIX"], edition.name)
    assert name is not None
    server = one.servers.weaviate
    return OwnClient(server.url, server.grpc_port, server.api_key, name)


def alone(one: Stack, questions: Sequence[str]) -> None:
    """By turns, so that whatever else the machine does meets both."""
    ours, own, parts = [], [], []
    with over_http(one).opened(questions) as api, own_client(one).opened(questions) as client:
        for at in range(WARM_UP + SEARCHES):
            own.append(client.ask(questions[at % len(questions)]))
            ours.append(api.ask(questions[at % len(questions)]))
            parts.append({name: float(ms) for name, ms in _PART.findall(api.timing)})
    own, ours, parts = own[WARM_UP:], ours[WARM_UP:], parts[WARM_UP:]
    more_ms = 1000 * (statistics.median(ours) - statistics.median(own))
    row("  Weaviate's own client, a hybrid query", shown(own))
    row("  POST /v1/search, one client", shown(ours))
    row("    more than the own client, p50", f"{more_ms:+.1f} ms", f"<= {ABOVE_MS:+.0f} ms")
    for name in ("index", "fence", "embed"):
        row(f"    of it {name}, p50", f"{statistics.median(one[name] for one in parts):.1f} ms")


def together(one: Stack, questions: Sequence[str], clients: int) -> None:
    before = one.processor_s()
    ours = crowd(over_http(one), questions, clients, CROWD_S)
    spent = {name: seconds - before[name] for name, seconds in one.processor_s().items()}
    own = crowd(own_client(one), questions, clients, CROWD_S)
    row(f"  POST /v1/search, {clients} clients", rate(ours))
    row("    of all of them, each", shown(ours.answers))
    for name in ("api", "weaviate", "postgres"):
        row(f"    processor of {name}, a search", f"{1000 * spent[name] / len(ours.answers):.1f} ms")
    row(f"  Weaviate's own client, {clients} of them", rate(own))
    row("    of all of them, each", shown(own.answers))


def with_model(one: Stack, size: int, questions: Sequence[str]) -> None:
    took, embed = [], []
    with over_http(one).opened(questions) as api:
        for at in range(WARM_UP + SEARCHES // 2):
            took.append(api.ask(questions[at % len(questions)]))
            embed.append(float(dict(_PART.findall(api.timing))["embed"]) / 1000)
    row(f"  {size} chunks, {REAL}, one client", shown(took[WARM_UP:]))
    row("    of it the question's embedding", shown(embed[WARM_UP:]))


def over_http(one: Stack) -> OverHttp:
    return OverHttp(str(one.client.base_url))


def rate(seen: Crowd) -> str:
    return f"{seen.rate:.0f} a second"


def shown(seconds: Sequence[float]) -> str:
    p50, p99 = (1000 * percentile(seconds, percent) for percent in (50, 99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("chunks", type=int, nargs="*", default=[10_000])
    arguments.add_argument("--clients", type=int, default=16)
    given = arguments.parse_args()
    main(given.chunks, given.clients)
