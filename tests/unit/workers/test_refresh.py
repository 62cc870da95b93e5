"""Every way a batch can end: published, gone, changing, refused, failing, stopped, superseded, deferred."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ingestion.database import Database
from ingestion.errors import (
    DocumentChanging,
    DocumentGone,
    DocumentUnparsable,
    EmbedderUnavailable,
    HeadwaterError,
    IndexUnavailable,
    Interrupted,
    LedgerUnavailable,
)
from ingestion.ledger.reopening import MAX_ATTEMPTS
from ingestion.ledger.values import Claim
from ingestion.records import Content, Lane
from ingestion.sources.memory import MemorySource
from ingestion.sources.port import Read, SourcePort
from retrieval.embedding.port import Vectors
from tests.rig import Rig, ShiftedClock
from workers.drafting import Draft, Drafter
from workers.outcomes import Result
from workers.refresh import FRESH_TEXTS, GROUP_TEXTS

TEXT = "words of {}"


class Reading:
    """A source whose ``read`` is what ``on_read`` makes of it."""

    def __init__(self, inner: SourcePort, on_read: Callable[[str, Content], Content]) -> None:
        self._inner = inner
        self._on_read = on_read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def read(self, uri: str) -> Content:
        return self._on_read(uri, self._inner.read(uri))

    def reading(self, uris: Sequence[str]) -> Read:
        return self.read


class Embedding:
    """Calls ``before`` with the texts, then embeds."""

    def __init__(self, before: Callable[[Sequence[str]], None]) -> None:
        self.before = before
        self.rig: Rig | None = None

    def __call__(self, texts: Sequence[str], lane: Lane, tokens: Sequence[int]) -> Vectors:
        assert self.rig is not None
        self.before(texts)
        return self.rig.embedder.embed(texts, lane, tokens)


def rig_with(
    database: Database,
    source: MemorySource,
    clock: ShiftedClock,
    embed: Embedding | None = None,
    **options: Any,
) -> Rig:
    rig = Rig(database, [source], clock=clock, embed=embed, **options)
    if embed is not None:
        embed.rig = rig
    rig.recover()
    return rig


def put(source: MemorySource, *names: str) -> None:
    for name in names:
        source.put(f"{name}.md", TEXT.format(name).encode())


def refresh_all(rig: Rig, lane: Lane = Lane.FRESH) -> None:
    rig.scan()
    rig.queue.clear()
    rig.work.refresh(list(rig.document_ids().values()), lane)


def attempts(rig: Rig) -> dict[str, int]:
    return {view.uri: view.attempts for view in rig.ledger.views.documents()}


def test_published_documents_are_told_with_what_they_cost(rig: Rig, source: MemorySource) -> None:
    source.put("a.md", b"# One\n\nfirst\n\n# Two\n\nsecond")
    rig.sync()
    source.put("a.md", b"# One\n\nfirst\n\n# Two\n\nanother")
    rig.forget_outcomes()
    rig.sync()
    (outcome,) = rig.outcomes
    assert (outcome.result, outcome.uri, outcome.new) == (Result.PUBLISHED, "a.md", False)
    assert (outcome.chunks, outcome.embedded, outcome.reused, outcome.dropped) == (2, 1, 0, 1)
    assert outcome.changed_at is not None
    assert outcome.claimed_at is not None
    assert outcome.staged_at is not None
    assert outcome.changed_at <= outcome.claimed_at <= outcome.staged_at <= outcome.finished_at


def test_the_same_content_again_is_told_as_unchanged(rig: Rig, source: MemorySource) -> None:
    put(source, "a")
    rig.sync()
    rig.forget_outcomes()
    put(source, "a")
    rig.sync()
    assert [(one.result, one.embedded) for one in rig.outcomes] == [(Result.UNCHANGED, 0)]


def test_a_document_that_is_gone_is_judged_by_its_source(rig: Rig, source: MemorySource) -> None:
    put(source, "a", "b", "c")
    rig.sync()
    put(source, "a", "b")
    rig.scan()
    source.delete("a.md")
    rig.settle()
    assert rig.states() == {"b.md": "live", "c.md": "live"}
    assert rig.results(Result.RETIRED) == ["a.md"]


def test_a_document_that_is_back_when_its_source_is_asked_is_read_again(
    database: Database, source: MemorySource, clock: ShiftedClock
) -> None:
    absent = [True]

    def on_read(uri: str, content: Content) -> Content:
        if uri == "a.md" and absent[0]:
            absent[0] = False
            raise DocumentGone("it was being replaced")
        return content

    put(source, "a", "b")
    rig = rig_with(database, source, clock, wrap_source=lambda inner: Reading(inner, on_read))
    refresh_all(rig)
    assert rig.states() == {"a.md": "pending", "b.md": "live"}
    rig.settle()
    assert rig.states() == {"a.md": "live", "b.md": "live"}
    assert rig.results(Result.RETIRED) == []


@pytest.mark.parametrize(
    ("error", "state", "result"),
    [
        (DocumentChanging("it is being written"), "pending", Result.FAULT),
        (DocumentUnparsable("no parser"), "failed", Result.DEAD),
        (ZeroDivisionError("a bug"), "pending", Result.FAILED),
        (MemoryError(), "pending", Result.FAILED),
    ],
)
def test_what_one_document_does_leaves_the_others_alone(
    database: Database,
    source: MemorySource,
    clock: ShiftedClock,
    error: Exception,
    state: str,
    result: Result,
) -> None:
    def on_read(uri: str, content: Content) -> Content:
        if uri == "bad.md":
            raise error
        return content

    put(source, "a", "bad", "c")
    rig = rig_with(database, source, clock, wrap_source=lambda inner: Reading(inner, on_read))
    refresh_all(rig)
    assert rig.states() == {"a.md": "live", "bad.md": state, "c.md": "live"}
    assert rig.results(result) == ["bad.md"]
    assert attempts(rig)["bad.md"] == (0 if result is Result.FAULT else 1)


def test_a_message_says_what_failed_what_holds_and_what_to_do(rig: Rig, source: MemorySource) -> None:
    put(source, "a", "b")
    rig.sync()
    put(source, "a")
    source.make_unreadable("a.md")
    rig.sync()
    view = rig.ledger.views.named("notes", "a.md")
    assert view is not None
    assert view.error is not None
    assert view.error.startswith(f"notes/a.md (generation {view.wanted}): a.md cannot be read")
    assert f"Generation {view.generation} stays live." in view.error
    assert view.error.endswith("Make it readable again.")
    assert TEXT.format("a") in [text for *_, text in rig.passages()]


def test_a_poisonous_document_ends_as_a_dead_letter_and_can_be_replayed(
    database: Database, source: MemorySource, clock: ShiftedClock
) -> None:
    poisoned = [True]

    def on_read(uri: str, content: Content) -> Content:
        if uri == "bad.md" and poisoned[0]:
            raise ZeroDivisionError
        return content

    put(source, "a", "bad")
    rig = rig_with(database, source, clock, wrap_source=lambda inner: Reading(inner, on_read))
    for _ in range(MAX_ATTEMPTS):
        rig.scan()
        rig.work.dispatch()
        rig.work_off()
        rig.advance(700.0)
    assert rig.states() == {"a.md": "live", "bad.md": "failed"}
    assert rig.results(Result.FAILED) == ["bad.md"] * (MAX_ATTEMPTS - 1)
    assert rig.results(Result.DEAD) == ["bad.md"]
    poisoned[0] = False
    assert rig.ledger.claims.replay() == 1
    rig.settle()
    assert rig.states() == {"a.md": "live", "bad.md": "live"}


def test_an_unexpected_error_of_a_batch_is_pinned_on_its_document(
    database: Database, source: MemorySource, clock: ShiftedClock
) -> None:
    def explode(texts: Sequence[str]) -> None:
        if any("bad" in text for text in texts):
            raise ZeroDivisionError

    put(source, "a", "bad", "c", "d")
    rig = rig_with(database, source, clock, Embedding(explode))
    refresh_all(rig)
    assert set(rig.states().values()) == {"pending"}
    assert set(attempts(rig).values()) == {0}  # nobody is to blame yet
    rig.settle()
    assert rig.states() == {"a.md": "live", "bad.md": "failed", "c.md": "live", "d.md": "live"}
    assert attempts(rig) == {"a.md": 0, "bad.md": MAX_ATTEMPTS, "c.md": 0, "d.md": 0}


@pytest.mark.parametrize(
    "fault", [EmbedderUnavailable("away"), IndexUnavailable("away"), LedgerUnavailable("away")]
)
def test_a_fault_of_what_all_need_costs_no_attempt(
    database: Database, source: MemorySource, clock: ShiftedClock, fault: HeadwaterError
) -> None:
    away = [True]

    def fail(_texts: Sequence[str]) -> None:
        if away[0]:
            raise fault

    put(source, "a", "b")
    rig = rig_with(database, source, clock, Embedding(fail))
    for _ in range(MAX_ATTEMPTS + 2):
        refresh_all(rig)
        rig.advance(3.0)
    assert rig.states() == {"a.md": "pending", "b.md": "pending"}
    assert attempts(rig) == {"a.md": 0, "b.md": 0}
    assert rig.results(Result.FAULT)[:2] == ["a.md", "b.md"]
    away[0] = False
    rig.settle()
    assert rig.states() == {"a.md": "live", "b.md": "live"}


@pytest.mark.parametrize(("after_s", "delay_s"), [(None, 2.0), (0.5, 2.0), (30.0, 30.0), (3000.0, 60.0)])
def test_documents_wait_as_long_as_the_embedder_says(
    database: Database, source: MemorySource, clock: ShiftedClock, after_s: float | None, delay_s: float
) -> None:
    def fail(_texts: Sequence[str]) -> None:
        raise EmbedderUnavailable("held back", after_s=after_s)

    put(source, "a")
    rig = rig_with(database, source, clock, Embedding(fail))
    refresh_all(rig)
    (view,) = rig.ledger.views.documents()
    assert view.not_before - clock.now() == pytest.approx(delay_s, abs=0.5)


def test_claims_that_cannot_be_handed_back_are_handed_back_later(
    database: Database, source: MemorySource, clock: ShiftedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_texts: Sequence[str]) -> None:
        raise LedgerUnavailable("away")

    put(source, "a")
    rig = rig_with(database, source, clock, Embedding(fail))
    release = rig.ledger.claims.release

    def away(*_args: object, **_options: object) -> None:
        raise LedgerUnavailable("away")

    monkeypatch.setattr(rig.ledger.claims, "release", away)
    refresh_all(rig)
    assert rig.ledger.claims.claim(rig.edition, list(rig.document_ids().values())) == []
    with pytest.MonkeyPatch.context() as again:
        again.setattr(rig.ledger.claims, "release", away)
        rig.refresher.hand_back_again()  # still away: nothing is forgotten
    monkeypatch.setattr(rig.ledger.claims, "release", release)
    rig.refresher.hand_back_again()
    rig.advance(3.0)
    assert len(rig.ledger.claims.claim(rig.edition, list(rig.document_ids().values()))) == 1


def test_a_stop_hands_everything_back_at_once_and_keeps_what_is_published(
    database: Database, source: MemorySource, clock: ShiftedClock
) -> None:
    section = "\n\n".join("# {0} {1}\n\nwords {0} {1}".format("{}", n) for n in range(30))
    names = [f"{n:02}" for n in range(10)]
    for name in names:
        source.put(f"{name}.md", section.replace("{}", name).encode())
    embedded = [0]

    def stop(texts: Sequence[str]) -> None:
        embedded[0] += len(texts)
        if embedded[0] > GROUP_TEXTS + 60:
            raise Interrupted("stopping")

    embed = Embedding(stop)
    rig = rig_with(database, source, clock, embed)
    refresh_all(rig, Lane.BULK)
    published = [uri for uri, state in rig.states().items() if state == "live"]
    assert 0 < len(published) < len(names)
    assert rig.results(Result.FAULT) == []
    again = rig.ledger.claims.claim(rig.edition, list(rig.document_ids().values()))
    assert sorted(claim.uri for claim in again) == sorted(set(rig.states()) - set(published))
    assert {claim.attempts for claim in again} == {0}


def test_a_claim_that_was_lost_meanwhile_publishes_nothing(
    database: Database, source: MemorySource, clock: ShiftedClock
) -> None:
    def rename(_texts: Sequence[str]) -> None:
        embed.before = lambda _texts: None
        source.rename("a.md", "b.md")
        rig.ledger.documents.retire({rig.document_ids()["a.md"]: "deleted meanwhile"})

    embed = Embedding(rename)
    put(source, "a", "other")
    rig = rig_with(database, source, clock, embed)
    refresh_all(rig)
    assert rig.states() == {"other.md": "live"}
    assert rig.results(Result.PUBLISHED) == ["other.md"]
    assert [uri for uri, *_ in rig.passages()] == ["other.md"]
    rig.sync()
    assert rig.states() == {"b.md": "live", "other.md": "live"}


def test_an_edit_during_the_attempt_leaves_it_published_and_pending(
    database: Database, source: MemorySource, clock: ShiftedClock
) -> None:
    def edit(_texts: Sequence[str]) -> None:
        embed.before = lambda _texts: None
        source.put("a.md", b"the newer words")
        rig.look("a.md")
        rig.queue.clear()  # the message of the edit is lost

    embed = Embedding(edit)
    put(source, "a")
    rig = rig_with(database, source, clock, embed)
    refresh_all(rig)
    assert [text for *_, text in rig.passages()] == [TEXT.format("a")]
    assert rig.states() == {"a.md": "pending"}
    assert [lane for lane, _ in rig.queue] == [Lane.FRESH]  # it is sent again at once
    rig.work_off()
    assert [text for *_, text in rig.passages()] == ["the newer words"]


def test_much_to_embed_goes_on_in_the_bulk_lane(
    database: Database, source: MemorySource, clock: ShiftedClock
) -> None:
    put(source, "small")
    rig = rig_with(database, source, clock)
    rig.sync()
    source.put("large.md", "\n\n".join(f"# {n}\n\nwords {n}" for n in range(FRESH_TEXTS + 1)).encode())
    source.put("edge.md", "\n\n".join(f"# e{n}\n\nedge {n}" for n in range(FRESH_TEXTS)).encode())
    put(source, "another")
    rig.forget_outcomes()
    rig.scan()
    lane, ids = rig.queue.popleft()
    assert lane is Lane.FRESH
    rig.work.refresh(ids, lane)
    assert rig.results(Result.DEFERRED) == ["large.md"]
    assert rig.states()["large.md"] == "pending"
    assert {rig.states()[uri] for uri in ("edge.md", "another.md")} == {"live"}
    assert [lane for lane, _ in rig.queue] == [Lane.BULK]
    rig.work_off()
    assert rig.states()["large.md"] == "live"
    assert not rig.open_documents()


def test_a_large_batch_is_published_group_by_group(
    database: Database, source: MemorySource, clock: ShiftedClock
) -> None:
    seen: list[int] = []

    def count(_texts: Sequence[str]) -> None:
        seen.append(len(rig.passages()))

    for n in range(2 * GROUP_TEXTS):
        source.put(f"{n}.md", f"words of {n}".encode())
    rig = rig_with(database, source, clock, Embedding(count))
    refresh_all(rig, Lane.BULK)
    assert set(seen) == {0, GROUP_TEXTS}
    assert len(rig.passages()) == 2 * GROUP_TEXTS


def test_an_unexpected_error_while_drafting_one_of_many(
    database: Database, source: MemorySource, clock: ShiftedClock
) -> None:
    class Exploding(Drafter):
        def draft(self, claim: Claim, read: Read) -> Draft:
            if claim.uri == "bad.md":
                raise RecursionError
            return super().draft(claim, read)

    put(source, "a", "bad", "c")
    rig = rig_with(database, source, clock)
    inner = rig.embedder.inner
    exploding = Exploding(inner.max_tokens, inner.count_tokens, clock, sandbox=rig.sandbox)
    again = rig_with(database, source, clock, drafter=exploding)
    refresh_all(again)
    assert again.states() == {"a.md": "live", "bad.md": "pending", "c.md": "live"}


def test_what_listens_cannot_undo_what_is_published(
    database: Database, source: MemorySource, clock: ShiftedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener's error is a bug of ours: the document stays published and is no failure."""
    put(source, "a", "b")
    rig = rig_with(database, source, clock)

    def broken(_outcome: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(rig.refresher, "_listener", broken)
    refresh_all(rig)
    assert rig.states() == {"a.md": "live", "b.md": "live"}


def test_the_same_message_twice_does_nothing_twice(rig: Rig, source: MemorySource) -> None:
    put(source, "a", "b")
    rig.scan()
    ids = list(rig.document_ids().values())
    for _ in range(3):
        rig.work.refresh([*ids, *ids, 999], Lane.FRESH)
    assert sorted(rig.results(Result.PUBLISHED)) == ["a.md", "b.md"]
    assert len(rig.embedder.texts) == 2
