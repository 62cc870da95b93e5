"""What goes into the ledger and comes out of it."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ingestion.objectives import Objective
from ingestion.own import is_own
from ingestion.records import Lane, PublicationState, Standing


@dataclass(frozen=True, slots=True)
class Entry:
    """One document as the ledger knows it: what a new observation is compared with."""

    document_id: int
    source: str
    uri: str
    fingerprint: str
    identity: str | None
    size_bytes: int
    racy: bool
    standing: Standing
    wanted: int
    observed: int
    observed_at: float


@dataclass(frozen=True, slots=True)
class Edition:
    """Everything indexed with one embedding model; ``name`` is what the index calls it."""

    edition_id: int
    name: str
    fingerprint: str
    dimensions: int
    description: str


class EditionState(enum.StrEnum):
    """What becomes of an edition; see ``ingestion.ledger.editions``."""

    BUILDING = "building"
    LIVE = "live"
    RETIRING = "retiring"  # was live, and is still fed
    RETIRED = "retired"  # fed no more; to be removed, or removed


@dataclass(frozen=True, slots=True)
class Gate:
    """What a new edition must reach before it may be searched.

    ``questions``: (question, documents that its answer should hold, as ``source/uri`` or ``uri``).
    """

    min_recall: float
    questions: Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True, slots=True)
class EditionView:
    """An edition and what becomes of it.

    ``model`` are the settings of its embedder, None where they were not kept. ``working_s`` is how long a
    building one has been worked on. ``fault`` says why it does not go on.
    """

    edition: Edition
    state: EditionState
    model: Mapping[str, Any] | None
    created_at: float
    since: float
    keep_s: float
    kept_until: float | None
    paused: bool
    working_s: float
    fault: str | None
    gate: Gate | None
    accept_failed: bool


@dataclass(frozen=True, slots=True)
class Building:
    """How far an edition is, in documents that are there and whose sources are configured.

    ``lacking``: those that searches would find in the live edition, and not as new, or not whole, here.
    ``unknown``: those that it was not told of yet.
    """

    total: int
    done: int
    failed: int
    lacking: int
    unknown: int

    @property
    def waiting(self) -> int:
        return max(0, self.total - self.done - self.failed)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on one publication until a later claim: valid while ``token`` is current.

    ``wanted`` is the generation this attempt will have published when it is done, because the source
    is read after the claim.
    """

    document_id: int
    edition_id: int
    source: str
    uri: str
    lane: Lane
    token: int
    wanted: int
    live_generation: int | None
    digest: str | None
    pipeline: str | None
    repair: bool
    attempts: int
    changed_at: float
    pending_since: float | None
    observed_at: float
    claimed_at: float

    @property
    def name(self) -> str:
        return f"{self.source}/{self.uri}"


