"""Work for an application that only sends: nothing is ever asked of it."""

from __future__ import annotations

from collections.abc import Sequence

from ingestion.records import Lane


class NoWork:
    """Implements ``workers.app.Work`` for a process that consumes nothing."""

    def refresh(self, document_ids: Sequence[int], lane: Lane, edition_id: int | None = None) -> None:
        raise AssertionError("this process only sends")

    def send_due(self) -> None:
        raise AssertionError("this process only sends")

    advance = sweep = trim = audit = send_due

    def list_source(self, name: str) -> None:
        raise AssertionError("this process only sends")
