"""OpenVINO, imported without its model converter.

The converter, which a plain ``import openvino`` brings along, reports each import to its maker's statistics
over the network, unasked, and leaves an identifier in the user's home. Nothing here needs it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_CONVERTER = "openvino.tools.ovc"


@contextmanager
def _without_converter() -> Iterator[None]:
    """Let its import fail, which openvino expects; whoever imports it afterwards gets it."""
    if _CONVERTER in sys.modules:
        yield
        return
    sys.modules[_CONVERTER] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_CONVERTER]


with _without_converter():
    import openvino as ov
    from openvino import opset13 as ops

__all__ = ["ops", "ov"]
