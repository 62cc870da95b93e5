"""What becomes of pages that have moved for good: decided once everything was looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

from ingestion.clock import Clock
from ingestion.ledger.kept import LEFT, Kept
from ingestion.records import Gone, Seen, Skipped
from ingestion.sources.web.looks import Look, Moved, Unseen
from ingestion.sources.web.pages import Known, Pages, came_from, there

Settled = Seen | Skipped | Gone | Unseen


class Moves:
    """Of one source. A page at its new place is another document, which the survey knows again by its
    content; where the new place is a document's already, or that of several, the page is as good as
    missing."""

    def __init__(self, source: str, kept: Kept, pages: Pages, clock: Clock) -> None:
        self._source = source
        self._kept = kept
        self._pages = pages
        self._clock = clock

    def settle(self, looks: Sequence[Look], wanted: Collection[str], known: Known) -> list[Settled]:
        """``known``: what is kept of the pages, and of where they moved."""
        targets = Counter(look.to for look in looks if isinstance(look, Moved))
        settled: list[Settled] = []
        for look in looks:
            if not isinstance(look, Moved):
                settled.append(look)
            elif targets[look.to] == 1 and look.to not in wanted:
                settled += self._alone(look, known)
            else:
                settled.append(self._pages.missing(look.uri, _evidence(look), there(known, look.uri)))
        return settled

    def _alone(self, look: Moved, known: Known) -> Iterator[Settled]:
        taken: Seen | Unseen = Unseen(look.uri, _evidence(look))
        target = there(known, look.to)
        if look.page is not None:
            taken = self._pages.taken(look.to, look.page, look.uri)
        elif target is not None:
            taken = self._pages.seen(target)
        if isinstance(taken, Unseen):
            yield Unseen(look.uri, taken.reason)
            return
        if (before := there(known, look.uri)) is not None:
            notes = {**before.notes, LEFT: look.to}
            self._kept.note(self._source, look.uri, notes, of=before.digest)
        yield taken
        yield Gone(look.uri, _evidence(look), self._clock.now())


def followed(known: Known, wanted: Collection[str]) -> dict[str, str]:
    """Pages that are looked at because a wanted one has moved to them, and is no page itself: each with that
    one."""
    return {
        uri: origin
        for uri, look in known.items()
        if (origin := came_from(look)) in wanted
        and origin is not None
        and uri not in wanted
        and look.is_there
        and there(known, origin) is None
    }


def hidden(unseen: Iterable[Unseen], followed: dict[str, str]) -> Iterator[str]:
    """Where those have moved to that cannot be seen: that cannot be seen either."""
    names = {look.uri for look in unseen}
    return (uri for uri, origin in followed.items() if origin in names)


def _evidence(look: Moved) -> str:
    return f"it moved for good to {look.to}"
