"""Connections that come back soon after the broker does.

Kombu waits two seconds longer after each failure, up to thirty: after a minute without a broker, a worker
would be half a minute late. Celery takes its connections from the class that it was given for AMQP.
"""

from __future__ import annotations

from typing import Any

import kombu
from celery.app import amqp

FIRST_S = 0.2
STEP_S = 0.3
LONGEST_S = 2.0


class Connection(kombu.Connection):  # type: ignore[misc, name-defined]  # kombu has no types
    """As kombu's, with shorter pauses between two tries to connect."""

    def ensure_connection(self, *arguments: Any, **options: Any) -> Connection:
        """Connect, trying as often as asked to."""
        pauses = {"interval_start": FIRST_S, "interval_step": STEP_S, "interval_max": LONGEST_S}
        super().ensure_connection(*arguments, **{**pauses, **options})
        return self


class AMQP(amqp.AMQP):  # type: ignore[misc]
    """As Celery's, with these connections."""

    Connection = Connection