@dataclass(frozen=True, slots=True)
class Pipelines:
    """What chunks are made with now: by one of these; ``skipping``: where no text was found.

    ``outgrown``: suffixes of documents that are no longer made by ``text``, though others are.
    """

    current: frozenset[str]
    skipping: str
    text: str = ""
    outgrown: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ManifestChunk:
    """A chunk of a document that is not dead: live (``born`` set) or staged by an earlier attempt."""

    chunk_id: str
    digest: str
    ordinal: int
    start: int
    end: int
    heading_path: tuple[str, ...]
    born: int | None
    repair: bool
    place: str = ""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a chunk stands in the revision that is to be published."""

    chunk_id: str
    ordinal: int
    start: int
    end: int
    heading_path: tuple[str, ...]
    place: str = ""


@dataclass(frozen=True, slots=True)
class Staging:
    """A chunk's intent row, written before the index hears of the chunk.

    ``known``: an earlier attempt has written it; only the claim is in question.
    """

    claim: Claim
    placed: Placed
    digest: str
    known: bool = False


@dataclass(frozen=True, slots=True)
class Work:
    """What an attempt did, for the history and the metrics."""

    chunks: int = 0
    embedded: int = 0
    reused: int = 0
    staged_at: float | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """The look that was taken when the published content had been read."""

    fingerprint: str
    identity: str | None
    size_bytes: int
    changed_at: float
    racy: bool


@dataclass(frozen=True, slots=True)
class Publishing:
    """A revision that the index has acknowledged in full.

    ``moved`` are kept chunks whose place changed, ``kept`` all kept ids (moved ones too), ``added``
    the staged ones. Whatever else the document has, staged or live, dies. ``skipped`` is the reason
    of a document that is there but is no text: it then has no chunks.
    """

    claim: Claim
    digest: str
    pipeline: str
    look: Look
    kept: Sequence[str] = ()
    moved: Sequence[Placed] = ()
    added: Sequence[Placed] = ()
    skipped: str | None = None
    work: Work = field(default_factory=Work)


@dataclass(frozen=True, slots=True)
class Published:
    """What became of one attempt.

    ``superseded``: a newer claim won and nothing was written. ``pending``: published, and a newer edit
    is waiting already. Times are seconds since the epoch.
    """

    claim: Claim
    superseded: bool
    pending: bool = False
    dropped: int = 0
    published_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Horizon:
    """The state of the knowledge base a search answers from: read before the index is asked."""

    tick: int
    edition: Edition


@dataclass(frozen=True, slots=True)
class Outset:
    """What a search begins with. ``oldest_pending``: by source, as of no later than the horizon."""

    states: Sequence[SourceState]
    oldest_pending: Mapping[str, float]
    horizon: Horizon


@dataclass(frozen=True, slots=True)
class Admitted:
    """A chunk that the fence let through, with its document as it is now."""

    chunk_id: str
    document_id: int
    source: str
    uri: str
    ordinal: int
    start: int
    end: int
    heading_path: tuple[str, ...]
    standing: Standing
    state: PublicationState
    wanted: int
    generation: int
    published_tick: int
    changed_at: float
    published_at: float
    pending_since: float | None
    place: str = ""


@dataclass(frozen=True, slots=True)
class SourceState:
    """One source as the ledger knows it."""

    name: str
    kind: str
    location: str
    active: bool
    devices: Mapping[str, int]
    listed_at: float | None
    listing_generation: int | None
    heartbeat_at: float | None
    fault: str | None
    asked_generation: int | None = None
    event_at: float | None = None
    objective: Objective = field(default_factory=Objective)
    looked_at: float | None = None
    next_look_at: float | None = None

    @property
    def by_schedule(self) -> tuple[float, float] | None:
        """When the last complete look by its schedule began, or a start's, and when the next one is due."""
        if self.looked_at is None or self.next_look_at is None:
            return None
        return self.looked_at, self.next_look_at

    @property
    def is_own(self) -> bool:
        """Whether it is none of the users'."""
        return is_own(self.name)

    @property
    def is_asked_for(self) -> bool:
        """Whether somebody who does not watch wants it listed, and no listing begun since has ended."""
        return self.asked_generation is not None and self.asked_generation > (self.listing_generation or 0)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits of one source in one lane.

    ``oldest`` is the longest waiting look, ``changed_at`` the oldest change; None where documents are only
    read again. ``overdue`` are changes older than the source's objective allows, first indexes left out.
    ``claimed`` are being worked on; ``due`` could be, and are not. ``claimed_at`` is when one of them was
    last begun. ``first`` are those of a first index, for which nothing is promised; ``promised_at`` is the
    oldest change of the others.
    """

    lane: str
    pending: int
    oldest: float
    changed_at: float | None
    overdue: int
    claimed: int
    due: int
    claimed_at: float | None
    first: int = 0
    promised_at: float | None = None


@dataclass(frozen=True, slots=True)
class SourceLag:
    """A source's backlog. ``oldest_pending`` leaves out failed and held documents; ``waiting`` is by lane."""

    source: str
    oldest_pending: float | None
    pending: int
    failed: int
    held: int
    counts: dict[str, int]
    waiting: Sequence[Waiting] = ()

    @property
    def overdue(self) -> int:
        """Changes that are late already and still wait."""
        return sum(one.overdue for one in self.waiting)
