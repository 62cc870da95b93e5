"""The errors of a remote call that only its own layers tell apart.

::

    EmbedderUnavailable
    ├── Passing          the same request may be answered in a moment: worth another try
    │   ├── Late             there was no answer in the time that the call had
    │   └── Failing          the endpoint failed at this request, and perhaps only at this one
    └── Doubtful         it was given up for that, or refused: others may still be answered
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
        super().__init__(message, hint=hint, after_s=after_s)
        self.for_all = for_all


class Late(Passing):
    """No answer in time. Says little of the endpoint where the time was short."""


class Failing(Passing):
    """A status that some servers give for a text they cannot take: Ollama says 500 to one too long."""


class Doubtful(EmbedderUnavailable):
    """The endpoint does not answer this request, and whether it answers others has to be seen."""
