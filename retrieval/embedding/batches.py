"""Which texts go through a model together. Pure.

A model pads the texts of a batch to the longest, so its time goes with texts times longest text; each
call costs something besides. Sorting by length and cutting where those two costs together are least
keeps most of the speed of one large sorted batch, in batches small enough to wait for.
"""

from __future__ import annotations

from collections.abc import Sequence

MAX_BATCH_TEXTS = 64


def length_sorted_batches(
    lengths: Sequence[int], *, max_tokens: float, call_tokens: float
) -> list[list[int]]:
    """Cut texts of these lengths (tokens) into batches; returns positions, longest texts first.

    A batch holds at most ``max_tokens`` with its padding (one text may exceed it alone) and 64 texts.
    ``call_tokens`` is what a call costs besides, in tokens. Among all cuts of the sorted texts, the one
    with the least padded tokens plus calls.
    """
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    cheapest = [0.0] * (len(order) + 1)  # cheapest[n]: cost of the first n texts in order
    cut_before = [0] * (len(order) + 1)
    for end in range(1, len(order) + 1):
        best, best_start = float("inf"), end - 1
        for start in range(end - 1, max(-1, end - 1 - MAX_BATCH_TEXTS), -1):
            padded = lengths[order[start]] * (end - start)
            if padded > max_tokens and end - start > 1:
                break  # earlier starts are longer texts, and more of them
            cost = cheapest[start] + padded + call_tokens
            if cost < best:
                best, best_start = cost, start
        cheapest[end], cut_before[end] = best, best_start
    batches = []
    end = len(order)
    while end:
        batches.append(order[cut_before[end] : end])
        end = cut_before[end]
    return batches[::-1]
