"""How many tokens an embedder gets through in the time that others may have to wait.

Measured while it works, because it depends on the machine, the runtime and what else is running; never
part of a fingerprint.
"""

from __future__ import annotations

_CALL_S = 0.003  # what a call costs besides its tokens, measured with sentence-transformers
_FIRST_GUESS_TOKENS_PER_S = 10_000.0  # all-MiniLM-L6-v2 in bf16 on 2 cores
# Two to three passages. Smaller batches would be waited for less, but cost an eighth more of the processor,
# just when it is busy; a processor without bf16 takes 0.13 s for this many.
_LEAST_TOKENS = 512.0
_MOST_TOKENS = 65_536  # bounds the memory of a batch, however fast the embedder is
_WEIGHT = 0.3  # of the newest batch: a few batches adapt, one that was held up does not matter much


class Pace:
    """The size of a batch that takes about ``batch_s`` seconds. Used by one thread."""

    def __init__(self, batch_s: float) -> None:
        self._batch_s = batch_s
        self._tokens_per_s = _FIRST_GUESS_TOKENS_PER_S

    @property
    def batch_tokens(self) -> float:
        """Padded tokens that fit into the time, within bounds."""
        return max(_LEAST_TOKENS, min(self._tokens_per_s * (self._batch_s - _CALL_S), _MOST_TOKENS))

    @property
    def call_tokens(self) -> float:
        """What a call costs besides, in tokens."""
        return self._tokens_per_s * _CALL_S

    def observe(self, padded_tokens: int, seconds: float) -> None:
        """A batch took so long."""
        # Of an embedder without a model a whole call may take less than the constant.
        computing_s = max(seconds - _CALL_S, seconds / 10, 1e-6)
        self._tokens_per_s += _WEIGHT * (padded_tokens / computing_s - self._tokens_per_s)
