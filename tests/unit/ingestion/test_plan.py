from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.ledger.values import Entry
from ingestion.plan import (
    ADOPT_SHARE,
    GUARD_DOCUMENTS,
    Action,
    Evidence,
    decide,
    guard,
    is_blind,
    match_renames,
)
from ingestion.records import Gone, Observation, Root, Seen, Skipped, Standing

ENTRY = Entry(1, "notes", "a.md", "look 1", "id 1", 10, False, Standing.PRESENT, 1, 1, 100.0)
SEEN = Seen("a.md", "look 1", "id 1", 10, 90.0, 200.0)
SKIPPED = Skipped("a.md", "too large", 200.0, 99)
GONE = Gone("a.md", "ENOENT", 200.0)
THERE = Root(present=True, device=1)


def entry(standing: Standing, *, fingerprint: str = "look 1", racy: bool = False) -> Entry:
    return replace(ENTRY, standing=standing, fingerprint=fingerprint, racy=racy)


TABLE: list[tuple[Entry | None, Observation, Action]] = [
    (None, SEEN, Action.INDEX),
    (None, SKIPPED, Action.SKIP),
    (None, GONE, Action.NOTHING),
    (entry(Standing.PRESENT), SEEN, Action.NOTHING),
    (entry(Standing.PRESENT), replace(SEEN, fingerprint="look 2"), Action.INDEX),
    (entry(Standing.PRESENT, racy=True), SEEN, Action.COMPARE),
    (entry(Standing.PRESENT), SKIPPED, Action.SKIP),
    (entry(Standing.PRESENT), GONE, Action.RETIRE),
    (entry(Standing.HELD), SEEN, Action.TOUCH),
    (entry(Standing.HELD), replace(SEEN, fingerprint="look 2"), Action.INDEX),
    (entry(Standing.HELD, racy=True), SEEN, Action.COMPARE),
    (entry(Standing.HELD), SKIPPED, Action.SKIP),
    (entry(Standing.HELD), GONE, Action.RETIRE),
    (entry(Standing.SKIPPED, fingerprint=""), SEEN, Action.INDEX),
    (entry(Standing.SKIPPED), SEEN, Action.NOTHING),  # found to be no text when it was read
    (entry(Standing.SKIPPED), replace(SEEN, fingerprint="look 2"), Action.INDEX),
    (entry(Standing.SKIPPED, fingerprint=""), SKIPPED, Action.NOTHING),
    (entry(Standing.SKIPPED), SKIPPED, Action.SKIP),
    (entry(Standing.SKIPPED), GONE, Action.RETIRE),
    (entry(Standing.RETIRED), SEEN, Action.INDEX),
    (entry(Standing.RETIRED), SKIPPED, Action.SKIP),
    (entry(Standing.RETIRED), GONE, Action.NOTHING),
]


@pytest.mark.parametrize(("known", "observation", "action"), TABLE)
def test_the_table(known: Entry | None, observation: Observation, action: Action) -> None:
    decision = decide(known, observation)
    assert decision.action is action
    assert decision.reason


def test_every_standing_meets_every_observation() -> None:
    met = {(known and known.standing, type(observation)) for known, observation, _ in TABLE}
    assert met == {(standing, kind) for standing in (None, *Standing) for kind in (Seen, Skipped, Gone)}


# A document's life, as a source might show it: present with one of three contents, too large, or gone.
observations = st.one_of(
    st.builds(
        Seen,
        uri=st.just("a.md"),
        fingerprint=st.sampled_from(["look 1", "look 2", "look 3"]),
        identity=st.just("id"),
        size_bytes=st.just(10),
        changed_at=st.none(),
        observed_at=st.just(1.0),
    ),
    st.just(SKIPPED),
    st.just(GONE),
)
entries = st.one_of(
    st.none(),
    st.builds(
        entry,
        st.sampled_from(Standing),
        fingerprint=st.sampled_from(["", "look 1", "look 2"]),
        racy=st.booleans(),
    ),
)


def carried_out(known: Entry | None, observation: Observation) -> Entry | None:
    """The entry after the decision was carried out, and what it asked for published."""
    match decide(known, observation).action, observation:
        case Action.INDEX | Action.COMPARE | Action.TOUCH, Seen() as seen:
            return replace(
                known or ENTRY, standing=Standing.PRESENT, fingerprint=seen.fingerprint, racy=seen.racy
            )
        case Action.SKIP, _:
            return replace(known or ENTRY, standing=Standing.SKIPPED, fingerprint="", racy=False)
        case Action.RETIRE, _:
            assert known is not None
            return replace(known, standing=Standing.RETIRED)
    return known


@given(entries, observations)
def test_planning_after_publishing_yields_nothing(known: Entry | None, observation: Observation) -> None:
    after = carried_out(known, observation)
    assert decide(after, observation).action is Action.NOTHING


@given(entries, st.lists(observations), observations)
def test_any_history_ends_where_the_last_observation_says(
    known: Entry | None, history: list[Observation], last: Observation
) -> None:
    for observation in history:
        known = carried_out(known, observation)
    after = carried_out(known, last)
    if isinstance(last, Gone):
        assert after is None or after.standing is Standing.RETIRED
    elif isinstance(last, Skipped):
        assert after is not None and after.standing is Standing.SKIPPED
    else:
        assert after is not None and after.fingerprint == last.fingerprint
        assert after.standing in (Standing.PRESENT, Standing.SKIPPED)


