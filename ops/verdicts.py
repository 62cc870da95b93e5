"""Whether a source is kept current, and why not: one word of eight, and a sentence.

Pure: the time arrives as an argument. Of several things that are wrong the first counts: what keeps all
others from being known, then what does not get better by itself.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ingestion.ledger.values import Waiting
from ingestion.objectives import LATELY_S, Pace
from ingestion.records import Lane
from ops.showing import counted, duration

STUCK_AFTER_S = 180.0  # late, and nothing finished: a large document may take that long
BLIND_AFTER_S = 60.0  # without a proof of sight: a watcher gives one every two seconds, a poll every ten
UNSEEN = (
    "No watcher says that it sees it. If one runs and does not hang, the ledger takes no writes (a full "
    "disk) or its clock is behind: headwater doctor on its machine tells."
)
LOOK_TAKES_S = 600.0  # by schedule, of a source with many pages and slow servers


class Verdict(enum.StrEnum):
    CURRENT = "current"  # all that changed is searchable, or will be in time
    LAGGING = "lagging"  # changes wait for longer than was promised, and work goes on
    STARVED = "starved"  # nobody takes what waits
    STUCK = "stuck"  # somebody does, and nothing comes of it
    BLIND = "blind"  # nobody sees whether anything changed
    HELD = "held"  # documents are not there, and a person is to say whether they are gone
    PARTIAL = "partial"  # a part of it is not looked after, or a document; of the rest all is well
    IDLE = "idle"  # current, and nothing changed for an hour


GOOD = (Verdict.CURRENT, Verdict.IDLE)


@dataclass(frozen=True, slots=True)
class Ahead:
    """What waits of other sources in a lane, and no shorter: how many were finished lately of those sources
    in that lane, and when one of them was last begun."""

    finished: int
    begun_at: float | None


@dataclass(frozen=True, slots=True)
class Facts:
    """What a verdict rests on. ``looks`` are the last proofs, of each kind, that the whole source was seen;
    ``schedule``, of one that is seen on schedule alone, when the last look began and when the next is due;
    ``ahead``, by lane, is what other sources have before it, nothing where they have nothing."""

    within_s: float
    looks: Sequence[float]
    fault: str | None
    pending: int
    held: int
    waiting: Sequence[Waiting]
    pace: Pace
    ahead: Mapping[str, Ahead] = field(default_factory=dict)
    schedule: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    verdict: Verdict
    reason: str

    @property
    def good(self) -> bool:
        return self.verdict in GOOD


def judge(facts: Facts, now: float) -> Judged:
    """The verdict as of now, in the ledger's time."""
    return (
        _blind(facts, now)
        or _stalled(facts, now)
        or _held(facts)
        or _partial(facts)
        or _lagging(facts, now)
        or _idle(facts)
        or _current(facts, now)
    )


def caught_up_in_s(facts: Facts, now: float) -> float | None:
    """Seconds until nothing waits, at the pace of the last minutes; None where a lane does not move."""
    if not facts.pending:
        return 0.0
    pace, left_s = facts.pace, list[float]()
    for lane in facts.waiting:
        finished = pace.fresh if lane.lane == Lane.FRESH else pace.bulk
        if not finished and now - lane.oldest > LATELY_S:
            return None
        if not finished:  # an edit that has just come
            continue
        # A backlog that is younger was worked on for no longer.
        over_s = min(pace.over_s, max(1.0, now - lane.oldest))
        left_s.append(lane.pending * over_s / finished)
    return max(left_s, default=None)


def _blind(facts: Facts, now: float) -> Judged | None:
    if not facts.looks:
        return Judged(Verdict.BLIND, facts.fault or "It was never listed completely yet.")
    # A look from the future says nothing about now: whoever took it may have hung ever since.
    plausible = [at for at in facts.looks if at <= now + BLIND_AFTER_S]
    if not plausible:
        ahead = duration(min(facts.looks) - now)
        reason = f"Its last look lies {ahead} in the future: set the clocks of the watcher and of the ledger."
        return Judged(Verdict.BLIND, reason)
    unseen_s = now - max(plausible)
    if unseen_s <= BLIND_AFTER_S:
        return None
    if _waits_for_its_look(facts, max(plausible), now):
        return None
    why = facts.fault or UNSEEN
    return Judged(Verdict.BLIND, f"Nothing was seen of it for {duration(unseen_s)}: {why}")


