"""Makes the n-th call fail, before or after it took effect, or ends the process there.

Stands before every transaction of the database, every call of the index, the embedder and the source.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from ingestion.database import Database
from ingestion.errors import (
    EmbedderUnavailable,
    HeadwaterError,
    IndexUnavailable,
    LedgerUnavailable,
    SourceUnavailable,
)
from ingestion.records import Lane
from retrieval.embedding.port import Vectors
from tests.rig import CountingEmbedder


class Died(BaseException):
    """The process ended: nothing may catch it but whoever starts the next one."""


class Moment(enum.Enum):
    BEFORE = "before it took effect"
    AFTER = "after it took effect"


FAULTS: dict[str, type[HeadwaterError]] = {
    "read": LedgerUnavailable,
    "write": LedgerUnavailable,
    "index": IndexUnavailable,
    "embedder": EmbedderUnavailable,
    "source": SourceUnavailable,
}


class Fuse:
    """Counts calls (from 0) while it is lit; goes off at each of ``numbers``."""

    def __init__(
        self, numbers: Iterable[int] = (), moment: Moment = Moment.BEFORE, *, deadly: bool = False
    ) -> None:
        self.calls: list[str] = []
        self.gone_off: list[str] = []
        self._numbers = frozenset(numbers)
        self._moment = moment
        self._deadly = deadly
        self._lit = False

    def arm(self, number: int, moment: Moment, *, deadly: bool) -> None:
        """Go off once, that many calls from now."""
        self._numbers = frozenset([len(self.calls) + number])
        self._moment = moment
        self._deadly = deadly

    @contextlib.contextmanager
    def lit(self) -> Iterator[None]:
        self._lit = True
        try:
            yield
        finally:
            self._lit = False

    @contextlib.contextmanager
    def around(self, kind: str, name: str) -> Iterator[None]:
        here = self._lit and len(self.calls) in self._numbers
        if self._lit:
            self.calls.append(f"{kind} {name}")
        if here and self._moment is Moment.BEFORE:
            self._go_off(kind, name)
        yield
        if here and self._moment is Moment.AFTER:
            self._go_off(kind, name)

    def _go_off(self, kind: str, name: str) -> None:
        self.gone_off.append(f"{len(self.calls) - 1}: {kind} {name}, {self._moment.value}")
        if self._deadly:
            raise Died(self.gone_off[-1])
        raise FAULTS[kind](f"made to fail: {name}")


class FusedDatabase(Database):
    """A database whose transactions go through a fuse."""

    fuse: Fuse | None = None

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        with self._around("read"), super().read() as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[sa.Connection]:
        with self._around("write"), super().write() as connection:
            yield connection

    @contextlib.contextmanager
    def taking(self) -> Iterator[sa.Connection]:
        # On a file this is a ``write``, which has a fuse already.
        around = self._around("write") if self.on_server else contextlib.nullcontext()
        with around, super().taking() as connection:
            yield connection

    def _around(self, kind: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.fuse is None else self.fuse.around(kind, "transaction")


class Fused:
    """Any port behind a fuse."""

    def __init__(self, inner: Any, fuse: Fuse, kind: str) -> None:
        self._inner = inner
        self._fuse = fuse
        self._kind = kind

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if not callable(attribute) or name == "root":  # root never raises
            return attribute

        def called(*args: Any, **kwargs: Any) -> Any:
            with self._fuse.around(self._kind, name):
                return attribute(*args, **kwargs)

        return called


class FusedEmbedder:
    """The embedding end of a pipeline behind a fuse."""

    def __init__(self, embedder: CountingEmbedder, fuse: Fuse) -> None:
        self._embedder = embedder
        self._fuse = fuse

    def __call__(self, texts: Sequence[str], lane: Lane, tokens: Sequence[int]) -> Vectors:
        with self._fuse.around("embedder", "embed"):
            return self._embedder.embed(texts, lane, tokens)
