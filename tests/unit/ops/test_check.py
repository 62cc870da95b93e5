"""``headwater check`` and the promises in ``headwater status``, on a real data file."""

from __future__ import annotations

import json

import pytest

from ingestion.ledger.sources import SourceRow
from ingestion.objectives import Objective
from ingestion.records import Lane
from ops.settings import load
from ops.status import status_report
from tests.unit.ops.books import Books, SetClock
from tests.unit.ops.conftest import Run

PROMISED = Objective(share=0.9, within_s=30.0, deletions_within_s=2.0, over_days=7)


@pytest.fixture(autouse=True)
def _set_clock(clock: SetClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands go by the clock of the books: however long they take, nothing ages."""
    monkeypatch.setattr("ops.opening.SystemClock", lambda: clock)


@pytest.fixture
def seen(filed: Books) -> Books:
    """Books in which two sources are promised and seen."""
    filed.ledger.sources.configure(
        [SourceRow("handbook", "files", "/h", PROMISED), SourceRow("policies", "files", "/p")]
    )
    for name in ("handbook", "policies"):
        filed.listed(name)
    return filed


def late(books: Books, seconds: float, source: str = "handbook") -> None:
    """A change that has been waiting for so long."""
    books.clock.at -= seconds
    books.want(source, "late.md")
    books.clock.at += seconds


def test_sources_that_are_current_or_idle_pass(seen: Books, run: Run) -> None:
    seen.publish(seen.want("handbook", "a.md")[0])
    lines = run("check").output.splitlines()
    assert lines == [
        "handbook  current   Every change is searchable.",
        "policies  idle      Nothing changed in the last hour.",
    ]


def test_a_source_that_is_not_current_fails_the_check_with_its_reason(seen: Books, run: Run) -> None:
    late(seen, 40.0)
    first, second = run("check", code=1).output.splitlines()
    assert first.startswith("handbook  starved   No worker takes 1 document in the fresh lane; the oldest ")
    assert second.startswith("policies  idle")
    assert run("check --source policies").output.splitlines() == [second]
    run("check --source policies --source handbook", code=1)


def test_a_part_that_cannot_be_looked_at_fails_the_check(seen: Books, run: Run) -> None:
    seen.listed("handbook", fault="sub/ could not be looked at: Permission denied")
    first, second = run("check", code=1).output.splitlines()
    assert first.startswith("handbook  partial   Not all of it is looked after: sub/ could not")
    assert second.startswith("policies  idle")


def test_a_first_index_passes_while_it_goes_on_and_one_that_waits_its_turn(seen: Books, run: Run) -> None:
    first, *_ = seen.want("handbook", "a.md", "b.md", "c.md", lane=Lane.BULK)
    seen.want("policies", "d.md", lane=Lane.BULK)
    seen.clock.at += 300.0
    for name in ("handbook", "policies"):
        seen.listed(name)
    seen.publish(first)
    assert run("check").output.splitlines() == [
        "handbook  current   2 documents of a first index on the way.",
        "policies  current   1 document of a first index on the way, after those of other sources.",
    ]
    seen.clock.at += 200.0  # and nothing goes on
    for name in ("handbook", "policies"):
        seen.listed(name)
    lines = run("check", code=1).output.splitlines()
    assert [line.split()[1] for line in lines] == ["starved", "starved"]


def test_a_source_that_workers_pass_over_is_starved(seen: Books, run: Run) -> None:
    """One that their settings do not name: what they take changed later."""
    seen.want("policies", "d.md")
    seen.clock.at += 300.0
    for name in ("handbook", "policies"):
        seen.listed(name)
    seen.publish(seen.want("handbook", "a.md", "b.md")[0])
    lines = run("check", code=1).output.splitlines()
    assert [line.split()[1] for line in lines] == ["current", "starved"]


def test_a_lag_of_one_s_own_takes_the_place_of_the_objective(seen: Books, run: Run) -> None:
    late(seen, 40.0)
    run("check --max-lag 10m")
    run("check --max-lag 0.5h")
    run("check --max-lag 20s", code=1)
    run("check --max-lag 20", code=1)
    late(seen, 40.0, "policies")  # whose objective is a minute
    run("check --source policies")
    run("check --source policies --max-lag 30s", code=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--max-lag soon", "'soon' is no length of time; write it as 60s, 5m, 2h or 1d."),
        ("--max-lag 5y", "is no length of time"),
        ("--max-lag 0s", "A lag can be no smaller"),
        ("--source nowhere", "There is no source 'nowhere'; there are: handbook, policies."),
    ],
)
def test_wrong_usage_is_told_apart_from_a_lag(seen: Books, run: Run, arguments: str, said: str) -> None:
    assert said in run(f"check {arguments}", code=2).output


def test_a_source_that_left_the_settings_is_kept_by_nobody(seen: Books, run: Run) -> None:
    seen.ledger.sources.configure([SourceRow("policies", "files", "/p")])
    assert run("check").output.startswith("policies  idle")
    assert "handbook: not in the settings now" in run("check --source handbook", code=2).output
    seen.ledger.sources.configure([])
    assert "There is no source to check." in run("check", code=2).output


def test_what_nobody_sees_is_blind(filed: Books, run: Run) -> None:
    assert "handbook  blind     It was never listed completely yet." in run("check", code=1).output
    filed.listed("handbook")
    filed.clock.at += 90
    assert (
        "handbook  blind     Nothing was seen of it for 1 min 30 s: No watcher" in run("check", code=1).output
    )


def test_the_last_try_is_told_where_nothing_comes_of_any(seen: Books, run: Run) -> None:
    late(seen, 400.0)
    claim = seen.claim(1)
    seen.ledger.claims.release([claim], "The index at\x1b example does not answer.")
    output = run("check --source handbook", code=1).output
    assert output.startswith("handbook  stuck     Of 1 document in the fresh lane none was finished lately")
    assert "The last try: The index at\\x1b example does not answer." in output


def test_status_tells_what_was_promised_and_kept(seen: Books, run: Run, clock: SetClock) -> None:
    for seconds in (1.0, 2.0, 4.0, 50.0):
        (document_id,) = seen.want("handbook", f"{seconds}.md")
        clock.at += seconds
        seen.publish(document_id)  # takes a quarter of a second more
    seen.ledger.documents.retire({1: "ENOENT"}, noticed=("handbook", clock.at - 1.0))
    clock.at += 1.0
    seen.listed("handbook")
    report = status_report(load(environ={}), seen.ledger, clock)
    handbook, policies = json.loads(json.dumps(report))["sources"]
    assert handbook["verdict"] == "current"
    assert handbook["objective"] == {
        "share": 0.9,
        "within_s": 30.0,
        "deletions_within_s": 2.0,
        "over_days": 7,
    }
    assert handbook["error_budget_left"] == pytest.approx(1 - 1 / 0.5)  # one of five, where one of ten may be
    changes, deletions = handbook["last_hour"]["changes"], handbook["last_hour"]["deletions"]
    assert (changes["number"], deletions["number"]) == (4, 1)
    assert changes["p50_s"] == pytest.approx(2.25, rel=0.06)
    assert changes["p99_s"] == pytest.approx(50.25, rel=0.06)
    assert deletions["p95_s"] == pytest.approx(1.0, rel=0.06)
    assert (handbook["overdue"], handbook["caught_up_in_s"]) == (0, 0.0)
    assert policies["last_hour"]["changes"] == {"number": 0, "p50_s": None, "p95_s": None, "p99_s": None}
    assert policies["error_budget_left"] == 1.0


def test_status_says_it_in_words(seen: Books, run: Run) -> None:
    seen.publish(seen.want("handbook", "a.md")[0])
    late(seen, 40.0)
    lines = run("status").output.splitlines()
    about = lines[lines.index("handbook  /h") : lines.index("policies  /p")]
    assert (
        "  lagging        1 document waits, the oldest change for 40.0 s; at this pace for 40.0 s more."
        in about
    )
    assert "  objective      90 % of changes within 30 s, of deletions within 2 s" in about
    assert "  error budget   -400 % left of 7 days" in about
    assert "  last hour      1 change: p50 0.24 s, p95 0.24 s, p99 0.24 s" in about
