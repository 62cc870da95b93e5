"""Where a sequence of units is cut: the edit-local rule itself, on weights and keys alone.

Every boundary between two units has a key: how strong the boundary is, then the digests of the four
units behind it. A boundary is cut iff the run between the nearest boundaries with smaller keys on both
sides exceeds the limit: what splitting at the smallest key, repeated until everything fits, would cut.
As a stretch longer than the limit on one side suffices, a decision looks no further than the limit to
either side. That leaves runs half full on average, so two rounds of joining follow: two neighbours that
fit together are joined where no overlapping pair would make a longer run.

Hence the window: an edit moves no cut further from it than seven limits (one for the cuts, two for each
round of joining, and two for runs at its edge) and the four units of a key, however long the sequence.
Measured, it changes one run or two (``tests/bench/chunking.py``). A sequence that repeats exactly for
more than four units is cut at every repetition, because nothing nearby tells its boundaries apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

Key = tuple[int | bytes, ...]

KEY_UNITS = 4
WINDOW_LIMITS = 7
_JOINING_ROUNDS = 2


def boundary_keys(strengths: Sequence[int], digests: Sequence[bytes]) -> list[Key]:
    """A key for the boundary before each unit. The smaller a strength, the sooner it is cut."""
    return [
        (strength, *digests[position : position + KEY_UNITS]) for position, strength in enumerate(strengths)
    ]


def cut(weights: Sequence[int], keys: Sequence[Key], limit: int) -> list[int]:
    """Positions where runs begin, with 0 first and the number of units last. Linear time.

    No run weighs more than ``limit``, except for a single unit that does so by itself.
    """
    reach = [0, *accumulate(weights)]
    cuts = _cuts_at_local_minima(reach, keys, limit)
    for _ in range(_JOINING_ROUNDS):
        cuts = _joined(cuts, reach, keys, limit)
    return cuts


def _cuts_at_local_minima(reach: Sequence[int], keys: Sequence[Key], limit: int) -> list[int]:
    units = len(keys)
    begins = _nearest_smaller(keys, range(1, units), edge=0)
    ends = _nearest_smaller(keys, range(units - 1, 0, -1), edge=units)
    inner = (at for at in range(1, units) if reach[ends[at]] - reach[begins[at]] > limit)
    return [0, *inner, units]


def _nearest_smaller(keys: Sequence[Key], order: range, edge: int) -> list[int]:
    """For each boundary the last one before it, in this order, whose key is strictly smaller."""
    nearest = [edge] * len(keys)
    candidates: list[int] = []
    for at in order:
        while candidates and keys[candidates[-1]] >= keys[at]:
            candidates.pop()
        if candidates:
            nearest[at] = candidates[-1]
        candidates.append(at)
    return nearest


def _joined(cuts: list[int], reach: Sequence[int], keys: Sequence[Key], limit: int) -> list[int]:
    """Without those cuts whose joined run fits and is the longest of the pairs that overlap it.

    A tie in length is decided by the keys; a tie in both joins neither, as order must not matter.
    """
    ranks: list[tuple[int, Key] | None] = [None]
    for before, at, after in zip(cuts, cuts[1:], cuts[2:], strict=False):
        weight = reach[after] - reach[before]
        ranks.append((-weight, keys[at]) if weight <= limit else None)
    ranks.append(None)
    return [at for position, at in enumerate(cuts) if not _is_best(ranks, position)]


def _is_best(ranks: Sequence[tuple[int, Key] | None], position: int) -> bool:
    rank = ranks[position]
    if rank is None:
        return False
    before, after = ranks[position - 1], ranks[position + 1]
    return (before is None or rank < before) and (after is None or rank < after)
