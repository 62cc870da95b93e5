"""Bytes to blocks, by media type.

``parse`` decides the format: of documents that are no text by their signature, of text by the media type,
else by the URI's suffix, else by how it begins; what is none of it and is text is plain text. Parsing has no
effects and never reads anything but the bytes it is given. Formats whose parsers can bite are left to the
caller's ``apart``.
"""

from __future__ import annotations

import codecs
import posixpath
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from ingestion.errors import DocumentUnparsable, NotIndexable, Scanned
from ingestion.parsing.code import parse_code
from ingestion.parsing.decoding import declared_charset, decode
from ingestion.parsing.documents import (
    DOCUMENTS,
    MAIL,
    OFFICE,
    PDF,
    TOLD,
    Document,
    Ocr,
    document_of,
    load_document,
)
from ingestion.parsing.html import parse_html
from ingestion.parsing.markdown import parse_markdown
from ingestion.parsing.plain import parse_plain
from ingestion.parsing.rst import parse_rst
from ingestion.parsing.structured import parse_json, parse_json_lines, parse_notebook
from ingestion.parsing.tables import parse_table
from ingestion.records import Parsed

PARSER_VERSION = "3"
"""Part of the pipeline's fingerprint: change it with every change of what any text parses to, unless its
format has a version of its own."""

READABLE_VERSION = "2"
"""What was skipped under another one is read again: change it with every format that is added."""

Apart = Callable[[str, bytes], Parsed]
"""Parses a document with the parser of that name (see ``ingestion.parsing.documents``)."""

_HEAD_BYTES = 1024  # how far a document may declare its charset (WHATWG HTML, 4.2.5.4)

_CODE_SUFFIXES = """
.bash .bat .c .cc .cfg .clj .cmake .conf .cpp .cs .css .cxx .dart .diff .elm .env .erl .ex .exs .f90
.fish .fs .go .gradle .graphql .groovy .h .hcl .hh .hpp .hs .ini .java .jl .js .json5 .jsx
.kt .kts .less .lisp .lua .m .mjs .ml .mli .nim .nix .patch .php .pl .pm .properties .proto .ps1 .py .pyi .r
.rb .rs .sass .scala .scm .scss .sh .sql .svelte .swift .tcl .tf .toml .ts .tsx .vb .vim .vue .xml .yaml
.yml .zig .zsh
""".split()  # noqa: SIM905 - one suffix a line would take a screen
_CODE_MEDIA_TYPES = ("application/xml", "application/yaml", "text/css")
_AT_HAND_BYTES = 2**20  # what is larger, of a format that takes many times its size, is parsed apart


@dataclass(frozen=True, slots=True)
class Format:
    """A way to read text. ``parse`` gets the decoded text and gives text and blocks.

    ``heavy``: it takes many times the memory of what it reads.
    """

    name: str
    parse: Callable[[str], Parsed]
    suffixes: tuple[str, ...]
    media_types: tuple[str, ...]
    declares_charset: bool = False
    version: str = PARSER_VERSION
    heavy: bool = False


def _own(
    name: str,
    parse: Callable[[str], Parsed],
    suffixes: tuple[str, ...],
    media_types: tuple[str, ...],
    version: int = 1,
) -> Format:
    """A format that was read as source code once, still is where it is none, and is heavy."""
    own = f"{name} {version}, text {PARSER_VERSION}"
    return Format(name, parse, suffixes, media_types, version=own, heavy=True)


_PLAIN = Format("plain text", parse_plain, (".txt", ".text", ".log"), ("text/plain",))
FORMATS = (
    _PLAIN,
    Format("Markdown", parse_markdown, (".md", ".markdown", ".mdown", ".mkd", ".mdx"), ("text/markdown",)),
    Format("reStructuredText", parse_rst, (".rst", ".rest"), ("text/x-rst", "text/prs.fallenstein.rst")),
    Format("HTML", parse_html, (".html", ".htm", ".xhtml"), ("text/html", "application/xhtml+xml"), True),
    Format("source code", parse_code, tuple(_CODE_SUFFIXES), _CODE_MEDIA_TYPES),
    _own("CSV", parse_table, (".csv", ".tsv"), ("text/csv", "text/tab-separated-values"), 3),
    _own("JSON", parse_json, (".json",), ("application/json",), 2),
    _own("JSON lines", parse_json_lines, (".jsonl", ".ndjson"), ("application/jsonl",), 3),
    _own("notebook", parse_notebook, (".ipynb",), ("application/x-ipynb+json",)),
)
_BY_NAME = {form.name: form for form in FORMATS}
_BY_SUFFIX = {suffix: form for form in FORMATS for suffix in form.suffixes}
_BY_MEDIA_TYPE = {media_type: form for form in FORMATS for media_type in form.media_types}


def at_hand(name: str, body: bytes) -> Parsed:
    """Parses in this very process: for bytes that are trusted, in tests and measurements."""
    return load(name)(body)


def load(name: str) -> Callable[[bytes], Parsed]:
    """The parser of that name, of bytes or of text in UTF-8, with all that it needs imported."""
    form = _BY_NAME.get(name)
    if form is None:
        return load_document(name)
    return lambda body: form.parse(body.decode("utf-8", "replace"))


