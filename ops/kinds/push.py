"""Documents that other programs hand over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ops.findings import Finding, ok
from ops.kinds.base import Means, SourceSettings
from ops.schedules import Every, Schedule
from ops.settings_types import Count

if TYPE_CHECKING:
    from ingestion.sources.push import PushSource

LIST_EVERY_S = 3600.0  # nothing changes but by what is told at once; after a crash, a start lists


class PushSettings(SourceSettings):
    """Documents that other programs hand over by HTTP, kept in the ledger."""

    kind: Literal["push"] = "push"
    max_document_bytes: Annotated[
        Count, Field(ge=1, le=64 * 1024 * 1024, description="larger documents are refused")
    ] = 16 * 1024 * 1024

    @property
    def place(self) -> str:
        return f"PUT /v1/sources/{self.name}/documents/KEY"

    @property
    def schedule(self) -> Schedule:
        return Every(LIST_EVERY_S)

    def source(self, means: Means) -> PushSource:
        from ingestion.sources.push import PushSource

        return PushSource(
            self.name,
            means.ledger.kept,
            location=self.place,
            max_document_bytes=self.max_document_bytes,
            clock=means.clock,
        )

    def examined(self) -> Iterator[Finding]:
        yield ok(f"source {self.name}", f"takes documents by {self.place}")
