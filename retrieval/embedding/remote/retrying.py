"""One request until it is answered: what may pass is tried again, for a bounded time.

Delays grow exponentially with full jitter (uniform between nothing and the exponential delay), so that
calls that failed together do not come back together. When the endpoint asks for time, every call of the
process waits: more requests would only lengthen it. It never changes a request.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ingestion.clock import Clock, SystemClock
from ingestion.errors import EmbedderUnavailable
from retrieval.embedding.remote.faults import Doubtful, Failing, Late, Passing
from retrieval.embedding.remote.slots import Slots
from retrieval.embedding.remote.statuses import check
from retrieval.embedding.remote.transport import Reply, Transport

log = logging.getLogger(__name__)

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 20.0
FIRST_REST_S = 1.0
LONGEST_REST_S = 60.0
QUIET_S = 60.0  # without another refusal: then being over the limit is over
_FAILURES = 2  # one may be chance
SPREAD_S = 0.25  # those that waited for one moment do not all come in it

Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class Patience:
    """``tries_s``: no try begins later than this after the first; ``timeout_s``: how long each may take.

    ``waits``: whether to stand before a gate that will not open in that time. Bulk work does, since handing
    it back only to claim it again costs more; a question is answered without a vector instead. ``hasty``:
    the time is shorter than an answer may take, so that running out of it says nothing of the endpoint.
    ``several``: a request of more than one text, of which one may be to blame: where the endpoint fails at it
    twice and answers others meanwhile, or one text is ``suspect`` already, more tries would fail as well.
    ``beyond``: how many calls more than bulk work's may be under way for it; ``place_s``: how long after its
    begin it may still wait for a place among them.
    """

    tries_s: float
    timeout_s: float
    waits: bool = True
    hasty: bool = False
    several: bool = False
    suspect: bool = False
    beyond: int = 0
    place_s: float = 60.0


class Gate:
    """Holds every call back until a moment, the latest that anybody named. Safe to use from any thread."""

    def __init__(self, clock: Clock, pause: Callable[[float], None] = time.sleep) -> None:
        self._clock = clock
        self._pause = pause
        self._changing = threading.Lock()
        self._open_at = 0.0
        self._rests_until = 0.0
        self._failures = 0
        self.fault: EmbedderUnavailable | None = None  # why it was closed last

    def hold(self, seconds: float, fault: EmbedderUnavailable) -> None:
        """Let nothing through for this long from now."""
        with self._changing:
            self._close(seconds, fault)

    def rest(self, fault: EmbedderUnavailable, asked_at: float) -> None:
        """A call was given up: leave the endpoint alone for a while, longer each time in a row.

        Whoever asks meanwhile learns at once that it is away, instead of finding out by waiting. A call
        that was sent (at ``asked_at``) before the last rest was over tells of the same outage.
        """
        with self._changing:
            if asked_at < self._rests_until:
                return
            rest_s = min(LONGEST_REST_S, FIRST_REST_S * 2 ** min(self._failures, 16))
            self._failures += 1
            self._close(rest_s, fault)
            self._rests_until = self._clock.monotonic() + rest_s

    def _close(self, seconds: float, fault: EmbedderUnavailable) -> None:
        self._open_at = max(self._open_at, self._clock.monotonic() + seconds)
        self.fault = fault

    def answered(self) -> None:
        """A call was answered: the next one that is given up is the first again."""
        self._failures = 0

    def closed_s(self) -> float:
        """Seconds until it opens; zero or less once it is open."""
        return self._open_at - self._clock.monotonic()

    def wait(self, at_most_s: float) -> bool:
        """Wait until it is open; False, at once or in the end, where that takes longer than given."""
        ends = self._clock.monotonic() + at_most_s
        while (closed_s := self.closed_s()) > 0:
            left_s = ends - self._clock.monotonic()
            if left_s <= 0:
                return False
            self._pause(min(closed_s, left_s))
        return True


class Caller:
    """Sends requests through one transport and one gate. Safe to call from several threads."""

    def __init__(
        self,
        transport: Transport,
        slots: Slots,
        *,
        clock: Clock | None = None,
        pause: Callable[[float], None] = time.sleep,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._transport = transport
        self._slots = slots
        self._clock = clock or SystemClock()
        self._pause = pause
        self._jitter = jitter
        self.gate = Gate(self._clock, pause)
        self._telling = threading.Lock()
        self._told: str | None = None  # why all calls were held back, as the log says it
        self._held_at = 0.0
        self._answers = 0  # ever grows: whether others are answered since a moment

    @property
    def url(self) -> str:
        return self._transport.url

    def call(
        self, body: bytes, read: Callable[[bytes], Read], *, patience: Patience, most_bytes: int
    ) -> Read:
        """What ``read`` makes of the answer; it raises Passing for one that is cut off or garbled.

        Raises EmbedderUnavailable once the time is over or where trying again is of no use, EmbedderRejected
        for refused texts, and Doubtful where others may be answered: then nothing is held back for it.
        """
        started = self._clock.monotonic()
        ends = started + patience.tries_s
        tries = failures = 0
        answers = self._answers
        while True:
            self._take_turn(started, patience)
            tries += 1
            asked_at = self._clock.monotonic()
            backoff_s = self._jitter(0.0, min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** (tries - 1)))
            try:
                found = read(self._answered(body, patience.timeout_s, most_bytes, backoff_s).body)
            except Passing as fault:
                delay_s = _delay_s(fault, backoff_s)
                failures += isinstance(fault, Failing)
                others = patience.suspect or self._answers != answers
                fails_alone = isinstance(fault, Failing) and failures >= _FAILURES and others
                if (fails_alone and patience.several) or self._clock.monotonic() + delay_s > ends:
                    tried = _tried(tries, self._clock.monotonic() - started)
                    raise self._given_up(fault, tried, patience, asked_at) from fault
                if not fault.for_all:  # otherwise the gate is waited for
                    self._pause(delay_s)
            except Doubtful:
                raise
            except EmbedderUnavailable as fault:
                raise self.resting(fault, asked_at) from fault
            else:
                self._answers += 1
                self.gate.answered()
                self._tell_end()
                return found

    def resting(self, fault: EmbedderUnavailable, asked_at: float | None = None) -> EmbedderUnavailable:
        """Leave the endpoint alone for a while, as it answers nothing; the fault, with how long that is."""
        self.gate.rest(fault, self._clock.monotonic() if asked_at is None else asked_at)
        return EmbedderUnavailable(fault.message, hint=fault.hint, after_s=self._closed_s())

    def close(self) -> None:
        self._transport.close()

    def _take_turn(self, started: float, patience: Patience) -> None:
        """Wait until the gate is open and a place is free; it is taken then."""
        while True:
            self._pass_gate(started + patience.tries_s, patience)
            left_s = started + patience.place_s - self._clock.monotonic()
            if not self._slots.take(patience.beyond, timeout_s=left_s):
                raise EmbedderUnavailable(
                    f"The embedding endpoint {self.url} has not answered the requests before this one yet.",
                    hint="It is asked again. If it stays so, raise embedding.concurrency where the endpoint "
                    "takes more.",
                )
            if self.gate.closed_s() <= 0:
                return
            self._slots.give_back()  # it was closed meanwhile

    def _answered(self, body: bytes, timeout_s: float, most_bytes: int, backoff_s: float) -> Reply:
        """One try, in the place that was taken. Where all have to wait, the gate is closed before that is
        free: whoever takes it next finds it so."""
        try:
            reply = self._transport.post(body, timeout_s=timeout_s, most_bytes=most_bytes)
            check(reply, self.url, self._clock.now())
            return reply
        except Passing as fault:
            if fault.for_all:
                self._hold_all(fault, _delay_s(fault, backoff_s))
            raise
        finally:
            self._slots.give_back()

    def _hold_all(self, fault: Passing, delay_s: float) -> None:
        self.gate.hold(delay_s, fault)
        with self._telling:
            self._held_at = self._clock.monotonic()
            if self._told != fault.message:
                self._told = fault.message
                log.warning(
                    "%s All calls wait for %.1f s, and as often as it says so.", fault.message, delay_s
                )

    def _tell_end(self) -> None:
        with self._telling:
            if self._told and self._clock.monotonic() - self._held_at > QUIET_S:
                self._told = None
                log.info("the embedding endpoint %s holds calls back no longer", self.url)

    def _given_up(
        self, fault: Passing, tried: str, patience: Patience, asked_at: float
    ) -> EmbedderUnavailable:
        found = EmbedderUnavailable(fault.message + tried, hint=fault.hint, after_s=self._closed_s())
        if fault.for_all or (patience.hasty and isinstance(fault, Late)):
            return found
        if isinstance(fault, Failing):
            return Doubtful(found.message, hint=found.hint)
        return self.resting(found, asked_at)

    def _pass_gate(self, ends: float, patience: Patience) -> None:
        while self.gate.closed_s() > 0:
            left_s = ends - self._clock.monotonic()
            if not patience.waits and self.gate.closed_s() > left_s:
                raise self._held_back()
            if not self.gate.wait(left_s):
                raise self._held_back()
            self._pause(self._jitter(0.0, SPREAD_S))

    def _closed_s(self) -> float:
        return max(0.0, self.gate.closed_s())

    def _held_back(self) -> EmbedderUnavailable:
        fault = self.gate.fault or EmbedderUnavailable("The embedding endpoint is left alone for a while.")
        return EmbedderUnavailable(
            f"{fault.message} It is asked again in {max(1.0, self.gate.closed_s()):.0f} s.",
            hint=fault.hint,
            after_s=self._closed_s(),
        )


def _delay_s(fault: Passing, backoff_s: float) -> float:
    """What it asked for, and no less than without: ``Retry-After: 0`` would be a busy loop."""
    return max(fault.after_s or 0.0, backoff_s)


def _tried(tries: int, seconds: float) -> str:
    return f" Tried {tries} times in {seconds:.0f} s." if tries > 1 else ""