def parse(
    body: bytes, uri: str, media_type: str | None = None, *, apart: Apart, ocr: Ocr | None = None
) -> Parsed:
    """The text and blocks of a document. Blocks are in order, do not overlap and are never blank.

    ``ocr`` reads what is scanned, if there is one. ``media_type`` may carry a charset parameter.

    Raises NotIndexable for what holds no text and
    DocumentUnparsable when the format's parser fails.
    """
    document = document_of(body, uri, media_type)
    if document is not None:
        parsed = _parse_document(document, body, uri, apart, ocr)
        if not parsed.blocks:
            raise NotIndexable(f"without text: no words were found in this {document.name}")
        return parsed
    form = format_of(body, uri, media_type)
    text, encoding = decode(body, _declared(form, body, media_type))
    if form.heavy and len(body) > _AT_HAND_BYTES:
        parsed = _parse_apart(form.name, text.encode("utf-8", "replace"), uri, apart)
        return replace(parsed, encoding=encoding)
    try:
        parsed = form.parse(text)
    except MemoryError:
        raise
    except Exception as error:  # whatever a parser raises, the document is the reason
        raise DocumentUnparsable(
            f"Could not read {uri} as {form.name}: its parser failed ({type(error).__name__}).",
            hint="Simplify or exclude the document.",
            uri=uri,
        ) from error
    return parsed if parsed.encoding == encoding else replace(parsed, encoding=encoding)


def read_alike(uri: str, other: str) -> bool:
    """Whether the same bytes become the same blocks under both names."""
    return _named(uri) is _named(other) and document_of(b"", uri) is document_of(b"", other)


def version_of(body: bytes, uri: str, media_type: str | None = None, *, ocr: Ocr | None = None) -> str:
    """What decides which blocks these bytes become: changes with the parser."""
    document = document_of(body, uri, media_type)
    if document is not None:
        return _version(document, ocr)
    return format_of(body, uri, media_type).version


def versions(ocr: Ocr | None = None) -> frozenset[str]:
    """Everything that ``version_of`` may say now."""
    return frozenset(one.version for one in FORMATS) | {_version(one, ocr) for one in DOCUMENTS}


def readable(ocr: Ocr | None = None) -> str:
    """What was skipped where this was another is read again."""
    return f"formats {READABLE_VERSION}" if ocr is None else f"formats {READABLE_VERSION}, {ocr.version}"


def _version(document: Document, ocr: Ocr | None) -> str:
    said = f"{document.name} {document.version}"
    if within := _read_within(document):
        return f"{said}, holding {zlib.crc32(' '.join(within).encode()):08x}"
    return f"{said}, {ocr.version}" if ocr is not None and document.name == PDF else said


def _read_within(document: Document) -> list[str]:
    """Versions of the formats that one of these may hold: books pages, and messages whatever is attached."""
    if document.name == OFFICE:
        return [form.version for form in FORMATS if form.name == "HTML"]
    if document.name != MAIL:
        return []
    attached = [_version(one, None) for one in DOCUMENTS if one is not document]
    return attached + [form.version for form in FORMATS]


def outgrown() -> frozenset[str]:
    """Suffixes of what was read as other text before its format had a version of its own."""
    own = (form.suffixes for form in FORMATS if form.version != PARSER_VERSION)
    unsigned = (one.suffixes for one in DOCUMENTS if not one.signatures)
    return frozenset(suffix for suffixes in (*own, *unsigned) for suffix in suffixes)


def _parse_document(document: Document, body: bytes, uri: str, apart: Apart, ocr: Ocr | None) -> Parsed:
    if document.name != PDF:
        return _parse_apart(document.name, body, uri, apart)
    try:
        return _parse_apart(PDF if ocr is None else f"{PDF}:{TOLD}", body, uri, apart)
    except Scanned as scanned:
        if ocr is None:
            how = "install tesseract and set parsing.ocr to have it read"
            raise NotIndexable(f"{scanned.message}; {how}") from scanned
        return _parse_apart(ocr.parser, body, uri, apart)


def _parse_apart(name: str, body: bytes, uri: str, apart: Apart) -> Parsed:
    try:
        return apart(name, body)
    except DocumentUnparsable as error:
        raise DocumentUnparsable(
            f"Could not read {uri} as {name.partition(':')[0]}: {error.message}.",
            hint="Repair, simplify or exclude the document.",
            uri=uri,
        ) from error


def format_of(body: bytes, uri: str, media_type: str | None = None) -> Format:
    """The format a text is read in: by its media type if that is known, else by suffix, else by itself."""
    return _named(uri, media_type) or _by_content(body)


def _by_content(body: bytes) -> Format:
    head = body[:_HEAD_BYTES].removeprefix(codecs.BOM_UTF8).lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        return _BY_NAME["HTML"]
    if head.startswith((b"{", b"[")) and body[-_HEAD_BYTES:].rstrip().endswith((b"}", b"]")):
        return _BY_NAME["JSON"]  # or what looks like it, which is read as lines of text then
    return _PLAIN


def _named(uri: str, media_type: str | None = None) -> Format | None:
    """By what its source or its name says."""
    if media_type is not None:
        named = _BY_MEDIA_TYPE.get(media_type.partition(";")[0].strip().lower())
        if named is not None and named is not _PLAIN:
            return named
    # Servers call most files text/plain, so that a suffix knows more.
    return _BY_SUFFIX.get(posixpath.splitext(uri)[1].lower())


def _declared(form: Format, body: bytes, media_type: str | None) -> str | None:
    by_source = declared_charset(media_type.encode("utf-8", "replace")) if media_type else None
    if by_source is not None or not form.declares_charset:
        return by_source
    return declared_charset(body[:_HEAD_BYTES])