@given(entries, st.lists(observations), observations, st.randoms(use_true_random=False))
def test_any_order_of_hints_converges_once_the_truth_is_seen(
    known: Entry | None, hints: list[Observation], truth: Observation, chance: Random
) -> None:
    def end(in_order: list[Observation]) -> tuple[Standing, str] | None:
        one = known
        for observation in [*in_order, truth]:
            one = carried_out(one, observation)
        assert decide(one, truth).action is Action.NOTHING
        if one is None or one.standing is Standing.RETIRED:
            return None  # not there, however it came to that
        return (Standing.PRESENT, one.fingerprint) if isinstance(truth, Seen) else (one.standing, "")

    shuffled = list(hints)
    chance.shuffle(shuffled)
    assert end(hints) == end(shuffled) == end([*hints, *shuffled])


# renames -------------------------------------------------------------------------------------------------


def test_renames_pair_what_points_at_each_other_alone() -> None:
    pairs, rest = match_renames({1: "x", 2: "y"}, [("new-y.md", "y"), ("new-x.md", "x"), ("other.md", "z")])
    assert pairs == {"new-x.md": 1, "new-y.md": 2}
    assert rest == ["other.md"]


@pytest.mark.parametrize(
    ("vanished", "arrivals"),
    [
        ({}, [("a.md", "x")]),
        ({1: "x", 2: "x"}, [("a.md", "x")]),  # two copies went, one came
        ({1: "x"}, [("a.md", "x"), ("b.md", "x")]),  # one went, two came: which is it?
        ({1: "x", 2: "x"}, [("a.md", "x"), ("b.md", "x")]),
        ({1: "x"}, [("a.md", "y")]),
    ],
)
def test_what_is_ambiguous_is_observed_anew(
    vanished: dict[int, str], arrivals: list[tuple[str, str]]
) -> None:
    assert match_renames(vanished, arrivals) == ({}, [uri for uri, _ in arrivals])


traits = st.sampled_from("xyz")


@given(
    st.dictionaries(st.integers(1, 20), traits),
    st.dictionaries(st.text("ab", min_size=1, max_size=4), traits).map(lambda found: list(found.items())),
)
def test_matching_is_a_pairing_that_loses_nobody(
    vanished: dict[int, str], arrivals: list[tuple[str, str]]
) -> None:
    pairs, rest = match_renames(vanished, arrivals)
    traits_by_uri = dict(arrivals)
    assert len(set(pairs.values())) == len(pairs)
    assert sorted([*pairs, *rest]) == sorted(traits_by_uri)
    for uri, document_id in pairs.items():
        assert vanished[document_id] == traits_by_uri[uri]
    backwards, _ = match_renames(vanished, arrivals[::-1])
    assert backwards == pairs


# the guard -----------------------------------------------------------------------------------------------


def evidence(
    held: int, gone: int, *, recent: int = 0, root: Root = THERE, known_device: int | None = 1
) -> Evidence:
    return Evidence(root, known_device, held_before=held, remaining=held - gone, recent=recent)


@pytest.mark.parametrize(
    ("held", "gone", "recent", "waits"),
    [
        (1000, 0, 0, False),
        (11, 10, 0, False),  # many of few, but not more than 10
        (12, 11, 0, True),
        (110, 11, 0, False),  # more than 10, but exactly 10 %
        (109, 11, 0, True),
        (1000, 100, 0, False),
        (1000, 101, 0, True),
        (99, 1, 10, True),  # the eleventh of 109 within the window
        (100, 1, 10, False),  # ... of 110
        (100, 1, 9, False),
        (2, 2, 0, True),  # all of them, whatever their number
        (1, 1, 0, True),
        (0, 1, 5, True),
    ],
)
def test_the_guard_at_its_boundaries(held: int, gone: int, recent: int, waits: bool) -> None:
    reason = guard(gone, evidence(held, gone, recent=recent))
    assert (reason is not None) is waits


def test_nothing_vanished_needs_no_evidence() -> None:
    assert guard(0, evidence(0, 0, root=Root(present=False, device=None, reason="unmounted"))) is None


def test_a_root_that_is_gone_holds_a_single_document() -> None:
    reason = guard(1, evidence(50, 1, root=Root(present=False, device=None, reason="unmounted")))
    assert reason is not None and "unmounted" in reason


@pytest.mark.parametrize("device", [2, None])
def test_another_device_holds_until_a_listing_finds_it_unchanged(device: int | None) -> None:
    moved = evidence(50, 1, root=Root(present=True, device=device))
    assert guard(1, moved) is not None
    assert guard(1, replace(moved, unchanged_share=ADOPT_SHARE - 0.01)) is not None
    assert guard(1, replace(moved, unchanged_share=ADOPT_SHARE)) is None
    assert guard(1, replace(moved, known_device=None)) is None


@given(st.integers(0, 3000), st.integers(1, 300), st.integers(0, 300))
def test_the_guard_never_lets_more_pass_for_less_evidence(held: int, gone: int, recent: int) -> None:
    if guard(gone, evidence(held, gone, recent=recent)) is None:
        if gone > 1:
            assert guard(gone - 1, evidence(held, gone - 1, recent=recent)) is None
        assert gone < held
        assert gone + recent <= max(GUARD_DOCUMENTS, 0.1 * (held + recent))


@pytest.mark.parametrize(
    ("uri", "blind", "hidden"),
    [
        ("a/b.md", ["a/"], True),
        ("a/b.md", ["a"], False),
        ("a", ["a"], True),
        ("ab/c.md", ["a/"], False),
        ("a/b.md", [""], True),
        ("a/b.md", [], False),
        ("a/b.md", ["c/", "a/b.md"], True),
    ],
)
def test_blind_places(uri: str, blind: list[str], hidden: bool) -> None:
    assert is_blind(uri, blind) is hidden
