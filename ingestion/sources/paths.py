"""Names of files as URIs, reversibly: any byte string the file system allows, and back.

A URI is the path below the root with '/' between its parts, as text. Bytes that are no UTF-8 are shown
as %XX, and a '%' that happens to be followed by two hex digits as %25, so that every URI means one path
while ``100%.md`` stays as it is.
"""

from __future__ import annotations

import os
import re

_ESCAPE = re.compile("%([0-9A-Fa-f]{2})")
_ESCAPE_BYTES = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNDECODED = re.compile("[\udc80-\udcff]")  # what surrogateescape makes of a byte that is no UTF-8


def uri_of(relative: str | bytes) -> str:
    """The URI of a path below the root ('/'-separated; a str as the os module gives it)."""
    if isinstance(relative, str):
        if relative.isascii() and "%" not in relative:
            return relative
        relative = os.fsencode(relative)
    text = relative.decode("utf-8", "surrogateescape")
    text = _ESCAPE.sub(r"%25\1", text)
    return _UNDECODED.sub(lambda byte: f"%{ord(byte[0]) - 0xDC00:02X}", text)


def path_of(uri: str) -> str:
    """The path below the root, as the os module wants it. Raises ValueError where no path can be meant.

    Only the one URI that ``uri_of`` gives a path is accepted: two names of one document would be two
    documents. Absolute paths, empty parts, '.' and '..' are refused.
    """
    if uri.isascii() and "%" not in uri:
        path = uri
    else:
        raw = _ESCAPE_BYTES.sub(lambda escape: bytes([int(escape[1], 16)]), uri.encode("utf-8"))
        path = os.fsdecode(raw)
        if uri_of(path) != uri:
            raise ValueError("not the name of any file: its escapes are not as this program writes them")
    if "\0" in path or not all(part not in ("", ".", "..") for part in path.split("/")):
        raise ValueError("not a path below the folder")
    return path
