"""One verdict for each state a source can be in, with a reason that names the cause."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingestion.ledger.values import Waiting
from ingestion.objectives import Pace
from ops.verdicts import BLIND_AFTER_S, STUCK_AFTER_S, Ahead, Facts, Judged, Verdict, caught_up_in_s, judge

NOW = 1_000_000.0
BUSY = Pace(last_hour=500, changes=20, fresh=20, over_s=200.0)
QUIET = Facts(
    within_s=60.0,
    looks=(NOW - 2,),
    fault=None,
    pending=0,
    held=0,
    waiting=(),
    pace=Pace(last_hour=3),
)


def waiting(
    age_s: float,
    *,
    lane: str = "fresh",
    pending: int = 4,
    claimed: int = 0,
    due: int = 4,
    claimed_at: float | None = None,
) -> Waiting:
    at = NOW - age_s
    return Waiting(lane, pending, at, at, pending, claimed, due, claimed_at, 0, at)


def behind(*lanes: Waiting, pace: Pace = QUIET.pace) -> Facts:
    return replace(QUIET, pending=sum(lane.pending for lane in lanes), waiting=lanes, pace=pace)


@pytest.mark.parametrize(
    ("facts", "verdict", "reason"),
    [
        (QUIET, Verdict.CURRENT, "Every change is searchable."),
        (replace(QUIET, pace=Pace()), Verdict.IDLE, "Nothing changed in the last hour."),
        (behind(waiting(59)), Verdict.CURRENT, "4 documents on the way, no change late."),
        (behind(waiting(59), pace=Pace()), Verdict.CURRENT, "4 documents on the way"),
        (behind(waiting(61), pace=BUSY), Verdict.LAGGING, "at this pace for"),
        (behind(waiting(61)), Verdict.STARVED, "No worker takes 4 documents in the fresh lane"),
        (behind(waiting(61, claimed=4, due=0)), Verdict.LAGGING, "4 documents wait"),
        (behind(waiting(61 + STUCK_AFTER_S, claimed=4, due=0)), Verdict.STUCK, "none was finished lately"),
        (behind(waiting(61 + STUCK_AFTER_S, due=0)), Verdict.STUCK, "none was finished"),  # tried again later
        (behind(waiting(400, claimed_at=NOW - 5)), Verdict.STUCK, "none was finished"),
        (behind(waiting(400, claimed_at=NOW - 300)), Verdict.STARVED, "No worker takes"),
        # Tried lately, but before it changed.
        (behind(waiting(61, claimed_at=NOW - 70)), Verdict.STARVED, "No worker takes"),
        (replace(QUIET, looks=()), Verdict.BLIND, "never listed completely"),
        (replace(QUIET, looks=(), fault="No such folder."), Verdict.BLIND, "No such folder."),
        (replace(QUIET, looks=(NOW - BLIND_AFTER_S,)), Verdict.CURRENT, ""),
        (replace(QUIET, looks=(NOW - 90,)), Verdict.BLIND, "for 1 min 30 s: No watcher"),
        (replace(QUIET, looks=(NOW - 90,)), Verdict.BLIND, "takes no writes (a full disk) or its clock"),
        (replace(QUIET, looks=(NOW + BLIND_AFTER_S,)), Verdict.CURRENT, ""),
        (replace(QUIET, looks=(NOW + 3600, NOW + 3602)), Verdict.BLIND, "in the future: set the clocks"),
        (replace(QUIET, looks=(NOW + 3600, NOW - 90)), Verdict.BLIND, "for 1 min 30 s: No watcher"),
        (replace(QUIET, looks=(NOW + 3600, NOW - 2)), Verdict.CURRENT, ""),  # set back since its listing
        (replace(QUIET, looks=(NOW - 90,), fault="Gone."), Verdict.BLIND, "for 1 min 30 s: Gone."),
        (replace(QUIET, fault="sub/ could not be looked at: Permission denied"), Verdict.PARTIAL,
         "Not all of it is looked after: sub/ could not be looked at: Permission denied. Once"),
        # Seen on schedule alone
        (replace(QUIET, looks=(NOW - 3000,), schedule=(NOW - 3001, NOW + 599)), Verdict.CURRENT, ""),
        (replace(QUIET, looks=(NOW - 3000,), schedule=(NOW - 3001, NOW + 1), fault="x"), Verdict.PARTIAL, ""),
        (replace(QUIET, looks=(NOW - 3000,), schedule=(NOW - 60, NOW + 3540)), Verdict.CURRENT, ""),
        (replace(QUIET, looks=(NOW - 6000,), schedule=(NOW - 3000, NOW + 600)), Verdict.BLIND, "No watcher"),
        (replace(QUIET, looks=(NOW - 6000,), schedule=(NOW - 6001, NOW - 2401)), Verdict.BLIND, "No watcher"),
        (replace(QUIET, held=1), Verdict.HELD, "1 document is not there"),
        (replace(QUIET, held=2), Verdict.HELD, "2 documents are not there"),
    ],
)  # fmt: skip
def test_a_verdict_has_a_reason(facts: Facts, verdict: Verdict, reason: str) -> None:
    found = judge(facts, NOW)
    assert found.verdict is verdict
    assert reason in found.reason


def test_a_first_index_that_goes_on_does_not_hide_that_nobody_takes_edits() -> None:
    bulk_goes_on = Pace(bulk=900, over_s=200.0)
    both = behind(waiting(61), waiting(300, lane="bulk", claimed=2), pace=bulk_goes_on)
    assert judge(both, NOW).verdict is Verdict.STARVED
    bulk = behind(waiting(300, lane="bulk", claimed=2), pace=bulk_goes_on)
    assert judge(bulk, NOW).verdict is Verdict.LAGGING


def test_edits_that_go_on_do_not_hide_a_bulk_worker_that_hangs() -> None:
    facts = behind(waiting(5000, lane="bulk", pending=9, claimed=9, due=0, claimed_at=NOW - 4900), pace=BUSY)
    found = judge(facts, NOW)
    assert found.verdict is Verdict.STUCK
    assert found.reason.startswith("Of 9 documents in the bulk lane none was finished lately")
    assert caught_up_in_s(facts, NOW) is None


def first_index(age_s: float, *, claimed: int = 0, claimed_at: float | None = None) -> Facts:
    lane = waiting(age_s, lane="bulk", pending=900, claimed=claimed, due=900 - claimed, claimed_at=claimed_at)
    return behind(replace(lane, overdue=0, first=900, promised_at=None))


def test_of_a_first_index_nothing_is_late() -> None:
    going_on = replace(first_index(5000, claimed=128, claimed_at=NOW - 9), pace=Pace(bulk=70))
    found = judge(going_on, NOW)
    assert (found.verdict, found.reason) == (
        Verdict.CURRENT,
        "900 documents of a first index on the way.",
    )
    edits = replace(going_on, waiting=(*going_on.waiting, waiting(59)), pending=904)
    found = judge(edits, NOW)
    assert (found.verdict, found.reason) == (
        Verdict.CURRENT,
        "904 documents on the way, 900 of a first index; no change late.",
    )
    late = replace(edits, waiting=(*going_on.waiting, waiting(61)), pace=Pace(bulk=70, changes=1))
    assert judge(late, NOW).verdict is Verdict.LAGGING
    assert judge(first_index(61), NOW).verdict is Verdict.STARVED
    assert judge(first_index(400, claimed=9, claimed_at=NOW - 390), NOW).verdict is Verdict.STUCK


@pytest.mark.parametrize("ahead", [Ahead(70, None), Ahead(0, NOW - 170)])
def test_a_source_whose_turn_comes_after_another_s_is_neither_starved_nor_stuck(ahead: Ahead) -> None:
    queue = {"bulk": ahead}
    for facts in (first_index(5000), first_index(5000, claimed=9, claimed_at=NOW - 9)):
        found = judge(replace(facts, ahead=queue), NOW)
        assert found.verdict is Verdict.CURRENT
        assert found.reason == "900 documents of a first index on the way, after those of other sources."
    edit = waiting(400)
    assert judge(replace(behind(edit), ahead=queue), NOW).verdict is Verdict.STARVED  # another lane
    assert judge(replace(behind(edit), ahead={"fresh": ahead}), NOW).verdict is Verdict.LAGGING


def test_another_source_that_goes_on_does_not_hide_one_s_own_fault() -> None:
    queue = {"bulk": Ahead(70, None)}
    hangs = replace(first_index(5000, claimed=9, claimed_at=NOW - 400), ahead=queue)
    assert judge(hangs, NOW).verdict is Verdict.STUCK
    given_back = replace(first_index(5000, claimed_at=NOW - 9), ahead=queue)
    assert judge(given_back, NOW).verdict is Verdict.STUCK
    stands_still = replace(first_index(5000), ahead={"bulk": Ahead(0, NOW - 190)})
    assert judge(stands_still, NOW).verdict is Verdict.STARVED


def test_what_is_only_read_again_is_not_late() -> None:
    """After a change of the parser every document waits, and every one has its revision."""
    again = Waiting("bulk", 900, NOW - 9e6, None, 0, 0, 900, None)
    facts = replace(QUIET, pending=900, waiting=(again,))
    assert judge(facts, NOW).verdict is Verdict.CURRENT


def test_the_first_of_several_faults_counts() -> None:
    facts = replace(behind(waiting(61)), held=3, looks=(NOW - 90,))
    assert judge(facts, NOW).verdict is Verdict.BLIND
    assert judge(replace(facts, looks=(NOW,)), NOW).verdict is Verdict.STARVED
    assert judge(replace(facts, looks=(NOW,), waiting=()), NOW).verdict is Verdict.HELD
    part = replace(behind(waiting(61), pace=BUSY), fault="sub/ could not be looked at")
    assert judge(part, NOW).verdict is Verdict.PARTIAL
    assert judge(replace(part, pace=Pace()), NOW).verdict is Verdict.STARVED


def test_only_current_and_idle_are_good() -> None:
    assert {verdict for verdict in Verdict if Judged(verdict, "").good} == {Verdict.CURRENT, Verdict.IDLE}


def test_the_time_until_caught_up_goes_by_the_last_minutes() -> None:
    assert caught_up_in_s(QUIET, NOW) == 0.0
    pace = Pace(fresh=100, bulk=50, over_s=200.0)
    assert caught_up_in_s(behind(waiting(400), pace=pace), NOW) == 8.0
    assert caught_up_in_s(behind(waiting(10), pace=pace), NOW) == 0.4
    both = behind(waiting(400), waiting(400, lane="bulk", pending=200), pace=pace)
    assert caught_up_in_s(both, NOW) == 800.0
    just_come = behind(waiting(1), waiting(400, lane="bulk", pending=200), pace=replace(pace, fresh=0))
    assert caught_up_in_s(just_come, NOW) == 800.0
    assert caught_up_in_s(behind(waiting(400), pace=Pace()), NOW) is None
