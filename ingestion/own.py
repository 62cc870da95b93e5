"""Sources of Headwater's own, which ordinary searches, counts and lags leave out.

They go the way of any other, from the watcher to the fence. Their names begin as no name in the settings may.
"""

from __future__ import annotations

MARK = "_"


def is_own(source: str) -> bool:
    """Whether a source is no user's."""
    return source.startswith(MARK)


def canary_of(kind: str) -> str:
    """The source of the canary of a kind of sources."""
    return f"{MARK}canary-{kind}"
