"""Where a sequence of units is cut: the edit-local rule itself, on weights and keys alone.

Every boundary between two units has a key: how strong the boundary is, then the digests of the four
units behind it. Three steps, each of which looks no further than its neighbourhood:

1. A boundary is cut iff the run between the nearest boundaries with smaller keys on both sides exceeds
   the limit: what splitting at the smallest key, repeated until everything fits, would cut. A stretch
   longer than the limit on one side suffices to decide.
2. That leaves runs half full on average, so twice, two neighbours that fit together are joined where no
   overlapping pair would make a longer run.
3. Content that repeats exactly gives equal keys, which the first two steps can only all cut and never
   join. Cuts between runs that come again nearby are left out as far as the limit allows, and what this
   leaves over is joined once more.

Hence the window: an edit moves no cut further from it than nine limits (one for the first step, two for
each of the three rounds of joining, and two for the runs at its edge) and the four units of a key,
however long the sequence. Only inside an exact repetition may it reach further, because there nothing
nearby tells one boundary from another. Measured, an edit changes one run or two, and none further away
than two limits (``tests/bench/chunking.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

Key = tuple[int | bytes, ...]

KEY_UNITS = 4
"""More would tell more repetitions apart, and let an edit reach further before it."""

WINDOW_LIMITS = 9
"""How far an edit may move a cut, in limits, beyond the units of a key."""

_JOINING_ROUNDS = 2
_NEIGHBOURS = 8


def boundary_keys(strengths: Sequence[int], digests: Sequence[bytes]) -> list[Key]:
    """A key for the boundary before each unit. The smaller a strength, the sooner it is cut.

    Behind the last unit, it counts as repeated: a repetition that ends the sequence looks uniform.
    """
    padded = [*digests, *[digests[-1]] * (KEY_UNITS - 1)]
    return [(strength, *padded[at : at + KEY_UNITS]) for at, strength in enumerate(strengths)]


def cut(weights: Sequence[int], keys: Sequence[Key], limit: int) -> list[int]:
    """Positions where runs begin, with 0 first and the number of units last. Linear time.

    No run weighs more than ``limit``, except for a single unit that does so by itself.
    """
    reach = [0, *accumulate(weights)]
    cuts = _cuts_at_local_minima(reach, keys, limit)
    for _ in range(_JOINING_ROUNDS):
        cuts = _joined(cuts, reach, keys, limit)
    cuts = _filled_up(cuts, reach, keys, limit)
    return _joined(cuts, reach, keys, limit)


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


def _filled_up(cuts: list[int], reach: Sequence[int], keys: Sequence[Key], limit: int) -> list[int]:
    """The cuts, without those inside repetitions that are not needed.

    A repetition is filled from its beginning, but from its end if only that is an edge of the sequence:
    so an edit that parts one leaves what does not fill a run beside itself.
    """
    repeated = _repeated_nearby(cuts, reach, keys)
    filled: list[int] = []
    stretch = [cuts[0]]
    for position in range(1, len(cuts)):
        at = cuts[position]
        stretch.append(at)
        if not (repeated[position - 1] and repeated[position]):
            from_end = at == cuts[-1] and stretch[0] != cuts[0]
            filled += (_packed_from_end if from_end else _packed)(stretch, reach, limit)[:-1]
            stretch = [at]
    return [*filled, cuts[-1]]


def _repeated_nearby(cuts: Sequence[int], reach: Sequence[int], keys: Sequence[Key]) -> list[bool]:
    """For each run, and for the end, whether one of the same key and weight is among its neighbours."""
    repeated = [False] * len(cuts)
    last: dict[tuple[Key, int], int] = {}
    for position, (begin, end) in enumerate(pairwise(cuts)):
        run = (keys[begin], reach[end] - reach[begin])
        earlier = last.get(run)
        if earlier is not None and position - earlier <= _NEIGHBOURS:
            repeated[earlier] = repeated[position] = True
        last[run] = position
    return repeated


def _packed(cuts: Sequence[int], reach: Sequence[int], limit: int) -> list[int]:
    packed = [cuts[0]]
    for at, following in pairwise(cuts[1:]):
        if reach[following] - reach[packed[-1]] > limit:
            packed.append(at)
    return [*packed, cuts[-1]]


def _packed_from_end(cuts: Sequence[int], reach: Sequence[int], limit: int) -> list[int]:
    packed = [cuts[-1]]
    for at, preceding in pairwise(cuts[-2::-1]):
        if reach[packed[-1]] - reach[preceding] > limit:
            packed.append(at)
    return [cuts[0], *reversed(packed)]
