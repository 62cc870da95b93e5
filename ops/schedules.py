"""When a source is looked at next. Pure: the time arrives as an argument, in seconds since the epoch.

Whatever was missed, by a process that did not run or a machine that slept, is caught up by one look: the next
one is reckoned from now, never from the last.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Protocol

from cronsim import CronSim, CronSimError

FIELDS = 5


class Schedule(Protocol):
    def after(self, now: float) -> float:
        """The moment of the next look."""


@dataclass(frozen=True, slots=True)
class Every:
    seconds: float

    def after(self, now: float) -> float:
        return now + self.seconds


@dataclass(frozen=True, slots=True)
class Cron:
    """A line as in a crontab, in UTC. Raises ValueError for one that is none, or that never comes."""

    line: str

    def __post_init__(self) -> None:
        if len(self.line.split()) != FIELDS:
            raise ValueError(f"{self.line!r} should have {FIELDS} fields: minute, hour, day, month, weekday.")
        try:
            self.after(0.0)
        except CronSimError as error:
            raise ValueError(f"{self.line!r} is no schedule as in a crontab: {error}.") from None
        except StopIteration:
            raise ValueError(f"{self.line!r} never comes.") from None

    def after(self, now: float) -> float:
        moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
        return float(next(CronSim(self.line, moment)).timestamp())
