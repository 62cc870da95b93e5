"""What a look at a source would do: ``headwater sync --dry-run``. Nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ingestion.errors import HeadwaterError, NotIndexable, SourceUnavailable
from ingestion.records import Chunk
from ops.remote import cost
from ops.wiring import Parts
from retrieval.embedding.remote.sizes import estimated_tokens
from workers.outcomes import ignore
from workers.reconcile import Reconciler
from workers.surveying import Plan

Decision = tuple[str, str, str]
"""Action, URI, reason."""


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a sync of one source would do.

    With an endpoint the tokens are estimated, and ``characters`` are what the texts hold; ``cost`` is in
    the currency of the price, where one is set.
    """

    source: str
    decisions: Sequence[Decision] = ()
    texts: int = 0
    tokens: int = 0
    characters: int | None = None
    cost: float | None = None
    fault: str | None = None


def foresee(parts: Parts, name: str, counted: set[str] | None = None) -> Foreseen:
    """Look, read, parse and chunk, and compare with the index; write nothing.

    What was found before and is still to be published counts, too. ``counted``: digests of texts that
    another source has paid for already; those of this one are added.
    """
    reconciler = Reconciler(
        parts.ledger, parts.clock, listener=ignore, send=lambda ids: None, missed=lambda source, number: None
    )
    try:
        plan = reconciler.preview(parts.sources[name])
    except SourceUnavailable as fault:
        return Foreseen(name, fault=str(fault))
    wanted = {want.change.seen.uri: want.reason for want in plan.wants}
    drafted, added = _drafted(parts, name, {**_owed(parts, name, plan), **wanted})
    known = _known(parts, list(added)) | (counted or set())
    if counted is not None:
        counted.update(added)
    new = [chunk for digest, chunk in added.items() if digest not in known]
    decisions = sorted([*_planned(plan), *drafted], key=lambda one: one[1])
    return _weighed(Foreseen(name, decisions, len(new)), new, parts)


def _planned(plan: Plan) -> Iterator[Decision]:
    """What needs no reading."""
    yield from (("move", move.seen.uri, f"was {move.entry.uri}") for move in plan.moves)
    yield from (("skip", one.uri, one.reason) for one in plan.skips)
    yield from (("hold", entry.uri, plan.hold or "") for entry, _ in plan.held)
    yield from (("retire", entry.uri, evidence) for entry, evidence in plan.retired)


def _drafted(parts: Parts, name: str, reasons: Mapping[str, str]) -> tuple[list[Decision], dict[str, Chunk]]:
    """What becomes of these URIs, once read, and their chunks by the digest of the text."""
    decisions: list[Decision] = []
    added: dict[str, Chunk] = {}
    for uri, reason in reasons.items():
        try:
            chunks = parts.drafter.chunks(parts.sources[name].read(uri))
        except NotIndexable as refusal:
            decisions.append(("skip", uri, refusal.message))
        except HeadwaterError as error:
            decisions.append(("fail", uri, error.message))
        else:
            decisions.append(("index", uri, reason))
            added |= {chunk.digest: chunk for chunk in chunks}
    return decisions, added


def _owed(parts: Parts, name: str, plan: Plan) -> dict[str, str]:
    """URIs of what an earlier look found and nobody has published yet, with the reason to index them."""
    moved = {move.entry.uri: move.seen.uri for move in plan.moves}
    gone = {entry.uri for entry, _ in [*plan.retired, *plan.held]} | {one.uri for one in plan.skips}
    owed: dict[str, str] = {}
    after = 0
    while page := parts.ledger.views.documents(source=name, state="pending", after=after, limit=1000):
        after = page[-1].document_id
        for view in page:
            if view.uri not in gone:
                owed[moved.get(view.uri, view.uri)] = "found before, and not published yet"
    return owed


def _weighed(foreseen: Foreseen, new: Sequence[Chunk], parts: Parts) -> Foreseen:
    tokens = sum(chunk.tokens for chunk in new)
    if parts.embedder.call_limits is None:
        return replace(foreseen, tokens=tokens)
    settings = parts.settings.embedding
    estimated = sum(estimated_tokens(settings.document_prompt + chunk.embedded_text) for chunk in new)
    price = cost(settings, estimated)
    return replace(foreseen, tokens=estimated, characters=tokens, cost=price)


def _known(parts: Parts, digests: Sequence[str]) -> set[str]:
    """Those of the texts that the index has a vector for."""
    known: set[str] = set()
    for start in range(0, len(digests), 500):
        known |= parts.index.vectors_by_digest(parts.edition.name, digests[start : start + 500]).keys()
    return known
