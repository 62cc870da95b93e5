"""Keeps the editions of a process that only searches in line with the ledger.

So that the model of an edition that is being built is there before the switch.
"""

from __future__ import annotations

import logging
import threading

from ingestion.errors import HeadwaterError
from workers.equipment import Equipment

log = logging.getLogger("headwater.editions")

LOOK_EVERY_S = 2.0


class Looking:
    """A thread that looks every other second."""

    def __init__(self, equipment: Equipment) -> None:
        self._equipment = equipment
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="editions", daemon=True)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        told = ""
        while not self._closed.wait(LOOK_EVERY_S):
            try:
                self._equipment.look()
            except HeadwaterError as error:  # the ledger is away; searches say so
                log.debug("editions could not be looked at: %s", error)
            except Exception as error:
                if repr(error) != told:
                    log.exception("unexpected error while editions were looked at")
                told = repr(error)
