"""Bytes to text: a byte order mark, then UTF-8, then what the document declares, then a detector.

Decides whether a document is text at all, quickly and first. Never guesses silently at content that is
not text: that is NotIndexable, with a reason that says what it is.
"""

from __future__ import annotations

import codecs
import re

from ingestion.errors import NotIndexable

_MAGIC = (
    (0, b"PK\x05\x06", "an empty zip archive"),
    (0, b"{\\rtf", "an RTF document"),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GIF87a", "a GIF image"),
    (0, b"GIF89a", "a GIF image"),
    (0, b"II*\x00", "a TIFF image"),
    (0, b"MM\x00*", "a TIFF image"),
    (8, b"WEBP", "a WebP image"),
    (8, b"WAVE", "a WAV recording"),
    (4, b"ftyp", "an MP4 or HEIF file"),
    (0, b"ID3", "an MP3 recording"),
    (0, b"OggS", "an Ogg recording"),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska video"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ\x00", "an xz archive"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-zip archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (0, b"\x7fELF", "an executable"),
    (0, b"\xca\xfe\xba\xbe", "compiled code"),
    (0, b"\xcf\xfa\xed\xfe", "an executable"),
    (0, b"\x00asm", "compiled code"),
    (0, b"SQLite format 3\x00", "an SQLite database"),
    (0, b"wOFF", "a font"),
    (0, b"wOF2", "a font"),
)
_MARKS = (
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE_BYTES = 32_768
_TO_JAPANESE = re.compile(rb"\x1b\$[@B]")  # RFC 1468
_CONTROLS = bytes(code for code in range(32) if code not in b"\t\n\v\f\r\b\x1b") + b"\x7f"
_MAX_CONTROL_SHARE = 0.05
_DECLARED = re.compile(rb"(?:charset|encoding)\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{2,40})", re.IGNORECASE)
_DECLARABLE = re.compile(r"iso8859|iso2022|cp\d|koi8|mac-|shift_jis|euc_|gb|big5|johab|tis-|hz$")


def decode(body: bytes, declared: str | None = None) -> tuple[str, str]:
    """The text of a document and the name of its encoding. NULs become U+FFFD; a mark is left out.

    ``declared`` is what the document or its source says of itself; it is asked only where there is
    no mark and the bytes are not UTF-8, because declarations are wrong more often than both. Raises
    NotIndexable for what is not text.
    """
    for mark, encoding in _MARKS:
        if body.startswith(mark):
            text = body[len(mark) :].decode(encoding, errors="replace")
            return text.replace("\0", "\ufffd"), encoding
    _refuse_formats(body)
    if (wide := _wide_without_mark(body)) is not None:
        return body.decode(wide, errors="replace").replace("\0", "\ufffd"), wide
    _refuse_binary(body)
    if (shifting := _shifting(body, declared)) is not None:
        return body.decode(shifting, errors="replace").replace("\0", "\ufffd"), shifting
    try:
        return body.decode(), "utf-8"
    except UnicodeDecodeError as error:
        return _decode_foreign(body, error.start, declared)


def declared_charset(head: bytes) -> str | None:
    """The charset named in the first bytes of a marked-up document or in a media type."""
    found = _DECLARED.search(head)
    return found[1].decode("ascii") if found else None


def _refuse_formats(body: bytes) -> None:
    for offset, magic, name in _MAGIC:
        if body.startswith(magic, offset):
            raise NotIndexable(f"binary: {name}")


def _wide_without_mark(body: bytes) -> str | None:
    """UTF-16 that lacks its mark, as some programs of Windows write it: of mostly Latin letters, whose
    other byte is NUL, and without a control character, which numbers of two bytes would soon give."""
    sample = body[:_SAMPLE_BYTES]
    for encoding, high in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[0::2])):
        nuls = high.count(0)
        if len(body) % 2 or 2 * nuls <= len(high) or sample.count(0) != nuls:
            continue
        text = sample.decode(encoding, errors="replace")
        if not any(ord(letter) < 32 and letter not in "\t\n\f\r" for letter in text):
            return encoding
    return None


def _shifting(body: bytes, declared: str | None) -> str | None:
    """An encoding in seven bits, in which everything would pass for UTF-8: declared, or by its own marks."""
    named = _usable(declared) or ""
    if named.startswith(("iso2022", "hz")) and (b"\x1b" in body or b"~{" in body):
        return named
    return "iso2022_jp" if _TO_JAPANESE.search(body) else None


def _refuse_binary(body: bytes) -> None:
    if b"\0" in body:
        raise NotIndexable("binary: contains NUL bytes")
    sample = body[:_SAMPLE_BYTES]
    controls = len(sample) - len(sample.translate(None, _CONTROLS))
    if controls > _MAX_CONTROL_SHARE * len(sample):
        raise NotIndexable("binary: too many control characters for a text")


def _decode_foreign(body: bytes, bad_at: int, declared: str | None) -> tuple[str, str]:
    if _is_damaged_utf8(body, bad_at):
        return body.decode(errors="replace"), "utf-8"
    encoding = _usable(declared) or _detect(body, bad_at)
    return body.decode(encoding, errors="replace").replace("\0", "\ufffd"), encoding


def _is_damaged_utf8(body: bytes, bad_at: int) -> bool:
    """A few bad bytes among many good sequences: a truncated or patched file, not another encoding."""
    text = body.decode(errors="replace")
    bad = text.count("\ufffd")
    foreign = len(text) - len(text.encode("ascii", errors="ignore"))
    return foreign - bad >= 4 * bad or (bad == 1 and bad_at >= len(body) - 3 and foreign > 1)


def _usable(declared: str | None) -> str | None:
    """The codec for a declared name, if it is one of the plain text encodings.

    Others are refused: some of Python's codecs are no character sets, and some take quadratic time.
    """
    if declared is None:
        return None
    try:
        name = codecs.lookup(declared).name
    except (LookupError, ValueError):
        return None
    if name == "iso8859-1":
        return "cp1252"  # what the web means by it (WHATWG Encoding Standard)
    return name if _DECLARABLE.match(name) else None


def _detect(body: bytes, bad_at: int) -> str:
    """The detector's best guess, from a sample around the first byte that is not UTF-8.

    A short text in Western European letters makes equally good sense in many code pages, and the
    detector then answers with the first by name: among equals, the one in widest use is taken.
    """
    from charset_normalizer import from_bytes  # 30 ms to import, and most documents are UTF-8

    start = max(0, bad_at - _SAMPLE_BYTES // 4)
    guesses = from_bytes(body[start : start + _SAMPLE_BYTES])
    best = guesses.best()
    if best is None:
        raise NotIndexable("not text in any encoding that could be recognised")
    for guess in guesses:
        if guess.encoding == "cp1252" and (guess.chaos, guess.coherence) == (best.chaos, best.coherence):
            return guess.encoding
    return best.encoding
