"""Entries of feeds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from ingestion.shown import without_secrets
from ops.findings import Finding, note
from ops.kinds.base import Means, SourceSettings, one_schedule
from ops.kinds.web import Url
from ops.schedules import Cron, Every, Schedule
from ops.settings_types import Count, CronLine, Seconds
from ops.version import version

if TYPE_CHECKING:
    from ingestion.sources.feed.source import FeedSource


PER_HOST = 2  # requests to one host at once


class FeedSettings(SourceSettings):
    """Entries of feeds: RSS, Atom, JSON Feed."""

    scheduled = True

    kind: Literal["feed"] = "feed"
    urls: Annotated[tuple[Url, ...], Field(min_length=1, description="feeds, whose entries are documents")]
    retire_dropped: Annotated[
        bool, Field(description="whether an entry goes once its feed no longer names it")
    ] = False
    every_s: Annotated[Seconds, Field(ge=10, description="seconds between looks at all of them")] = 900.0
    cron: Annotated[
        CronLine | None, Field(description="when to look instead, as in a crontab and in UTC: 30 2 * * *")
    ] = None
    allow_private_hosts: Annotated[
        tuple[str, ...], Field(description="hosts that may be on this machine or in a private network")
    ] = ()
    max_document_bytes: Annotated[
        Count, Field(ge=1, le=32 * 1024 * 1024, description="larger entries are skipped")
    ] = 16 * 1024 * 1024

    @model_validator(mode="after")
    def _one_schedule(self) -> FeedSettings:
        one_schedule(self, "every_s", "cron")
        return self

    @property
    def place(self) -> str:
        return without_secrets(", ".join(self.urls))[:500]

    @property
    def schedule(self) -> Schedule:
        return Every(self.every_s) if self.cron is None else Cron(self.cron)

    def source(self, means: Means) -> FeedSource:
        from ingestion.sources.feed.source import FeedSource
        from ingestion.sources.web.fetching import Fetcher

        fetcher = Fetcher(
            user_agent=f"Headwater/{version()}",
            allowed=self.allow_private_hosts,
            per_host=PER_HOST,
            clock=means.clock,
        )
        return FeedSource(
            self.name,
            means.ledger.kept,
            fetcher,
            urls=self.urls,
            retire_dropped=self.retire_dropped,
            max_document_bytes=self.max_document_bytes,
            clock=means.clock,
        )

    def examined(self) -> Iterator[Finding]:
        yield note(f"source {self.name}", f"is at {self.place}; its listings say whether it answers.")
