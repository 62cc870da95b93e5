"""Formats whose parsers can bite: parsed in the sandbox, and imported nowhere else.

A format is a module with ``parse(body: bytes) -> Parsed`` and its entry in ``DOCUMENTS``. A parser
raises NotIndexable with a reason where the document is well and holds no text to find; whatever else it
raises means that the document could not be read.
"""

from __future__ import annotations

import importlib
import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from ingestion.records import Parsed


@dataclass(frozen=True, slots=True)
class Document:
    """A format of bytes. ``version`` is part of the pipeline's fingerprint, as PARSER_VERSION is of text's.

    One with a signature is recognised by it whatever its name; one without by its media type or suffix.
    """

    name: str
    module: str
    version: str
    suffixes: tuple[str, ...]
    media_types: tuple[str, ...]
    signatures: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Ocr:
    """What reads pages that are pictures: where tesseract lies, and in which languages it reads."""

    languages: str
    program: str

    @property
    def parser(self) -> str:
        """The name of the parser that uses it."""
        return f"{PDF}:{self.languages}:{self.program}"

    @property
    def version(self) -> str:
        return f"pictures in {self.languages}"


_OFFICE_SUFFIXES = tuple(
    ".docx .docm .dotx .pptx .pptm .ppsx .xlsx .xlsm .xlsb .odt .ott .odp .ods .epub".split()  # noqa: SIM905
)
MAIL = "e-mail"
OFFICE = "Office document"
PDF = "PDF"
TOLD = "told"
_OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
DOCUMENTS = (
    Document(PDF, "pdf", "3", (".pdf",), ("application/pdf",), (b"%PDF-",)),
    Document(OFFICE, "office", "3", _OFFICE_SUFFIXES, (), (b"PK\x03\x04",)),
    Document("old Office document", "old_office", "3", (".xls",), (), (_OLD_OFFICE,)),
    Document(MAIL, "mail", "3", (".eml", ".mht", ".mhtml"), ("message/rfc822", "multipart/related")),
)
_BY_NAME = {one.name: one for one in DOCUMENTS}
_SIGNED = [(signature, one) for one in DOCUMENTS for signature in one.signatures]
_BY_SUFFIX = {suffix: one for one in DOCUMENTS if not one.signatures for suffix in one.suffixes}
_BY_MEDIA_TYPE = {kind: one for one in DOCUMENTS if not one.signatures for kind in one.media_types}
_PDF_WITHIN = 1024  # bytes: where it may begin, as readers allow it (PDF 1.7, appendix H, note 13)
_PDF_BEGINS = re.compile(rb"%PDF-\d\.\d")
_SUFFIXES = frozenset(suffix for one in DOCUMENTS for suffix in one.suffixes)


def document_of(body: bytes, uri: str, media_type: str | None = None) -> Document | None:
    """The format of these bytes, if it is one of these: by signature, else by media type, else by suffix."""
    for signature, one in _SIGNED:
        if body.startswith(signature):
            return one
    kind = media_type.partition(";")[0].strip().lower() if media_type is not None else ""
    if kind in _BY_MEDIA_TYPE:
        return _BY_MEDIA_TYPE[kind]
    pdf = _BY_NAME[PDF]
    is_called_so = kind in pdf.media_types or _suffix(uri) in pdf.suffixes
    if is_called_so and _PDF_BEGINS.search(body[:_PDF_WITHIN]):
        return pdf
    return _BY_SUFFIX.get(_suffix(uri))


def looks_like_one(uri: str) -> bool:
    """Whether the name says that it is such a document: it may be slow."""
    return _suffix(uri) in _SUFFIXES


def load_document(name: str) -> Callable[[bytes], Parsed]:
    """The parser of a format, with what it needs imported. Behind a colon stands what its module is told."""
    name, _, argument = name.partition(":")
    module = importlib.import_module(f"{__name__}.{_BY_NAME[name].module}")
    return cast("Callable[[bytes], Parsed]", module.parser(argument) if argument else module.parse)


def _suffix(uri: str) -> str:
    return posixpath.splitext(uri)[1].lower()
