"""How much of everything one document may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """``documents``: after so many a child is replaced; ``idle_s``: after so long without one it ends."""

    wall_s: float = 30.0
    cpu_s: int = 20
    memory_bytes: int = 2**30  # of address space: an interpreter and its libraries take a quarter
    answer_bytes: int = 32 * 2**20
    documents: int = 500
    idle_s: float = 120.0
