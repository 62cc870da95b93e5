"""What a check of ``headwater doctor`` found."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Verdict(enum.StrEnum):
    OK = "ok"
    NOTE = "note"  # worth knowing; nothing is broken
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """``about`` what was looked at, ``what`` is so, and ``remedy``: what to do, if anything."""

    verdict: Verdict
    about: str
    what: str
    remedy: str = ""


def ok(about: str, what: str) -> Finding:
    return Finding(Verdict.OK, about, what)


def note(about: str, what: str, remedy: str = "") -> Finding:
    return Finding(Verdict.NOTE, about, what, remedy)


def wrong(about: str, what: str, remedy: str) -> Finding:
    return Finding(Verdict.WRONG, about, what, remedy)
