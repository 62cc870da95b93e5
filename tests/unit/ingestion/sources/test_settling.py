from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.sources.settling import CONFIRM_S, PATIENCE_S, QUIET_S, Batch, Dirty, Settling, Touch


def touched(settling: Settling, now: float, **places: Touch) -> None:
    settling.add(Dirty({place.replace("_", "/"): touch for place, touch in places.items()}), now)


def uris(batch: Batch | None) -> tuple[str, ...]:
    return batch.uris if batch else ()


def test_nothing_waits_at_first() -> None:
    settling = Settling()
    assert settling.next_due() is None
    assert settling.due(1e9) is None


@pytest.mark.parametrize(
    ("touch", "wait"),
    [
        (Touch.SETTLED, 0.0),
        (Touch.WRITING, QUIET_S),
        (Touch.ATTRIBUTES, QUIET_S),
        (Touch.GONE, CONFIRM_S),
    ],
)
def test_each_hint_has_its_wait(touch: Touch, wait: float) -> None:
    settling = Settling()
    touched(settling, 10.0, a=touch)
    assert settling.next_due() == 10.0 + wait
    if wait:
        assert settling.due(10.0 + wait - 0.001) is None
    assert uris(settling.due(10.0 + wait)) == ("a",)
    assert settling.next_due() is None
    assert settling.due(1e9) is None


def test_only_an_absence_that_was_told_is_confirmed() -> None:
    settling = Settling()
    touched(settling, 0.0, a=Touch.WRITING, b=Touch.GONE, c=Touch.ATTRIBUTES)
    touched(settling, 0.1, c=Touch.GONE)
    batch = settling.due(1e9)
    assert batch is not None
    assert batch.unconfirmed == {"a"}


def test_every_write_puts_it_off_until_patience_ends() -> None:
    settling = Settling()
    now = 0.0
    while now < 10.0 and settling.due(now) is None:
        touched(settling, now, a=Touch.WRITING)
        now += QUIET_S / 2
    assert PATIENCE_S <= now <= PATIENCE_S + QUIET_S


def test_closing_ends_the_wait() -> None:
    settling = Settling()
    touched(settling, 0.0, a=Touch.WRITING)
    touched(settling, 0.01, a=Touch.SETTLED)
    assert uris(settling.due(0.01)) == ("a",)
    assert settling.due(1e9) is None, "the earlier hint is not delivered a second time"


@pytest.mark.parametrize("before", Touch)
def test_attributes_put_nothing_off(before: Touch) -> None:
    settling = Settling()
    touched(settling, 0.0, a=before)
    due = settling.next_due()
    touched(settling, 0.05, a=Touch.ATTRIBUTES)
    assert settling.next_due() == due


def test_unlink_and_create_is_one_look_when_it_is_complete() -> None:
    settling = Settling()
    touched(settling, 0.0, a=Touch.GONE)
    touched(settling, 0.05, a=Touch.WRITING)
    assert settling.due(0.149) is None
    touched(settling, 0.149, a=Touch.SETTLED)
    assert uris(settling.due(0.149)) == ("a",)


def test_both_ends_of_a_move_come_at_once_and_together() -> None:
    settling = Settling()
    touched(settling, 0.0, old=Touch.WRITING)
    settling.add(Dirty(moved={"old": "new"}), 0.01)
    batch = settling.due(0.01)
    assert batch is not None
    assert set(batch.uris) == {"old", "new"}
    assert dict(batch.moved) == {"old": "new"}
    assert settling.due(1e9) is None


def test_a_partner_that_comes_late_still_ends_the_wait() -> None:
    settling = Settling()
    touched(settling, 0.0, old=Touch.GONE)
    settling.add(Dirty(moved={"old": "new"}), 0.02)
    assert set(uris(settling.due(0.02))) == {"old", "new"}


@pytest.mark.parametrize("later", [Touch.WRITING, Touch.GONE, Touch.SETTLED])
def test_no_later_hint_parts_the_ends_of_a_move(later: Touch) -> None:
    settling = Settling()
    settling.add(Dirty(moved={"old": "new"}), 0.0)
    touched(settling, 0.01, new=later)
    assert set(uris(settling.due(0.01))) == {"old", "new"}


def test_an_old_place_that_is_written_again_is_no_move() -> None:
    """How an editor keeps a backup: the file is renamed away and written anew."""
    settling = Settling()
    settling.add(Dirty({"a": Touch.WRITING}, {"a": "a.old"}), 0.0)
    batch = settling.due(0.0)
    assert batch is not None
    assert batch.uris == ("a.old",)
    assert not batch.moved
    touched(settling, 0.01, a=Touch.SETTLED)
    assert uris(settling.due(0.01)) == ("a",)


