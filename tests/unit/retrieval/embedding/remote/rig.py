"""A remote embedder on an endpoint that does as it is told, with a clock that only waiting moves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ingestion.clock import SystemClock
from retrieval.embedding.remote.cohere import Cohere
from retrieval.embedding.remote.embedder import Limits, Prompts, RemoteEmbedder
from retrieval.embedding.remote.endpoint import Endpoint
from retrieval.embedding.remote.making import address
from retrieval.embedding.remote.openai import OpenAI
from retrieval.embedding.remote.retrying import Caller
from retrieval.embedding.remote.slots import Slots
from retrieval.embedding.remote.transport import Transport
from tests import endpoint as stand_in

AT_ONCE = 4

opened: list[RemoteEmbedder] = []
"""What ``remote`` made: to be closed after each test."""


class PausedClock:
    """Moves when somebody pauses on it, and notes for how long."""

    def __init__(self) -> None:
        self.at = 1_000_000.0
        self.pauses: list[float] = []
        self._lock = threading.Lock()

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def pause(self, seconds: float) -> None:
        with self._lock:
            self.at += seconds
            self.pauses.append(seconds)


def remote(
    one: stand_in.Endpoint,
    clock: PausedClock | SystemClock,
    *,
    kind: str = "openai",
    key: str = stand_in.KEY,
    dimensions: int = stand_in.DIMENSIONS,
    at_once: int = AT_ONCE,
    batch_texts: int = 8,
    batch_tokens: int = 10_000,
    timeout_s: float = 5.0,
    prompts: Prompts | None = None,
    jitter: Callable[[float, float], float] = lambda least, most: most,
) -> RemoteEmbedder:
    """Delays are the longest that jitter allows, so that tests can tell them."""
    dialect: OpenAI | Cohere = OpenAI("org/model-1") if kind == "openai" else Cohere("model-1")
    transport = Transport(
        address(one.url if kind == "openai" else one.root, dialect.path), key, connections=at_once
    )
    pause = clock.pause if isinstance(clock, PausedClock) else time.sleep
    caller = Caller(transport, Slots(at_once), clock=clock, pause=pause, jitter=jitter)
    embedder = RemoteEmbedder(
        Endpoint(dialect, caller, timeout_s=timeout_s),
        Limits(at_once=at_once, batch_texts=batch_texts, batch_tokens=batch_tokens, max_characters=1200),
        model="org/model-1",
        dimensions=dimensions,
        prompts=prompts,
        clock=clock,
    )
    opened.append(embedder)
    return embedder
