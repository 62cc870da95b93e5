"""Loads an embedder's model once, and remembers for a while that it could not: loading may take long.

Who waits for the model, and what they are told, is not decided here.
"""

from __future__ import annotations

import logging
import threading

from ingestion.clock import Clock
from ingestion.errors import EmbedderUnavailable, HeadwaterError, Transient
from retrieval.embedding.port import Embedder

log = logging.getLogger(__name__)

_RETRY_S = 10.0


class Loading:
    """Safe to use from several threads. ``failure``: why the last try failed; None while none has."""

    def __init__(self, embedder: Embedder, clock: Clock) -> None:
        self._embedder = embedder
        self._clock = clock
        self._trying = threading.Lock()
        self._again_at = 0.0
        self.failure: HeadwaterError | None = None

    @property
    def lasting_failure(self) -> HeadwaterError | None:
        """The failure, for as long as loading is not tried again."""
        return self.failure if self._clock.monotonic() < self._again_at else None

    @property
    def wait_s(self) -> float | None:
        """Seconds until a model that may only have been away is tried again; None if that is not needed."""
        if self._embedder.loaded or not isinstance(self.failure, Transient):
            return None
        return max(0.0, self._again_at - self._clock.monotonic())

    def load(self) -> HeadwaterError | None:
        """Why there is no model. It is loaded now, unless it is there or another thread has just tried."""
        with self._trying:
            if self._embedder.loaded:
                return None
            return self.lasting_failure or self._try()

    def _try(self) -> HeadwaterError | None:
        failure = self._failure_of_loading()
        known = failure is not None and str(failure) == str(self.failure)
        self.failure = failure
        self._again_at = self._clock.monotonic() + _RETRY_S
        if failure and not known:
            log.warning("the embedding model was not loaded: %s", failure)
        if not failure:
            log.info("embedding with %s", self._embedder.description)
        return failure

    def _failure_of_loading(self) -> HeadwaterError | None:
        try:
            self._embedder.load()
        except HeadwaterError as error:
            return error
        except Exception as error:  # noqa: BLE001 - whatever it is, callers must not wait for ever
            return EmbedderUnavailable(
                f"The embedding model could not be loaded ({type(error).__name__}: {error}).",
                hint="It is tried again.",
            )
        return None
