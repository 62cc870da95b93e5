"""How numbers, times and names are shown to people. Pure: the time arrives as an argument.

Names come from file systems and may hold anything; nothing that could move a cursor, change a colour
or hide the direction of a text reaches a terminal.
"""

from __future__ import annotations

import datetime
import textwrap
import unicodedata

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNSAFE = frozenset({"Cc", "Cs", "Zl", "Zp"})
_PROSE = frozenset("\"'(“‘«")
WRAPPED_BY_HAND = 50  # a line of prose this long may have been broken for its length
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

_AGES = (
    (365 * 86400.0, "year"),
    (30 * 86400.0, "month"),
    (7 * 86400.0, "week"),
    (86400.0, "day"),
    (3600.0, "hour"),
    (60.0, "minute"),
    (1.0, "second"),
)


def plain(text: str) -> str:
    """One line that is safe to print: control characters, lone surrogates and marks that turn the
    direction of writing become escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(letter) for letter in text)


def plain_lines(text: str) -> list[str]:
    """Lines of a longer text, each safe to print; tabs are spaces."""
    return [plain(line) for line in text.expandtabs(4).splitlines()]


def _escaped(letter: str) -> str:
    if letter in _SHORT:
        return _SHORT[letter]
    if unicodedata.category(letter) not in _UNSAFE and letter not in _BIDI:
        return letter
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def reason_for(name: str, message: str | None) -> str:
    """An error message as one line, safe to print, beside the document's name: without that name again."""
    return plain((message or "no reason was noted").removeprefix(f"{name} "))


def counted(number: int, noun: str) -> str:
    """``1 document``, ``1,234 documents``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def held_are_served(lost: int) -> str:
    """What searches find of documents that are held, the index having lost so many of them."""
    if not lost:
        return "They stay searchable."
    return (
        f"They stay searchable, but for what the index has lost of {counted(lost, 'document')}: only their "
        "files can bring that back."
    )


def ago(seconds: float) -> str:
    """An age in its largest unit: ``3 minutes ago``."""
    for length, noun in _AGES:
        if seconds >= length:
            return f"{counted(int(seconds // length), noun)} ago"
    return "just now"


def duration(seconds: float) -> str:
    """A measured time: ``0.18 s``, ``12.3 s``, ``4 min 12 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds < 10:
        return f"{max(seconds, 0.0):.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def milliseconds(seconds: float) -> str:
    """A stage: ``0.4 ms``, ``180 ms``; from ten seconds on as ``duration``."""
    if seconds >= 10:
        return duration(seconds)
    return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds * 1000:,.0f} ms"


def size(size_bytes: int) -> str:
    """``512 bytes``, ``1.4 MiB``."""
    if size_bytes < 1024:
        return counted(size_bytes, "byte")
    amount = float(size_bytes)
    for unit in ("KiB", "MiB", "GiB"):
        amount /= 1024
        if amount < 1024:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1024:.1f} TiB"


def moment(at: float) -> str:
    """A time on this machine's own clock and zone: ``2026-11-20 14:03:11 +01:00``."""
    try:
        local = datetime.datetime.fromtimestamp(at, datetime.UTC).astimezone()
    except (OverflowError, ValueError, OSError):  # a file may carry any time at all
        return f"{at:.0f} seconds after 1970"
    return local.isoformat(sep=" ", timespec="seconds").replace("+", " +")


def seconds_of(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time with any offset. Raises ValueError."""
    return datetime.datetime.fromisoformat(text).timestamp()


def wrapped(text: str, *, width: int, lines: int, indent: str) -> list[str]:
    """A passage, wrapped to ``width`` and cut after ``lines`` lines with an ellipsis; empty lines go.

    Lines that an author wrapped are joined before they are wrapped anew.
    """
    shown: list[str] = []
    for line in _joined(plain_lines(text)):
        shown += textwrap.wrap(
            line, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
        )
        if len(shown) > lines:
            return [*shown[: lines - 1], _cut(shown[lines - 1], width)]
    return shown


def _joined(lines: list[str]) -> list[str]:
    """A line goes on in the next one where it is long, and the next one is plain prose."""
    joined: list[str] = []
    last = 0
    for line in lines:
        prose = line[:1].isalnum() or line[:1] in _PROSE
        if prose and last >= WRAPPED_BY_HAND:
            joined[-1] = f"{joined[-1]} {line}"
        else:
            joined.append(line)
        last = len(line)
    return joined


def _cut(line: str, width: int) -> str:
    return line[: width - 2].rstrip() + " …"
