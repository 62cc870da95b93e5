"""Whether a process that does not watch sees what its sources hold.

Where a share is not mounted there is no folder, or an empty one that somebody made in its place: nothing that
is missing there is gone. Such a process judges nothing and leaves it to whoever watches.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from ingestion.errors import FolderUnseen
from ingestion.ledger.ledger import Ledger
from ingestion.records import Root
from ingestion.sources.port import SourcePort

log = logging.getLogger("headwater.sight")

Unseen = Callable[[SourcePort], FolderUnseen | None]


def seen(_source: SourcePort) -> FolderUnseen | None:
    """The sight of whoever watches: what it finds is what is there."""
    return None


class Strange:
    """The sources that only other processes have in their settings: each is told of once."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def tell(self, names: Iterable[str]) -> None:
        for name in sorted(set(names) - self._told):
            self._told.add(name)
            log.warning(
                "%s is not among the [[sources]] of this process: its documents are left to others. "
                "Start it again with the settings that those have.",
                name,
            )


class Sight:
    """Looks at the places themselves. Says once that one is not seen, and once that it is again; then a
    listing is asked for. Safe to call from several threads."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._turn = threading.Lock()
        self._unseen: dict[str, SourcePort] = {}

    def unseen(self, source: SourcePort) -> FolderUnseen | None:
        """Why an absence seen here is no evidence, or None. Raises LedgerUnavailable."""
        reason = self._reason(source.name, source.root())
        if reason is None:
            self._is_seen(source)
            return None
        fault = FolderUnseen(
            f"This process does not see the folder {source.location} of source {source.name}: {reason}.",
            hint="Mount the same share at the same place on each machine.",
            source=source.name,
        )
        with self._turn:
            begins = source.name not in self._unseen
            self._unseen[source.name] = source
        if begins:
            log.warning("%s Its documents are left to others. %s", fault.message, fault.hint)
            self._ledger.sources.ask_listing(source.name)
        return fault

    def look_again(self) -> None:
        """At what was not seen. Raises LedgerUnavailable."""
        for source in list(self._unseen.values()):
            self.unseen(source)

    def _reason(self, name: str, root: Root) -> str | None:
        if not root.present:
            return root.reason
        if root.empty:
            return "nothing is in it"
        state = self._ledger.sources.state(name)
        known = None if state is None else state.devices.get(root.machine)
        if known is not None and root.device != known:
            return "it lies on another device than before"
        return None

    def _is_seen(self, source: SourcePort) -> None:
        with self._turn:
            ends = self._unseen.pop(source.name, None) is not None
        if ends:
            log.info("%s: the folder %s is seen again", source.name, source.location)
