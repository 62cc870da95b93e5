"""The port of a source: a place holding documents.

A source says what is there and hands out bytes. It never decides what follows from that: absence is
judged from its evidence by ``ingestion.plan``, never here.
"""

from __future__ import annotations

from typing import Protocol

from ingestion.records import Content, Listing, Observation, Root


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

    def read(self, uri: str) -> Content:
        """The content of one document, whole: the look after reading equals the look before.

        Raises DocumentGone, DocumentChanging, DocumentUnreadable, NotIndexable or SourceUnavailable.
        """
