"""Found by Python at the start of a process whose path begins here: the clock that Celery goes by is behind.

It dates messages by ``datetime``, which asks the system and not ``time.time``.
"""

import datetime
import os

from celery import Celery

_now = Celery.now


def _late(self: Celery) -> datetime.datetime:
    late: datetime.datetime = _now(self) - datetime.timedelta(
        seconds=float(os.environ["TEST_CLOCK_BEHIND_S"])
    )
    return late


Celery.now = _late
