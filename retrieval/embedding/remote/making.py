"""From plain values to a remote embedder."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from ingestion.clock import Clock
from retrieval.embedding.json_file import JsonFile
from retrieval.embedding.remote.cohere import Cohere
from retrieval.embedding.remote.dialect import Dialect
from retrieval.embedding.remote.dimensions import forget_dimensions, learned_dimensions
from retrieval.embedding.remote.embedder import Limits, Prompts, RemoteEmbedder
from retrieval.embedding.remote.endpoint import Endpoint
from retrieval.embedding.remote.openai import OpenAI
from retrieval.embedding.remote.retrying import Caller
from retrieval.embedding.remote.slots import Slots
from retrieval.embedding.remote.transport import Transport

DIALECTS: dict[str, type[OpenAI] | type[Cohere]] = {"openai": OpenAI, "cohere": Cohere}
URGENT_CALLS = 2  # one of fresh texts, one of a question
_DEFAULT_TEXTS = 96  # a call's fixed costs are small beside it, and it is little to lose
_ESTIMATED_SHARE = 0.7  # of the provider's limit: tokens are estimated


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """Which model, where, and how to call it. ``dimensions``, ``batch_texts`` and ``batch_tokens`` None:
    as the endpoint, or its kind, has it."""

    kind: str
    url: str
    model: str
    key: str | None = None
    dimensions: int | None = None
    max_characters: int = 1200
    concurrency: int = 4
    batch_texts: int | None = None
    batch_tokens: int | None = None
    timeout_s: float = 30.0
    query_prompt: str = ""
    document_prompt: str = ""

    def __repr__(self) -> str:
        return f"RemoteModel({self.kind}, {self.url}, {self.model})"


def make_remote(
    model: RemoteModel, *, remembered: JsonFile | None = None, clock: Clock | None = None
) -> RemoteEmbedder:
    """The embedder. Asks the endpoint once where its dimensions are neither set nor remembered.

    Raises Misconfigured when that fails.
    """
    dialect: Dialect = DIALECTS[model.kind](model.model, model.dimensions)
    transport = Transport(
        address(model.url, dialect.path), model.key, connections=model.concurrency + URGENT_CALLS
    )
    endpoint = Endpoint(
        dialect, Caller(transport, Slots(model.concurrency), clock=clock), timeout_s=model.timeout_s
    )
    lengths = remembered or JsonFile.of_user("dimensions.json")
    try:
        dimensions = model.dimensions or learned_dimensions(endpoint, model.model, lengths)
    except BaseException:
        endpoint.close()
        raise
    limits = Limits(
        at_once=model.concurrency,
        batch_texts=model.batch_texts or min(_DEFAULT_TEXTS, dialect.most_texts),
        batch_tokens=model.batch_tokens or int(dialect.most_tokens * _ESTIMATED_SHARE),
        max_characters=model.max_characters,
    )
    embedder = RemoteEmbedder(
        endpoint,
        limits,
        model=model.model,
        dimensions=dimensions,
        prompts=Prompts(model.query_prompt, model.document_prompt),
        clock=clock,
    )
    embedder.on_other_length = lambda: forget_dimensions(endpoint, model.model, lengths)
    return embedder


def address(url: str, path: str) -> str:
    """Where requests go, whether the address ends with the path already, or with its first part, or not.

    >>> address("http://localhost:8000/v1/", "/embeddings")
    'http://localhost:8000/v1/embeddings'
    >>> address("https://api.cohere.com/v2", "/v2/embed")
    'https://api.cohere.com/v2/embed'
    """
    base = url.rstrip("/")
    if urlsplit(base).path.endswith(path):
        return base
    first, _, rest = path.lstrip("/").partition("/")
    if rest and urlsplit(base).path.endswith(f"/{first}"):
        return f"{base}/{rest}"
    return base + path
