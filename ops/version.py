"""The version of the installed program."""

from __future__ import annotations


def version() -> str:
    from importlib import metadata  # 0.05 s, and few commands need it

    return metadata.version("headwater")
