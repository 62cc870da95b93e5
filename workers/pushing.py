"""Takes what others hand over: keeps it, then has the ledger want it.

In this order: a process that dies in between has answered nobody, and whoever sends it again, or the next
listing of the source, finds what was kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ingestion.clock import Clock
from ingestion.errors import PushRefused, Refusal
from ingestion.ledger.kept import Keep, KeptLook
from ingestion.ledger.ledger import Ledger
from ingestion.ledger.names import MAX_URI_BYTES
from ingestion.sources.port import SourcePort
from ingestion.sources.push import PushSource
from ingestion.sources.settling import Batch
from retrieval.pushes import Condition, Pushed, Receipt
from workers.reconcile import Reconciler


class PushDesk:
    """Implements ``retrieval.pushes.Pushing`` for the push sources among these. Safe to call from any thread,
    in any number of processes."""

    def __init__(
        self, ledger: Ledger, reconciler: Reconciler, sources: Mapping[str, SourcePort], clock: Clock
    ) -> None:
        self._ledger = ledger
        self._reconciler = reconciler
        self._sources = sources
        self._clock = clock

    def push(self, source: str, given: Sequence[Keep], condition: Condition | None = None) -> Receipt:
        place = self._place(source)
        for one in given:
            _check(place, one)
        noticed_at = self._clock.now()

        def check(known: Mapping[str, KeptLook]) -> None:
            for one in given:
                if condition is not None:
                    condition.check(known, one.uri, source)

        looks, changed = self._ledger.kept.keep(source, given, check)
        uris = [look.uri for look in looks]
        self._reconciler.look(place, Batch(tuple(uris), (), {}), noticed_at)
        return Receipt(
            self._generation(source, uris), [Pushed(one.uri, one.digest, one.uri in changed) for one in looks]
        )

    def kept(self, source: str, uri: str) -> KeptLook:
        look = self._ledger.kept.find(self._place(source).name, [uri]).get(uri)
        if look is None or look.digest is None:
            was = "was never handed over" if look is None else "is deleted"
            raise PushRefused(Refusal.UNKNOWN, f"{source}/{uri} {was}.", source=source, uri=uri)
        return look

    def _place(self, name: str) -> PushSource:
        place = self._sources.get(name)
        if isinstance(place, PushSource):
            return place
        takers = [one.name for one in self._sources.values() if isinstance(one, PushSource)]
        there_are = f"Sources that do: {', '.join(takers)}." if takers else "None of the settings does."
        what = "is none of the sources" if place is None else f"is of the kind {place.kind}"
        raise PushRefused(
            Refusal.SOURCE,
            f"{name!r} {what}, and takes no documents. {there_are}",
            hint='Add one to the settings of every role: [[sources]] with kind = "push" and a name.',
            source=name,
        )

    def _generation(self, source: str, uris: Sequence[str]) -> int:
        """Also of what was the same: an earlier hand-over of it may still wait to be published."""
        entries = self._ledger.documents.find(source, uris).values()
        return max((entry.wanted for entry in entries), default=self._ledger.fence.generation())


def _check(place: PushSource, given: Keep) -> None:
    if fault := _fault_of_key(given.uri):
        raise PushRefused(Refusal.KEY, f"The key {given.uri[:80]!r} {fault}.", source=place.name)
    size, limit = len(given.body or b""), place.max_document_bytes
    if size > limit:
        raise PushRefused(
            Refusal.SIZE,
            f"{place.name}/{given.uri} has {size:,} bytes, and the source takes {limit:,} at most; "
            "nothing was changed.",
            hint="Split the document, or raise max_document_bytes of the source.",
            source=place.name,
            uri=given.uri,
        )


def _fault_of_key(key: str) -> str | None:
    if not key:
        return "is empty"
    if key.startswith("/") or key.endswith("/"):
        return "begins or ends with '/', as no name of a document may"
    if any(ord(letter) < 32 or "\ud800" <= letter <= "\udfff" for letter in key):
        return "holds a control character, or half of a surrogate pair"
    if len(key.encode()) > MAX_URI_BYTES:
        return f"is longer than {MAX_URI_BYTES:,} bytes"
    return None