def test_a_subtree_that_is_due_covers_what_is_below_it() -> None:
    settling = Settling()
    touched(settling, 0.0, d_a=Touch.SETTLED, d_e_=Touch.SETTLED, d_=Touch.SETTLED, da=Touch.SETTLED)
    batch = settling.due(0.0)
    assert batch == Batch(("da",), ("d/",), {})
    assert not batch.rescan


def test_a_subtree_covers_nothing_that_is_not_due_yet() -> None:
    settling = Settling()
    touched(settling, 0.0, d_a=Touch.WRITING, d_=Touch.SETTLED)
    assert settling.due(0.0) == Batch((), ("d/",), {})
    assert settling.due(QUIET_S) == Batch(("d/a",), (), {})


def test_the_ends_of_a_move_are_named_even_below_a_subtree() -> None:
    settling = Settling()
    settling.add(Dirty({"d/": Touch.SETTLED}, {"a": "d/a", "e/": "d/e/"}), 0.0)
    batch = settling.due(0.0)
    assert batch is not None
    assert set(batch.uris) == {"a", "d/a"}
    assert set(batch.subtrees) == {"d/", "d/e/", "e/"}


def test_everything_dirty_is_a_rescan() -> None:
    settling = Settling()
    settling.add(Dirty({"": Touch.SETTLED, "a": Touch.SETTLED, "d/": Touch.SETTLED}), 0.0)
    batch = settling.due(0.0)
    assert batch == Batch((), ("",), {})
    assert batch.rescan


PLACES = st.sampled_from(["a", "b", "d/a", "d/b", "d/", "d/e/", ""])
HINTS = st.builds(
    Dirty,
    st.dictionaries(PLACES, st.sampled_from(Touch), max_size=3),
    st.dictionaries(st.sampled_from(["a", "b", "d/a"]), st.sampled_from(["m", "n", "d/n"]), max_size=2),
)


@given(st.lists(st.tuples(HINTS, st.floats(0, 0.5), st.booleans()), max_size=30))
def test_every_hint_is_covered_by_a_batch_after_it_in_time(steps: list[tuple[Dirty, float, bool]]) -> None:
    settling = Settling()
    now = 0.0
    open_since: dict[str, float] = {}

    def take() -> None:
        batch = settling.due(now)
        if batch is None:
            return
        for place in list(open_since):
            if place in batch.uris or any(
                place.startswith(s) for s in batch.subtrees if s.endswith("/") or not s
            ):
                del open_since[place]

    for hint, pause, asks in steps:
        settling.add(hint, now)
        for place in (*hint.touched, *hint.moved, *hint.moved.values()):
            open_since.setdefault(place, now)
        if asks:
            take()
            next_due = settling.next_due()
            assert next_due is None or next_due > now
            oldest = settling.waiting_since()
            assert all(oldest is not None and oldest <= since for since in open_since.values())
            assert all(now < since + PATIENCE_S for since in open_since.values())
        now += pause
    now += PATIENCE_S
    take()
    assert not open_since
    assert settling.next_due() is None


def test_places_that_disappear_one_after_another_are_judged_together() -> None:
    settling = Settling()
    for number in range(10):
        settling.add(Dirty({f"{number}.md": Touch.GONE}), 10.0 + number * 0.1)
    assert settling.due(10.0 + CONFIRM_S) is None
    batch = settling.due(10.9 + CONFIRM_S)
    assert sorted(uris(batch)) == [f"{number}.md" for number in range(10)]
    assert batch is not None
    assert batch.since == 10.0
    assert settling.next_due() is None


def test_the_oldest_that_waits_is_known() -> None:
    settling = Settling()
    assert settling.waiting_since() is None
    touched(settling, 1.0, a=Touch.WRITING)
    touched(settling, 1.05, a=Touch.WRITING, b=Touch.GONE)
    assert settling.waiting_since() == 1.0
    assert uris(settling.due(1.2)) == ("a",)
    assert settling.waiting_since() == 1.05


def test_what_a_look_left_open_is_as_old_as_before_and_may_take_its_time() -> None:
    settling = Settling()
    settling.add(Dirty({"a": Touch.GONE}), 10.0, since=1.0)
    touched(settling, 10.1, a=Touch.GONE, b=Touch.WRITING)
    assert settling.waiting_since() == 1.0
    assert settling.next_due() == 10.1 + QUIET_S
    batch = settling.due(10.1 + CONFIRM_S)
    assert batch is not None and batch.since == 1.0


def test_a_deletion_does_not_wait_for_others_for_ever() -> None:
    settling = Settling()
    first_seen = None
    for number in range(100):
        now = 10.0 + number * 0.1
        settling.add(Dirty({f"{number}.md": Touch.GONE}), now)
        if first_seen is None and "0.md" in uris(settling.due(now)):
            first_seen = now
    assert first_seen is not None
    assert first_seen <= 10.0 + PATIENCE_S + 0.1
