"""Values of a change column: what is kept of them, and from where on a look asks. Pure.

A time without a zone is taken as UTC. A value is kept as text, and compared as that.
"""

from __future__ import annotations

import datetime
import decimal
from typing import Any

UNSETTLED_S = 2.0  # a change within the same second may follow this long after it was looked at
AHEAD = datetime.timedelta(hours=15)  # zones that are not told; whatever is later is no time of a change


def moment(value: Any) -> float | None:
    """The time that a value tells, in seconds since the epoch; None for one that tells none."""
    if isinstance(value, str):
        try:
            value = datetime.datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime.datetime):
        zoned = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
        try:
            return zoned.timestamp()
        except (OverflowError, ValueError):
            return None
    return None


def token(value: Any, now: float) -> str | None:
    """What is kept of a value, to know by whether it is another one.

    None where that is no proof: there is none, or it is of whole seconds and so young that another change
    may come within its second.
    """
    if value is None:
        return None
    at = moment(value)
    if at is not None and at % 1 == 0 and abs(now - at) < UNSETTLED_S:
        return None
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    return str(value)


def since(latest: Any, overlap_s: float, overlap: int) -> Any:
    """A value of the column's type that many seconds, or units, before the latest one seen."""
    if isinstance(latest, int | float | decimal.Decimal):
        return latest - overlap
    try:
        return _before(latest, datetime.timedelta(seconds=overlap_s))
    except OverflowError:
        return latest


def _before(latest: Any, back: datetime.timedelta) -> Any:
    if isinstance(latest, datetime.datetime):
        return latest - back
    if isinstance(latest, datetime.date):
        return latest - max(back, datetime.timedelta(days=1))
    if isinstance(latest, str):
        return _text_before(latest, back)
    return latest


def cap(value: Any, now: float) -> Any:
    """The latest value of this one's type that a change may have; None where there is no such bound."""
    bound = datetime.datetime.fromtimestamp(now, datetime.UTC) + AHEAD
    if isinstance(value, datetime.datetime):
        return bound if value.tzinfo else bound.replace(tzinfo=None)
    if isinstance(value, datetime.date):
        return bound.date()
    if isinstance(value, str) and moment(value) is not None:
        return bound.replace(tzinfo=None).isoformat(_between(value))
    return None


def _text_before(latest: str, back: datetime.timedelta) -> str:
    """Text that sorts before the times that are up to so much earlier, written in the same way."""
    try:
        at = datetime.datetime.fromisoformat(latest)
    except ValueError:
        return latest
    return (at - back).replace(tzinfo=None).isoformat(_between(latest), "seconds")


def _between(text: str) -> str:
    """What stands between date and time."""
    return text[10] if len(text) > 10 and text[10] in " T" else "T"
