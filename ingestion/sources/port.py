"""The port of a source: a place holding documents.

A source says what is there and hands out bytes. It never decides what follows from that: absence is
judged from its evidence by ``ingestion.plan``, never here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ingestion.errors import HeadwaterError, SourceUnavailable
from ingestion.records import Content, Listing, Observation, Root
from ingestion.sources.settling import Dirty


class Watch(Protocol):
    """What tells of changes between two listings. Methods may be called from any thread."""

    @property
    def blind_reason(self) -> str | None:
        """Why changes may come without a hint although hints were to be expected, or None. Known after
        ``start``."""

    def seen_until(self, now: float) -> float | None:
        """The moment before which every change has been hinted at, as long as it is alive and not blind: for
        one that is told of each, ``now``; for one that asks, when it last began to. None: listings alone
        prove sight."""

    @property
    def overflows(self) -> int:
        """How often hints were lost; each was followed by a hint that everything is dirty."""

    def start(self) -> bool:
        """Tell from now on. True if it is alive."""

    def alive(self) -> bool:
        """Whether it tells. One that does not is set again, and what happened meanwhile is listed."""

    def restart(self) -> bool:
        """A new watch, after the old one was lost. True if it is alive."""

    def stop(self) -> None:
        """No hint comes after the return. Idempotent."""


Read = Callable[[str], Content]
"""A document's content by its URI, as ``SourcePort.read``."""


class SourcePort(Protocol):
    """Looks and reads. Every method may be called from any thread and at any time, twice or never."""

    @property
    def name(self) -> str:
        """Unique among the configured sources; part of how documents are shown: ``name/uri``."""

    @property
    def kind(self) -> str:
        """What sort of place it is: ``files``, ..."""

    @property
    def location(self) -> str:
        """The place as shown to users (a folder's absolute path); no secrets."""

    def root(self) -> Root:
        """Whether the place itself is there, cheaply. Never raises."""

    def list(self) -> Listing:
        """Look at everything once, without reading content.

        Each URI appears at most once. Parts that could not be listed are named in ``blind``.
        Raises SourceUnavailable when the place itself cannot be listed.
        """

    def list_below(self, prefix: str) -> Listing:
        """As ``list``, for what lies below a URI prefix only ('' or ending with '/')."""

    def look(self, uri: str) -> Observation:
        """Look at one document. Gone only on the source's own evidence; Skipped with its reason.

        Raises SourceUnavailable when the place, not the document, is the reason that nothing is seen.
        """

    def looks(self, uris: Sequence[str]) -> Mapping[str, Observation]:
        """As ``look``, at several: what is left out was refused, which is no evidence of anything."""

    def read(self, uri: str) -> Content:
        """The content of one document, whole: the look after reading equals the look before.

        Raises DocumentGone, DocumentChanging, DocumentUnreadable, NotIndexable or SourceUnavailable.
        """

    def reading(self, uris: Sequence[str]) -> Read:
        """As ``read``, for one thread that reads these and most likely in this order."""

    def watch(self, on_dirty: Callable[[Dirty], None]) -> Watch:
        """What tells of changes, not started yet. ``on_dirty`` is called from a thread of its own, one call
        at a time, and only takes note. A source that nothing tells of gives ``unwatched.Unwatched``."""


def one_by_one(look: Callable[[str], Observation], uris: Sequence[str]) -> dict[str, Observation]:
    """``SourcePort.looks`` of a place that has no quicker way. Raises SourceUnavailable."""
    found: dict[str, Observation] = {}
    for uri in uris:
        try:
            found[uri] = look(uri)
        except SourceUnavailable:
            raise
        except HeadwaterError:
            continue
    return found
