"""The errors of a remote call that only its own layers tell apart.

::

    EmbedderUnavailable
    └── Passing      the same request may be answered in a moment: worth another try
    EmbedderRejected     the endpoint refuses these texts; of several, perhaps only one
"""

from __future__ import annotations

from ingestion.errors import EmbedderUnavailable


class Passing(EmbedderUnavailable):
    """May be gone in a moment. ``after_s``: how long the endpoint asked to be left alone, if it did;
    ``for_all``: whether that holds for every call and not only for this one."""

    def __init__(
        self, message: str, *, hint: str = "", after_s: float | None = None, for_all: bool = False
    ) -> None:
        super().__init__(message, hint=hint)
        self.after_s = after_s
        self.for_all = for_all
