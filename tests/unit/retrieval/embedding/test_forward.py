"""The parts of the plain forward pass that have a definition to be compared with."""

from __future__ import annotations

import math

import numpy as np

from retrieval.embedding.erf import erf


def test_the_error_function_is_exact_to_float32() -> None:
    values = np.concatenate([np.linspace(-6, 6, 200_001), np.logspace(-30, 0, 2_000)]).astype(np.float32)
    wanted = np.array([math.erf(value) for value in values.tolist()])
    assert np.abs(erf(values) - wanted).max() < 5e-7
    assert erf(np.array([np.inf, -np.inf], dtype=np.float32)).tolist() == [1.0, -1.0]
