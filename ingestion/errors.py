"""The errors of the project: what may be tried again, what may not, and what is no failure at all.

::

    HeadwaterError
    ├── Transient            try again later; costs the document no attempt
    │   ├── SourceUnavailable   the place that holds the documents cannot be looked at
    │   ├── DocumentChanging    the document kept changing while it was read
    │   ├── LedgerUnavailable   the ledger cannot be read or written (disk full, locked, ...)
    │   ├── IndexUnavailable    the index cannot be reached or written
    │   │   └── EditionMissing     it answers, and this edition is not in it
    │   ├── BrokerUnavailable   the broker cannot be reached; the ledger knows what is to be sent
    │   ├── ParserUnavailable   no process can be started to parse in
    │   ├── EmbedderUnavailable the embedder cannot be reached, or is not loaded yet
    │   └── Interrupted         the process is being stopped; others go on
    ├── Terminal             trying again changes nothing: dead letter
    │   ├── DocumentUnreadable  the source refuses this document (permissions, I/O error)
    │   ├── DocumentUnparsable  it was read, but no text could be made of it
    │   ├── LedgerRejected      the ledger's database refuses what is to be written
    │   ├── IndexRejected       the index refuses these chunks
    │   └── EmbedderRejected    the embedder refuses these texts
    ├── IndexRefused         the index refused these chunks and took others: a few attempts, then dead letter
    ├── Superseded           a newer claim won, or there is nothing left to do; not a failure
    ├── DocumentGone         nothing lives at the URI any more: its source must judge
    ├── NotIndexable         there, readable, and not text (binary, too large): skipped with a reason
    │   └── Scanned             pictures of text, which another program might read
    ├── PushRefused          what was handed over cannot be taken; nothing was changed
    ├── BadQuery             a question that cannot be asked like this; nothing was searched
    └── Misconfigured        settings, data folder or model do not fit; nothing was started
        ├── WrongSettings       (every fault of the settings together)
        ├── ModelMissing        the embedding model is nowhere to be found
        ├── ModelNotServed      this runtime cannot compute what the model asks for; another may
        ├── WrongEdition        the index was made with another embedding model
        ├── DataCorrupt         the data file cannot be read as one
        ├── DataNewer           the data folder was made by a newer version
        └── AlreadyRunning      another daemon has the data folder

A message answers: what failed, for which document, what still holds, what to do. ``hint`` is that last
part. Secrets and document text never appear in one.
"""

from __future__ import annotations

import enum


class HeadwaterError(Exception):
    """Root of the tree. ``source``, ``uri`` and ``generation`` are filled in by whoever knows them."""

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        source: str | None = None,
        uri: str | None = None,
        generation: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.source = source
        self.uri = uri
        self.generation = generation

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def __reduce__(self) -> tuple[object, ...]:
        """Copied and pickled as it is: an exception would call its class with the message alone."""
        return _made_anew, (type(self), self.args), dict(self.__dict__)


def _made_anew(kind: type[HeadwaterError], arguments: tuple[object, ...]) -> HeadwaterError:
    return kind.__new__(kind, *arguments)


class Transient(HeadwaterError):
    """May go away by itself. Costs a document no attempt."""


class SourceUnavailable(Transient):
    """The place that holds the documents cannot be looked at; its documents keep being served."""


class FolderUnseen(SourceUnavailable):
    """This process does not see the place; others may. It says nothing about what lies there."""


class DocumentChanging(Transient):
    """The document was being written each time it was read."""


class LedgerUnavailable(Transient):
    """The ledger cannot be read or written now."""


class IndexUnavailable(Transient):
    """The index cannot be reached or written now."""


class EditionMissing(IndexUnavailable):
    """The index answers, and holds no such edition: never made, dropped, or deleted by somebody else."""


class BrokerUnavailable(Transient):
    """The broker cannot be reached now. Nothing is lost: what it should carry is in the ledger."""


class ParserUnavailable(Transient):
    """No process can be started for parsers that are kept apart."""


class EmbedderUnavailable(Transient):
    """The embedder cannot answer now (still loading, unreachable, over its limit).

    ``after_s``: in how many seconds it is worth another try, where that is known.
    """

    def __init__(self, message: str, *, hint: str = "", after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.after_s = after_s


class Interrupted(Transient):
    """The process is being stopped: what was claimed is handed back."""


class Terminal(HeadwaterError):
    """Trying again changes nothing until a person or a new revision does."""


class DocumentUnreadable(Terminal):
    """The source refuses to hand out this document."""


class DocumentUnparsable(Terminal):
    """The bytes were read, but the parser could not make blocks of them."""


class LedgerRejected(Terminal):
    """The ledger's database refuses what is to be written, for what it is."""


class IndexRejected(Terminal):
    """The index refuses chunks for what they are. ``chunk_ids`` names them."""

    def __init__(self, message: str, *, chunk_ids: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.chunk_ids = chunk_ids


class IndexRefused(HeadwaterError):
    """The index refused chunks while it took others, and does not say whether it will again."""

    def __init__(self, message: str, *, chunk_ids: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.chunk_ids = chunk_ids


class EmbedderRejected(Terminal):
    """The embedder refuses texts for what they are, or answers with something that is no vector."""


class Superseded(HeadwaterError):
    """A newer claim holds the document; this attempt writes and deletes nothing more."""


class DocumentGone(HeadwaterError):
    """Nothing lives at the URI any more. A worker never retires: the source's listing judges."""


class NotIndexable(HeadwaterError):
    """The document is there and is not text. ``message`` is the reason shown to users."""


class Scanned(NotIndexable):
    """Its pages, or some of them, are pictures of text."""


class Refusal(enum.StrEnum):
    """Why what was handed over is not taken."""

    SOURCE = "source"  # it takes no documents
    UNKNOWN = "unknown"  # it was never there
    KEY = "key"  # no document may be called so
    SIZE = "size"
    CONDITION = "condition"  # it is not what was expected


class PushRefused(HeadwaterError):
    """What was handed over cannot be taken, for what it is. Nothing was changed."""

    def __init__(
        self,
        refusal: Refusal,
        message: str,
        *,
        hint: str = "",
        source: str | None = None,
        uri: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, source=source, uri=uri)
        self.refusal = refusal


class BadQuery(HeadwaterError):
    """The question cannot be asked like this. ``field`` is the part of the request to change."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Misconfigured(HeadwaterError):
    """What was asked for cannot be started as it stands. Nothing was changed."""


class WrongSettings(Misconfigured):
    """Every fault of the settings, reported together."""


class ModelMissing(Misconfigured):
    """The embedding model is in none of the places where it may be."""


class ModelNotServed(Misconfigured):
    """The runtime cannot compute what the model's folder asks for. ``reason`` is that, for people."""

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class WrongEdition(Misconfigured):
    """The index was made with another embedding model."""


class DataCorrupt(Misconfigured):
    """The data file is damaged, or is not one of ours."""


class DataNewer(Misconfigured):
    """The data folder was made by a newer version of the program."""


class AlreadyRunning(Misconfigured):
    """Another daemon has this data folder."""
