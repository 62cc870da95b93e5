"""Pages of the web."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ingestion.shown import without_secrets
from ingestion.sources.web.urls import fault_of
from ops.findings import Finding, note
from ops.kinds.base import Means, SourceSettings, one_schedule
from ops.schedules import Cron, Every, Schedule
from ops.settings_types import AdaptiveSettings, Count, CronLine, Seconds
from ops.version import version

if TYPE_CHECKING:
    from ingestion.sources.adapting import AdaptiveSource
    from ingestion.sources.web.source import WebSource

NEW_EVERY_S = 3600.0  # sitemaps of an adaptive source


def _an_url(value: str) -> str:
    if fault_of(value) is not None or "#" in value:
        raise ValueError(
            f"{value[:80]!r} is no URL of a page; write https://host/path, without a name or '#'."
        )
    return value


Url = Annotated[str, AfterValidator(_an_url)]


class WebSettings(SourceSettings):
    """Pages of the web: a list of URLs, and those that sitemaps name."""

    scheduled = True

    kind: Literal["web"] = "web"
    urls: Annotated[tuple[Url, ...], Field(description="pages, each a document")] = ()
    sitemaps: Annotated[
        tuple[Url, ...], Field(description="sitemaps or indexes of them, whose pages are documents")
    ] = ()
    every_s: Annotated[Seconds, Field(ge=10, description="seconds between looks at all of them")] = 3600.0
    cron: Annotated[
        CronLine | None, Field(description="when to look instead, as in a crontab and in UTC: 30 2 * * *")
    ] = None
    adaptive: Annotated[
        AdaptiveSettings | None, Field(description="looks where pages change most: { looks_per_hour = 600 }")
    ] = None
    per_host: Annotated[Count, Field(ge=1, le=16, description="requests to one host at once")] = 2
    allow_private_hosts: Annotated[
        tuple[str, ...], Field(description="hosts that may be on this machine or in a private network")
    ] = ()
    max_document_bytes: Annotated[
        Count, Field(ge=1, le=64 * 1024 * 1024, description="larger pages are skipped")
    ] = 16 * 1024 * 1024

    @model_validator(mode="after")
    def _makes_sense(self) -> WebSettings:
        if not self.urls and not self.sitemaps:
            raise ValueError("names nothing to look at; give urls or sitemaps.")
        one_schedule(self, "every_s", "cron", "adaptive")
        return self

    @property
    def place(self) -> str:
        return without_secrets(", ".join([*self.sitemaps, *self.urls]))[:500]

    @property
    def looks_per_hour(self) -> int | None:
        return None if self.adaptive is None else self.adaptive.looks_per_hour

    @property
    def schedule(self) -> Schedule:
        """Of an adaptive one: when it is asked for pages that are new."""
        if self.adaptive is not None:
            return Every(NEW_EVERY_S)
        return Every(self.every_s) if self.cron is None else Cron(self.cron)

    def source(self, means: Means) -> WebSource | AdaptiveSource:
        from ingestion.sources.adapting import AdaptiveSource

        web = self._web(means)
        if self.adaptive is None:
            return web
        looks_per_hour = self.adaptive.looks_per_hour
        return AdaptiveSource(web, means.ledger, looks_per_hour=looks_per_hour, clock=means.clock)

    def _web(self, means: Means) -> WebSource:
        from ingestion.sources.web.fetching import Fetcher
        from ingestion.sources.web.source import WebSource

        user_agent = f"Headwater/{version()}"
        fetcher = Fetcher(
            user_agent=user_agent, allowed=self.allow_private_hosts, per_host=self.per_host, clock=means.clock
        )
        return WebSource(
            self.name,
            means.ledger.kept,
            fetcher,
            urls=self.urls,
            sitemaps=self.sitemaps,
            max_document_bytes=self.max_document_bytes,
            user_agent=user_agent,
            clock=means.clock,
        )

    def examined(self) -> Iterator[Finding]:
        yield note(f"source {self.name}", f"is at {self.place}; its listings say whether it answers.")
