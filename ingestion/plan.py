"""Decides what follows from an observation. Pure: values in, values out.

``decide`` is the table for one document; ``match_renames`` and ``guard`` judge absences together,
because a vanished document may have been renamed and many at once may mean an unmounted disk.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ingestion.ledger.values import Entry
from ingestion.records import Gone, Observation, Root, Seen, Skipped, Standing

# A listing or settle window may retire this many documents, or this share of a source, unasked.
GUARD_DOCUMENTS = 10
GUARD_SHARE = 0.10
# A complete listing that finds this share unchanged proves that another device is the same place.
ADOPT_SHARE = 0.90


class Action(enum.StrEnum):
    INDEX = "index"  # read again
    COMPARE = "compare"  # read again, unless its content is what is live
    RETIRE = "retire"  # tombstone, if the guard agrees
    MOVE = "move"  # the same document under another URI
    SKIP = "skip"  # there, not to be indexed
    TOUCH = "touch"  # as it was: note the look
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Decision:
    action: Action
    reason: str


def decide(entry: Entry | None, observation: Observation) -> Decision:
    """What one observation means for one document."""
    match observation:
        case Seen():
            return _seen(entry, observation)
        case Skipped():
            return _skipped(entry, observation)
        case Gone():
            return _gone(entry, observation)


def _seen(entry: Entry | None, seen: Seen) -> Decision:
    if entry is None:
        return Decision(Action.INDEX, "new")
    if entry.standing is Standing.RETIRED:
        return Decision(Action.INDEX, "came back")
    if entry.fingerprint != seen.fingerprint:
        return Decision(Action.INDEX, "changed")
    if entry.racy:
        return Decision(Action.COMPARE, "may have changed within the clock tick of the last look")
    if entry.standing is Standing.HELD:
        return Decision(Action.TOUCH, "found again")
    return Decision(Action.NOTHING, "unchanged")


def _skipped(entry: Entry | None, skipped: Skipped) -> Decision:
    if entry is not None and entry.standing is Standing.SKIPPED and entry.fingerprint == "":
        return Decision(Action.NOTHING, "still skipped")
    return Decision(Action.SKIP, skipped.reason)


def _gone(entry: Entry | None, gone: Gone) -> Decision:
    if entry is None or entry.standing is Standing.RETIRED:
        return Decision(Action.NOTHING, "was not known")
    return Decision(Action.RETIRE, gone.evidence)


def match_renames(
    vanished: Mapping[int, str], arrivals: Sequence[tuple[str, str]]
) -> tuple[dict[str, int], list[str]]:
    """Pair documents that are gone with URIs that are new, where both point at each other alone.

    ``vanished``: document id to trait (identity, or content digest) of its published revision;
    ``arrivals``: (uri, trait) of what was newly seen. Returns the document id by new URI, and the URIs
    that found no partner or more than one: hard links and copies are ambiguous, and are observed anew.
    """
    gone_by_trait: dict[str, list[int]] = {}
    for document_id, trait in vanished.items():
        gone_by_trait.setdefault(trait, []).append(document_id)
    times_seen = Counter(trait for _, trait in arrivals)
    pairs: dict[str, int] = {}
    rest: list[str] = []
    for uri, trait in arrivals:
        partners = gone_by_trait.get(trait, [])
        if len(partners) == 1 and times_seen[trait] == 1:
            pairs[uri] = partners[0]
        else:
            rest.append(uri)
    return pairs, rest


@dataclass(frozen=True, slots=True)
class Evidence:
    """What stands beside a set of absences. ``known_device``: as the same machine saw it before, if it did.
    ``held_before`` counts the documents the source held, ``remaining`` those of them that would be left,
    ``recent`` those retired in this window already."""

    root: Root
    known_device: int | None
    held_before: int
    remaining: int
    recent: int = 0
    unchanged_share: float | None = None  # of a complete listing; None for events


def guard(count: int, evidence: Evidence) -> str | None:
    """Why this many retirements must wait for approval, or None if the evidence will do."""
    if count == 0:
        return None
    if not evidence.root.present:
        return f"the place itself is gone ({evidence.root.reason})"
    if evidence.remaining <= 0:
        return "nothing is left of what was there"
    if _other_device(evidence):
        return "the place lies on another device than before"
    total = count + evidence.recent
    if total > GUARD_DOCUMENTS and total > GUARD_SHARE * (evidence.held_before + evidence.recent):
        return f"{total} of {evidence.held_before + evidence.recent} documents vanished at once"
    return None


def _other_device(evidence: Evidence) -> bool:
    if evidence.known_device is None or evidence.root.device == evidence.known_device:
        return False
    return evidence.unchanged_share is None or evidence.unchanged_share < ADOPT_SHARE


def is_blind(uri: str, blind: Iterable[str]) -> bool:
    """Whether a URI lies where a listing could not see: named itself, or below a prefix ('' or '…/')."""
    return any(
        uri == place or ((place == "" or place.endswith("/")) and uri.startswith(place)) for place in blind
    )
