"""The words for how exactly a model is computed, and what each must reach.

What may be set is a class: all of ``float`` may share an index, ``int8`` needs its own.
"""

from __future__ import annotations

from typing import Literal

PrecisionClass = Literal["float", "int8"]
Precision = Literal["bf16", "float32", "int8"]

# The least cosine to a plain float32 forward pass that any text of the trial may have.
LEAST_COSINE: dict[Precision, float] = {"bf16": 0.9999, "float32": 0.99999, "int8": 0.99}
