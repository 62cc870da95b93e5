"""The remote embedder that the settings name, and what embedding with it costs."""

from __future__ import annotations

from ingestion.clock import Clock
from ingestion.errors import Misconfigured
from ops.secret_file import read_secret
from ops.settings import EmbeddingSettings
from ops.settings_embedding import REMOTE, key_fault
from retrieval.embedding.remote.embedder import RemoteEmbedder
from retrieval.embedding.remote.making import RemoteModel, make_remote


def remote_embedder(settings: EmbeddingSettings, *, clock: Clock | None = None) -> RemoteEmbedder | None:
    """The embedder; None where the settings name one that computes here.

    Raises Misconfigured when the key cannot be read, or when the endpoint has to say how long its vectors
    are and does not answer.
    """
    if settings.runtime not in REMOTE or settings.url is None:
        return None
    model = RemoteModel(
        kind=settings.runtime,
        url=settings.url,
        model=settings.model,
        key=_key(settings),
        dimensions=settings.dimensions,
        max_characters=settings.max_characters,
        concurrency=settings.concurrency,
        batch_texts=settings.batch_texts,
        batch_tokens=settings.batch_tokens,
        timeout_s=settings.timeout_s,
        query_prompt=settings.query_prompt,
        document_prompt=settings.document_prompt,
    )
    return make_remote(model, clock=clock)


def cost(settings: EmbeddingSettings, tokens: int) -> float | None:
    """What the provider asks for so many tokens, in the currency of the price; None without a price."""
    price = settings.price_per_million_tokens
    return None if price is None else tokens * price / 1e6


def _key(settings: EmbeddingSettings) -> str | None:
    if settings.api_key is not None:
        return settings.api_key.get_secret_value()
    if settings.api_key_file is None:
        return None
    key = read_secret(
        settings.api_key_file,
        setting="embedding.api_key_file",
        what="The key of the embedding endpoint",
    )
    fault = key_fault(key)
    if fault:
        raise Misconfigured(
            f"The key in {settings.api_key_file} {fault}", hint="The file holds the key and nothing else."
        )
    return key
