"""A second edition asked for, watched, or worked on here: what ``headwater rebuild`` does.

Asking is a row in the ledger. Beside a daemon or workers of roles, they do the work; without any it is
done here, one batch after the other, and may be broken off at any moment.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ingestion.errors import HeadwaterError, Interrupted, Misconfigured
from ingestion.ledger.editions import KEEP_S, NewEdition
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.values import Building, Edition, EditionState, EditionView, Gate
from ingestion.records import Lane
from ops.equipping import close_embedder, embedder_of, kept
from ops.lock import running_daemon
from ops.settings import EmbeddingSettings, Settings
from ops.wiring import add_sources, make_pipeline, open_parts
from retrieval.index.port import Index
from workers.outcomes import ignore
from workers.wholeness import mark_missing
from workers.work import PipelineWork

POLL_S = 0.1
STILL_S = 45.0  # longer than until a model that was not to be had is tried again
BACK_S = 60.0  # for the edits that the kept edition still lacks

Told = Callable[[EditionView, Building], None]
"""Told every now and then how far the edition is."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for. ``model`` None: that of the settings."""

    model: str | None = None
    gate: Gate | None = None
    accept_failed: bool = False
    keep_s: float = KEEP_S


def read_gate(min_recall: float, queries: Path) -> Gate:
    """The gate of a file of questions. Raises Misconfigured, naming the line that is none."""
    questions: list[tuple[str, Sequence[str]]] = []
    try:
        lines = queries.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise Misconfigured(f"The questions in {queries} cannot be read ({error}).") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            questions.append(_question(line, f"{queries}, line {number}"))
    if not questions:
        raise Misconfigured(f"There are no questions in {queries}.", hint=_LINE_HINT)
    return Gate(min_recall, questions)


_LINE_HINT = 'Each line is like {"query": "How long is leave?", "expected": ["handbook/people/leave.md"]}.'


def _question(line: str, place: str) -> tuple[str, Sequence[str]]:
    with contextlib.suppress(ValueError, TypeError, KeyError):
        read = json.loads(line)
        query, expected = read["query"], read["expected"]
        named = isinstance(expected, list) and expected and all(isinstance(one, str) for one in expected)
        if isinstance(query, str) and query.strip() and named:
            return query, tuple(expected)
    raise Misconfigured(f"{place}: this is no question with its expected documents.", hint=_LINE_HINT)


def begin(settings: Settings, ledger: Ledger, wish: Wish) -> EditionView:
    """Ask for a second edition. Raises Misconfigured and its kind where it could not be built."""
    live, back = (ledger.editions.in_state(one) for one in (EditionState.LIVE, EditionState.RETIRING))
    if live is None:
        raise Misconfigured("Nothing was indexed yet.", hint="Start with: headwater up FOLDER")
    embedding = _wanted(settings.embedding, wish.model)
    embedder = embedder_of(embedding)
    try:
        new = NewEdition(
            embedder.fingerprint,
            embedder.dimensions,
            embedder.description,
            kept(embedding),
            wish.gate,
            wish.accept_failed,
            wish.keep_s,
        )
    finally:
        close_embedder(embedder)
    if back is not None and back.edition.fingerprint == new.fingerprint != live.edition.fingerprint:
        raise Misconfigured(
            f"An edition with {new.description} is kept, up to date: nothing is to be built.",
            hint="Go back to it: headwater rebuild --back",
        )
    return ledger.editions.start(new)


def _wanted(embedding: EmbeddingSettings, model: str | None) -> EmbeddingSettings:
    if model is None:
        return embedding
    folder = Path(model).expanduser()
    return embedding.model_copy(update={"model": str(folder.resolve()) if folder.is_dir() else model})


def others_work(settings: Settings) -> bool:
    """Whether a daemon, or workers beside a shared broker, do what is asked for."""
    return running_daemon(settings.daemon.data) is not None or settings.broker.url is not None


