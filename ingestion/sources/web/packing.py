"""gzip, unpacked piece by piece to no more than may be. Pure."""

from __future__ import annotations

import zlib

_GZIP = 31  # zlib's word for gzip with its header
_MAX_MEMBERS = 1000


class Unpacking:
    """One packed text. It may be several members one after the other (RFC 1952): the whole is all of them."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)
        self._members = 1

    @property
    def ended(self) -> bool:
        """Whether what was given so far is whole."""
        return self._member.eof

    def add(self, piece: bytes, at_most: int) -> bytes:
        """What this piece holds, or the first so many bytes of it; then nothing more may be added. Raises
        zlib.error."""
        found = bytearray()
        while piece:
            if self._member.eof:
                self._begin()
            found += self._member.decompress(piece, at_most - len(found))
            if len(found) >= at_most:
                break
            piece = self._member.unused_data
        return bytes(found)

    def _begin(self) -> None:
        self._members += 1
        if self._members > _MAX_MEMBERS:
            raise zlib.error(f"more than {_MAX_MEMBERS} members")
        self._member = zlib.decompressobj(_GZIP)
