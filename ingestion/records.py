"""The words of the project as values: what a source showed, what a parser and a chunker made.

Every record is frozen and carries no behaviour beyond arithmetic on itself. Times are seconds since
the epoch (UTC) as floats; offsets count characters of the decoded text; sizes are bytes.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field


class Standing(enum.StrEnum):
    """What the ledger holds of a document's existence."""

    PRESENT = "present"
    HELD = "held"  # absent, but the evidence must be approved: still served
    SKIPPED = "skipped"  # there, and not indexable (binary, too large); never served
    RETIRED = "retired"  # tombstone


class PublicationState(enum.StrEnum):
    """Where one document stands in one edition."""

    PENDING = "pending"
    LIVE = "live"
    FAILED = "failed"  # dead letter
    WITHDRAWN = "withdrawn"  # its document is retired or skipped: nothing to publish


class Lane(enum.StrEnum):
    """Which work goes first. Bulk work never delays a fresh edit."""

    FRESH = "fresh"
    BULK = "bulk"


class Drift(enum.StrEnum):
    """How sources, ledger and index can differ where they should not."""

    DOCUMENT_UNSEEN = "document_unseen"  # at its source, and the ledger does not know it
    DOCUMENT_CHANGED = "document_changed"  # changed or renamed there, and the ledger has not heard of it
    DOCUMENT_GONE = "document_gone"  # the ledger serves it, and its source no longer has it
    EDITION_MISSING = "edition_missing"  # the index holds nothing of that name
    CHUNK_MISSING = "chunk_missing"  # live, and the index lacks it
    CHUNK_UNKNOWN = "chunk_unknown"  # in the index, and the ledger does not know it
    CHUNK_TEXT = "chunk_text"  # held under the right id with another text or digest
    CHUNK_VECTOR = "chunk_vector"  # held under the right id with a vector that is not its text's


@dataclass(frozen=True, slots=True)
class Seen:
    """A document was there when its source was looked at.

    ``uri`` holds no NUL and no half of a surrogate pair: no database would keep it as it is.
    ``fingerprint`` differs whenever the source gives a reason to read again (for a file: size, mtime,
    ctime, inode). ``identity`` stays the same across a rename of an unchanged document (for a
    file: inode, size, mtime) and is None where the source cannot know it. ``changed_at`` is the
    source's own time of the change, as it says, plausible or not. ``racy`` says that the document
    changed so shortly before the look that a later change might show the same fingerprint; ``judged``, that
    the source itself has found ``changed_at`` plausible: no look before speaks against it.
    """

    uri: str
    fingerprint: str
    identity: str | None
    size_bytes: int
    changed_at: float | None
    observed_at: float
    racy: bool = False
    judged: bool = False


@dataclass(frozen=True, slots=True)
class Skipped:
    """A document is there but is not to be indexed, for a reason a user can act on."""

    uri: str
    reason: str
    observed_at: float
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Gone:
    """The source says, by its own evidence, that nothing to index lives at this URI.

    ``definite``: somebody said that this document is to go. That is no absence that may have another
    reason, and needs no approval.
    ``singly``: found by one of many looks that are spread over hours. What has taken all of these documents
    away shows in them together.
    """

    uri: str
    evidence: str
    observed_at: float
    definite: bool = False
    singly: bool = False


Observation = Seen | Skipped | Gone


@dataclass(frozen=True, slots=True)
class Root:
    """What the place that holds a source looked like: the evidence behind every absence.

    ``device`` is a number of the machine that looked, and is compared with others of that machine only.
    """

    present: bool
    device: int | None
    reason: str = ""  # why it is not present, or could not be listed
    machine: str = ""
    empty: bool = field(default=False, compare=False)  # nothing at all lies in it; of a listing not told


@dataclass(frozen=True, slots=True)
class Listing:
    """One look at everything a source holds.

    ``blind`` holds what could not be looked at: URI prefixes (each ends with '/', or is '' for
    everything) and single URIs. An element speaks of a URI if it equals it, or is such a prefix of it:
    what it speaks of may not be called absent. Nor may what is ``unseen``: single URIs, where there may be
    many, or where one that ends with '/' speaks of itself alone. ``faults`` says why, one line each.
    ``seen_until``: before it everything was looked at, where that is not the start.
    """

    sightings: Sequence[Seen | Skipped]
    root: Root
    blind: Sequence[str] = ()
    unseen: Collection[str] = frozenset()
    faults: Sequence[str] = ()
    started_at: float = 0.0
    finished_at: float = 0.0
    seen_until: float | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a document and the look that was taken after they had been read.

    ``title``: what the source calls it, beside its bytes.
    """

    body: bytes
    seen: Seen
    media_type: str | None = None
    title: str | None = None

    @property
    def digest(self) -> str:
        """Of all that the document is made from."""
        found = hashlib.sha256(self.body)
        if self.title is not None:
            found.update(b"\0title\0" + self.title.encode("utf-8", "replace"))
        return found.hexdigest()


class BlockKind(enum.StrEnum):
    HEADING = "heading"
    PARAGRAPH = "paragraph"
    LIST_ITEM = "list_item"
    CODE = "code"
    TABLE = "table"


@dataclass(frozen=True, slots=True)
class Block:
    """A structural unit of a parsed document: ``text[start:end]`` of the decoded or extracted text.

    ``heading_path`` are the headings the block stands under, outermost first; a heading block carries
    its own title as the last element. Blocks are in order and do not overlap.
    """

    kind: BlockKind
    start: int
    end: int
    heading_path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """From this offset on, up to the next mark, the text stands on this page, slide, row, ...

    ``unit`` is the word for it, ``within`` what it is counted in, if not the document:
    a sheet, an attachment.
    """

    start: int
    within: str
    unit: str
    number: int


@dataclass(frozen=True, slots=True)
class Parsed:
    """The text of a document and its blocks. For binary and marked-up formats the extracted text.

    ``marks`` are in order, and there are none where offsets say enough.
    """

    text: str
    blocks: Sequence[Block]
    encoding: str = "utf-8"
    marks: Sequence[Mark] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of blocks that is embedded and found as one.

    ``text`` is ``parsed.text[start:end]``; ``embedded_text`` is what the model sees (heading path and
    text) and ``digest`` is its digest: two chunks with one digest have one vector. ``place`` says where to
    look in what people open ("pages 3-4"); it is never embedded.
    """

    ordinal: int
    start: int
    end: int
    heading_path: tuple[str, ...]
    text: str
    embedded_text: str
    digest: str
    tokens: int
    place: str = ""
