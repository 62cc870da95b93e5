"""Zip archives and the XML in them, read within bounds.

An archive says how much it holds before anything of it is unpacked, and not more than it said is ever
read. XML is read without entities, document types or anything from outside.
"""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast
from urllib.parse import unquote

from lxml import etree

from ingestion.errors import DocumentUnparsable, NotIndexable

MAX_ENTRIES = 10_000
MAX_BYTES = 256 * 2**20  # unpacked, all together
MAX_RATIO = 200
RATIO_FROM_BYTES = 8 * 2**20  # what is smaller harms nobody, however well it was packed

_ENCRYPTED = 0x1
_LISTS = ("META-INF/manifest.xml", "META-INF/encryption.xml")  # of OpenDocument, of EPUB
_ENCRYPTED_DATA = ("{*}encryption-data", "{http://www.w3.org/2001/04/xmlenc#}EncryptedData")
_RELATIONS = "{http://schemas.openxmlformats.org/package/2006/relationships}Relationship"

_STRICT = re.compile(rb"(?<=[\"'])http://purl\.oclc\.org/ooxml/(\w+)/(\w+)")
"""Names that ISO 29500 gives to what other documents call by the first edition's."""

Element = Any  # lxml has no types


class Archive:
    """An archive that was found to be within the bounds. Raises DocumentUnparsable for one that is not."""

    def __init__(self, body: bytes) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(body))
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise DocumentUnparsable("it is a damaged archive") from error
        entries = self._zip.infolist()
        unpacked = sum(entry.file_size for entry in entries)
        if len(entries) > MAX_ENTRIES:
            raise DocumentUnparsable(f"it is an archive of more than {MAX_ENTRIES:,} entries")
        if unpacked > MAX_BYTES:
            raise DocumentUnparsable(f"it unpacks to more than {MAX_BYTES // 2**20} MiB")
        if unpacked > RATIO_FROM_BYTES and unpacked > MAX_RATIO * len(body):
            raise DocumentUnparsable(f"it unpacks to more than {MAX_RATIO} times its size")
        if any(entry.flag_bits & _ENCRYPTED for entry in entries):
            raise NotIndexable("encrypted: the archive asks for a password")
        self._entries = {entry.filename: entry for entry in entries}

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def read(self, name: str) -> bytes:
        """An entry's bytes. Raises DocumentUnparsable where there is none, or it is damaged."""
        try:
            return self._zip.read(self._entries[name])
        except KeyError as error:
            raise DocumentUnparsable(f"its part {posixpath.basename(name)[:80]} is missing") from error
        except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, ValueError) as error:
            raise DocumentUnparsable(f"its part {posixpath.basename(name)[:80]} is damaged") from error
        except Exception as error:
            if type(error).__name__ != "error":  # zlib's and lzma's are called so
                raise
            raise DocumentUnparsable(f"its part {posixpath.basename(name)[:80]} is damaged") from error

    def encrypted(self) -> frozenset[str]:
        """What its lists of encrypted parts name: the archive can be opened, and they make no sense."""
        found: set[str] = set()
        for name in _LISTS:
            if name in self:
                with suppress(
                    DocumentUnparsable
                ):  # nothing else is needed of it; old ones have document types
                    found.update(map(_named_in, self.xml(name).iter(*_ENCRYPTED_DATA)))
        return frozenset(found)

    def xml(self, name: str) -> Element:
        """The root element of an entry. Names of ISO 29500 are those of the first edition in it."""
        return read_xml(_STRICT.sub(rb"http://schemas.openxmlformats.org/\1/2006/\2", self.read(name)))

    def relations(self, name: str) -> Mapping[str, tuple[str, str]]:
        """What an entry of an Office document refers to in the archive: type and name, by id."""
        folder, base = posixpath.split(name)
        listed = f"{folder}/_rels/{base}.rels" if folder else f"_rels/{base}.rels"
        if listed not in self:
            return {}
        return {
            one.get("Id", ""): (
                posixpath.basename(one.get("Type", "")),
                _within(folder, one.get("Target", "")),
            )
            for one in self.xml(listed).iter(_RELATIONS)
            if one.get("TargetMode") != "External"
        }


def read_xml(body: bytes) -> Element:
    """Raises DocumentUnparsable for what is not well-formed, declares entities, or nests without end."""
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError as error:
        raise DocumentUnparsable("its XML is damaged, or nests too deep") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise DocumentUnparsable("its XML declares a document type, as no such document does")
    return root


def _named_in(encrypted: Element) -> str:
    """The part that is spoken of: what is referred to, or the entry of the list around it."""
    reference = next(encrypted.iter("{http://www.w3.org/2001/04/xmlenc#}CipherReference"), None)
    if reference is not None:
        return unquote(attribute(reference, "URI"))
    entry = encrypted.getparent()
    return next((value for key, value in entry.items() if key.endswith("}full-path")), "")


def named(namespace: str, names: str) -> Mapping[str, str]:
    """Full names of elements by their short ones."""
    return {name: f"{{{namespace}}}{name}" for name in names.split()}


def attribute(element: Element, name: str) -> str:
    return cast("str", element.get(name, ""))


def _within(folder: str, target: str) -> str:
    if target.startswith("/"):
        return posixpath.normpath(target)[1:]
    return posixpath.normpath(posixpath.join(folder, target))
