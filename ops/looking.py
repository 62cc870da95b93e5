"""Keeps the editions of a process that only searches in line with the ledger.

So that the model of an edition that is being built is there before the switch.
"""

from __future__ import annotations

from ops.periodic import Periodic
from workers.equipment import Equipment

LOOK_EVERY_S = 2.0


def looking(equipment: Equipment) -> Periodic:
    """While the ledger is away it stays as it is; searches say so."""
    return Periodic(equipment.look, LOOK_EVERY_S, name="editions")
