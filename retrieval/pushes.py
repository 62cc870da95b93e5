"""What is handed over to a push source, and what becomes of it: the port between the API and the pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ingestion.errors import PushRefused, Refusal
from ingestion.ledger.kept import Keep, KeptLook


@dataclass(frozen=True, slots=True)
class Pushed:
    """A document as it is kept now. ``digest`` is None where it is not there any more."""

    uri: str
    digest: str | None
    changed: bool


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was handed over is durable. It is searchable once everything up to ``generation`` is published."""

    generation: int
    documents: Sequence[Pushed]


@dataclass(frozen=True, slots=True)
class Condition:
    """What a document must be for it to be replaced or deleted. ``digests`` None: anything that is there."""

    exists: bool = True
    digests: frozenset[str] | None = None

    def check(self, known: Mapping[str, KeptLook], uri: str, source: str) -> None:
        """Raises PushRefused."""
        look = known.get(uri)
        digest = None if look is None else look.digest
        wanted = digest in self.digests if self.digests is not None else digest is not None
        if wanted is not self.exists:
            is_now = "is not there" if digest is None else f'is "{digest}"'
            raise PushRefused(
                Refusal.CONDITION,
                f"{source}/{uri} {is_now}, which is not what this request expects; nothing was changed.",
                hint="Look at what is there now, and send it again with that as If-Match.",
                source=source,
                uri=uri,
            )


class Pushing(Protocol):
    """Takes what is handed over."""

    def push(self, source: str, given: Sequence[Keep], condition: Condition | None = None) -> Receipt:
        """All of it, or nothing; durable at the return. ``condition`` is for each document.

        Twice is as good as once. Raises PushRefused for what is wrong with it, and LedgerUnavailable.
        """

    def kept(self, source: str, uri: str) -> KeptLook:
        """What a document is now. Raises PushRefused where there is none."""
