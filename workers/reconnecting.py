"""Connections that come back soon after the broker does, and let go of the one that was lost.

Kombu waits two seconds longer after each failure, up to thirty: after a minute without a broker, a worker
would be half a minute late. Celery takes its connections from the class that it was given for AMQP.

Where the broker goes away while a message is worked on, Celery closes the lost connection twice: the second
time kombu looks for an address that is gone, and the error ends the worker. It is told instead that there is
no connection, which it knows how to bear.
"""

from __future__ import annotations

import warnings
from typing import Any

import kombu
import redis
from celery.app import amqp
from celery.exceptions import CPendingDeprecationWarning
from kombu.transport import redis as through_redis
from kombu.transport import virtual

FIRST_S = 0.2
STEP_S = 0.3
LONGEST_S = 2.0
# At each loss Celery advises to decide on a setting, which is decided on.
_ADVICE = r"\s*In Celery 5\.1 we introduced an optional breaking change which\s+on connection loss cancels"


class Channel(through_redis.Channel):
    """As kombu's, and none the worse where its connection is lost."""

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """What cannot be acknowledged comes back later, and finds its work done."""
        try:
            super().basic_ack(delivery_tag, multiple)  # type: ignore[no-untyped-call]  # kombu has no types
        except Transport.connection_errors:
            # Another message may take its place here.
            virtual.QoS.ack(self.qos, delivery_tag)  # type: ignore[no-untyped-call]

    def _connparams(self, asynchronous: bool = False) -> Any:
        if self.connection is None or self.connection.client is None:
            raise redis.ConnectionError("The connection was let go of.")
        return super()._connparams(asynchronous)  # type: ignore[no-untyped-call]


class Transport(through_redis.Transport):
    """As kombu's, with these channels."""

    Channel = Channel


class Connection(kombu.Connection):  # type: ignore[misc, name-defined]
    """As kombu's, with shorter pauses between two tries to connect."""

    def get_transport_cls(self) -> Any:
        """Whichever the address names."""
        found = super().get_transport_cls()
        return Transport if found is through_redis.Transport else found

    def ensure_connection(self, *arguments: Any, **options: Any) -> Connection:
        """Connect, trying as often as asked to."""
        warnings.filterwarnings("ignore", message=_ADVICE, category=CPendingDeprecationWarning)
        pauses = {"interval_start": FIRST_S, "interval_step": STEP_S, "interval_max": LONGEST_S}
        super().ensure_connection(*arguments, **{**pauses, **options})
        return self


class AMQP(amqp.AMQP):  # type: ignore[misc]
    """As Celery's, with these connections."""

    Connection = Connection