def _waits_for_its_look(facts: Facts, seen_at: float, now: float) -> bool:
    """Whether its last look is one that saw it, or may still be under way, and the next is not overdue."""
    if facts.schedule is None:
        return False
    last, following = facts.schedule
    return now <= following + LOOK_TAKES_S and (seen_at >= last or now <= last + LOOK_TAKES_S)


def _stalled(facts: Facts, now: float) -> Judged | None:
    for lane in facts.waiting:
        age_s = 0.0 if lane.changed_at is None else now - lane.changed_at
        if lane.changed_at is None or age_s <= facts.within_s or finished_lately(facts.pace, lane.lane):
            continue
        if _waits_its_turn(facts, lane, now):
            continue
        what = f"{counted(lane.pending, 'document')} in the {lane.lane} lane"
        tried_at = lane.claimed_at or 0.0
        is_tried = lane.claimed or tried_at >= max(now - LATELY_S, lane.changed_at)
        if lane.due and not is_tried:
            reason = f"No worker takes {what}; the oldest change is {duration(age_s)} old."
            return Judged(Verdict.STARVED, reason)
        if age_s > facts.within_s + STUCK_AFTER_S:
            reason = f"Of {what} none was finished lately; the oldest change is {duration(age_s)} old."
            return Judged(Verdict.STUCK, reason)
    return None


def finished_lately(pace: Pace, lane: str) -> int:
    """What says that work goes on: neither lane says anything about the other, nor do edits without
    consequences about those with."""
    return pace.changes if lane == Lane.FRESH else pace.bulk


def _waits_its_turn(facts: Facts, lane: Waiting, now: float) -> bool:
    """Whether workers have been at other sources' documents, which wait no shorter, and not at these yet."""
    ahead, lately = facts.ahead.get(lane.lane), now - STUCK_AFTER_S
    if ahead is None or not (ahead.finished or (ahead.begun_at or 0.0) >= lately):
        return False
    if lane.claimed:  # its turn has come
        return (lane.claimed_at or 0.0) >= lately
    return (lane.claimed_at or 0.0) < (lane.changed_at or lane.oldest)


def _held(facts: Facts) -> Judged | None:
    if not facts.held:
        return None
    are_not = "document is not there" if facts.held == 1 else "documents are not there"
    reason = f"{facts.held:,} {are_not}, and a person is to say whether they are gone: headwater approve."
    return Judged(Verdict.HELD, reason)


def _partial(facts: Facts) -> Judged | None:
    """It is seen, so this is a folder that may not be read, or a document that the ledger refuses."""
    if facts.fault is None:
        return None
    reason = f"Not all of it is looked after: {facts.fault.rstrip('.')}. Once that is mended: headwater sync."
    return Judged(Verdict.PARTIAL, reason)


def _lagging(facts: Facts, now: float) -> Judged | None:
    oldest = min((one.promised_at for one in facts.waiting if one.promised_at is not None), default=now)
    if now - oldest <= facts.within_s:
        return None
    wait = "waits" if facts.pending == 1 else "wait"
    reason = f"{counted(facts.pending, 'document')} {wait}, the oldest change for {duration(now - oldest)}"
    left_s = caught_up_in_s(facts, now)
    end = "." if left_s is None else f"; at this pace for {duration(left_s)} more."
    return Judged(Verdict.LAGGING, reason + end)


def _idle(facts: Facts) -> Judged | None:
    if facts.pending or facts.pace.last_hour:
        return None
    return Judged(Verdict.IDLE, "Nothing changed in the last hour.")


def _current(facts: Facts, now: float) -> Judged:
    """Of a first index nothing is promised, so it is never late."""
    if not facts.pending:
        return Judged(Verdict.CURRENT, "Every change is searchable.")
    what, first = counted(facts.pending, "document"), sum(lane.first for lane in facts.waiting)
    if not first:
        return Judged(Verdict.CURRENT, f"{what} on the way, no change late.")
    if first < facts.pending:
        return Judged(Verdict.CURRENT, f"{what} on the way, {first:,} of a first index; no change late.")
    waits = any(_waits_its_turn(facts, lane, now) for lane in facts.waiting)
    turn = ", after those of other sources" if waits else ""
    return Judged(Verdict.CURRENT, f"{what} of a first index on the way{turn}.")