def await_switch(
    ledger: Ledger, edition: Edition, told: Told, stopping: Callable[[], bool], work: Callable[[], None]
) -> str:
    """Wait until searches go to the edition; returns why they do not, and nothing if they do.

    ``work`` is called between two looks. A fault that somebody noted ends the waiting only once nothing has
    gone on for ``STILL_S``: one process may lack a model that others have.
    """
    done = 0
    moved_at = time.monotonic()
    while not stopping():
        view = next((one for one in ledger.editions.fed() if one.edition == edition), None)
        if view is None:
            return "It was given up meanwhile."
        if view.state is EditionState.LIVE:
            return ""
        backlog = ledger.editions.backlog(view)
        told(view, backlog)
        if backlog.done > done:  # only work on it makes them more; an edit makes them fewer
            moved_at = time.monotonic()
        done = backlog.done
        reason = _why_not(view, backlog, still=time.monotonic() - moved_at > STILL_S)
        if reason:
            return reason
        work()
    return "Interrupted: what is done stays. Go on with: headwater rebuild --resume --wait"


def _why_not(view: EditionView, backlog: Building, *, still: bool) -> str:
    """What only a person can mend."""
    if view.paused:
        return view.fault or "It is paused. Go on with: headwater rebuild --resume"
    if backlog.failed and not backlog.waiting and backlog.lacking and not view.accept_failed:
        return (
            f"{backlog.failed} documents failed in it alone or had a revision that it lacks (headwater "
            "explain says why): searches stay where they are. Mend the cause, then: headwater dead replay "
            "--all; or switch without them: headwater rebuild --resume --accept-failed"
        )
    return (view.fault or "") if still else ""


def kept_edition(ledger: Ledger) -> EditionView:
    """The one to go back to. Raises Misconfigured where there is none."""
    view = ledger.editions.in_state(EditionState.RETIRING)
    if view is None:
        raise Misconfigured(
            "No edition is kept to go back to.", hint="Build it again: headwater rebuild --model ..."
        )
    return view


def went_back(ledger: Ledger, index: Index, kept_one: EditionView) -> bool:
    """Let searches go to the kept edition, if it has every edit and the index all of it; what is missing
    is marked."""
    if ledger.editions.lacks(kept_one):
        return False
    mark_missing(ledger, index, kept_one.edition)
    return ledger.editions.switch(kept_one)


def go_back(
    ledger: Ledger,
    index: Index,
    kept_one: EditionView,
    work: Callable[[], None],
    stopping: Callable[[], bool],
) -> None:
    """The same, once it is so. Raises HeadwaterError when edits, or what is missing, do not get there in
    time."""
    ends = time.monotonic() + BACK_S
    while not went_back(ledger, index, kept_one):
        if stopping() or time.monotonic() > ends:
            lacking = ledger.editions.backlog(kept_one).lacking
            raise HeadwaterError(
                f"{lacking} documents are not as new, or not whole, in the kept edition yet; searches stay "
                "where they are.",
                hint="It is fed in the bulk lane: ask again in a moment.",
            )
        work()


@contextlib.contextmanager
def working_here(
    settings: Settings, stopping: Callable[[], bool]
) -> Iterator[tuple[Ledger, Callable[[], None]]]:
    """The ledger, and one round of work on whatever waits, for when nobody else works."""
    queue: deque[tuple[Lane, Sequence[int], int | None]] = deque()

    def send(lane: Lane, document_ids: Sequence[int], edition_id: int | None = None, /) -> None:
        queue.append((lane, document_ids, edition_id))

    def stop_early() -> None:
        if stopping():
            raise Interrupted("It was interrupted.")

    parts = open_parts(settings)
    try:
        add_sources(parts.ledger, parts.settings, parts.sources)
        parts.fitter.hearing.load = True
        pipeline = make_pipeline(
            parts, send_message=send, listener=ignore, missed=lambda source, number: None, stopping=stop_early
        )
        yield parts.ledger, lambda: _round(pipeline.work, queue, stopping)
    finally:
        parts.close()


def _round(
    work: PipelineWork,
    queue: deque[tuple[Lane, Sequence[int], int | None]],
    stopping: Callable[[], bool],
) -> None:
    if not queue:
        work.dispatch()
    if not queue:
        threading.Event().wait(POLL_S)  # a model is being loaded, or another process has claimed the rest
    while queue and not stopping():
        lane, document_ids, edition_id = queue.popleft()
        work.refresh(document_ids, lane, edition_id)
        if edition_id is not None:
            return  # so that progress is told
