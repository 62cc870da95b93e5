"""``headwater search``: asks the running daemon, or opens the files itself."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ingestion.errors import EmbedderUnavailable
from ops.commands.common import located, settings_of
from ops.showing import ago, counted, duration, moment, plain, seconds_of, wrapped

if TYPE_CHECKING:
    from ops.settings import Settings
    from ops.wiring import Parts

Json = dict[str, Any]

KEY_VARIABLE = "HEADWATER_API_KEY"
WAIT_S = 10.0  # for --freshness wait
ANSWER_S = 30.0
PASSAGE_LINES = 6
WIDEST = 100


@click.command("search")
@click.argument("question")
@click.option("-k", "--top-k", type=click.IntRange(1, 100), default=5, show_default=True, help="Passages.")
@click.option("--json", "as_json", is_flag=True, help="What POST /v1/search answers.")
@click.option("--source", "sources", multiple=True, help="Only this source; may be repeated.")
@click.option(
    "--freshness",
    type=click.Choice(["any", "fresh", "wait"]),
    default="any",
    show_default=True,
    help="Passages with a newer revision pending: mark them, leave them out, or wait up to 10 s for it.",
)
@located
def command(
    question: str,
    top_k: int,
    as_json: bool,
    sources: tuple[str, ...],
    freshness: str,
    config: Path | None,
    data: Path | None,
) -> None:
    """Find passages, each with its file, its heading and its age.

    A running daemon is asked (with the key in HEADWATER_API_KEY, if it wants one); without one the
    model is loaded here, which takes some seconds.
    """
    settings = settings_of(config, data)
    body: Json = {"query": question, "top_k": top_k, "freshness": freshness}
    if sources:
        body["sources"] = list(sources)
    if freshness == "wait":
        body["timeout_ms"] = int(WAIT_S * 1000)
    answer = _answer(settings, body)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    width = min(shutil.get_terminal_size().columns, WIDEST)
    for line in shown(answer, time.time(), width):
        click.echo(line)


def shown(answer: Json, now: float, width: int) -> Iterator[str]:
    """The answer as lines for people."""
    if not answer["hits"]:
        yield "Nothing was found."
    for number, hit in enumerate(answer["hits"], 1):
        heading = plain(" > ".join(hit["heading_path"]))
        place = f" ({plain(hit['place'])})" if hit.get("place") else ""
        yield f"{number}. {plain(hit['source'])}/{plain(hit['uri'])}{place}" + (
            f"  {heading}" if heading else ""
        )
        yield f"   changed {ago(hit['age_s'])}" + _mark(hit)
        yield from wrapped(hit["text"], width=width, lines=PASSAGE_LINES, indent="   | ")
        yield ""
    if answer["mode"] == "text":
        yield "Found by words alone: the embedding model is not ready. Ask again in a moment."
    if answer["fresh_as_of"] is None:
        yield "Not every source was listed yet: there may be more to find soon."
    else:
        at = seconds_of(answer["fresh_as_of"])
        passages = counted(len(answer["hits"]), "passage")
        yield f"{passages}, fresh as of {moment(at)} ({ago(now - at)}), {answer['took_ms']:,.0f} ms"


def _mark(hit: Json) -> str:
    if not hit["stale"]:
        return ""
    return f"  ** OUTDATED: a newer revision was seen {duration(hit['stale_for_s'] or 0.0)} ago **"


def _answer(settings: Settings, body: Json) -> Json:
    from ops.serving import api_url

    url = api_url(settings)
    if url is None:
        return _searched_here(settings, body)
    from ops.asking import ask

    answer: Json = ask(
        url,
        "POST",
        "/v1/search",
        body=body,
        key=os.environ.get(KEY_VARIABLE, ""),
        timeout_s=ANSWER_S + WAIT_S,
    )
    return answer


def _load(parts: Parts) -> None:
    """An endpoint that is away costs the vector, and not the answer: as with a daemon."""
    try:
        parts.embedder.load()
    except EmbedderUnavailable as fault:
        click.echo(plain(str(fault)), err=True)


def _searched_here(settings: Settings, body: Json) -> Json:
    """The same answer without a daemon. Nothing is sent to workers: there are none."""
    from ops.opening import require_data

    require_data(settings)
    click.echo("No daemon runs on this data: loading the model here ...", err=True)
    from ops.wiring import open_parts
    from retrieval.api.representation import search_json
    from retrieval.freshness import Freshness
    from retrieval.search import Searcher, SearchRequest

    parts = open_parts(settings, parses=False)
    try:
        _load(parts)
        searcher = Searcher(
            parts.ledger,
            parts.index,
            lambda text, _: parts.embedder.embed_query(text),
            parts.clock,
            on_demand=lambda document_ids: None,
        )
        request = SearchRequest(
            query=body["query"],
            top_k=body["top_k"],
            sources=tuple(body["sources"]) if "sources" in body else None,
            freshness=Freshness(body["freshness"]),
            timeout_s=0.0,  # nothing will be published while it waits
        )
        return search_json(searcher.search(request))
    finally:
        parts.close()
