"""E-mail, and pages that browsers saved as one file: the message under its subject, then what is attached.

An attachment is read as it would be in a folder, here in the same process. What of it cannot be read is
named and passed over: the message can be found all the same.
"""

from __future__ import annotations

import email.policy
from collections.abc import Iterator
from contextlib import suppress
from email.message import EmailMessage
from email.parser import BytesParser
from itertools import islice
from typing import cast

# Loaded here, as nothing can be loaded any more while a message is being read.
import charset_normalizer  # noqa: F401
import lxml.etree  # noqa: F401
import markdown_it  # noqa: F401
import mdit_py_plugins.front_matter  # noqa: F401

from ingestion.errors import DocumentUnparsable, HeadwaterError
from ingestion.parsing import at_hand
from ingestion.parsing import parse as parse_any
from ingestion.parsing.assembly import Assembly, clean, flowed
from ingestion.parsing.decoding import decode
from ingestion.parsing.documents import MAIL, office, old_office, pdf  # noqa: F401
from ingestion.parsing.html import parse_html
from ingestion.parsing.outline import DOCUMENT_TITLE
from ingestion.parsing.plain import paragraphs
from ingestion.records import Parsed

_HEADERS = ("From", "To", "Cc", "Date")
_MAX_ATTACHMENTS = 100
_MAX_DEPTH = 3  # of messages attached to messages
_ATTACHMENT_LEVEL = 1
_READ_BY_PEOPLE = ("text/plain", "text/html")
_SAYS_NOTHING = ("application/octet-stream", "text/plain")
_OF_NONSENSE = (ValueError, IndexError, AttributeError, TypeError, LookupError)  # what the library raises


def parse(body: bytes) -> Parsed:
    return _message(body, 0)


def _message(body: bytes, depth: int) -> Parsed:
    message = BytesParser(policy=email.policy.default).parsebytes(body)
    document = Assembly()
    document.heading(DOCUMENT_TITLE, _header(message, "Subject"))
    headers = (f"{name}: {_header(message, name)}" for name in _HEADERS)
    document.paragraph("\n".join(line for line in headers if not line.endswith(": ")))
    text = _text(message)
    for part in _texts(message, text):
        with suppress(HeadwaterError):  # what is no text after all
            document.include(_read_text(part))
    parts = (part for part in _attachments(message) if part is not text)
    for number, part in enumerate(islice(parts, _MAX_ATTACHMENTS), 1):
        document.at("attachment", number)
        _write_attachment(document, part, number, depth)
    return document.parsed()


def _header(message: EmailMessage, name: str) -> str:
    try:
        return flowed(str(message[name] or ""))
    except _OF_NONSENSE:
        return ""


def _text(message: EmailMessage) -> EmailMessage | None:
    """The part that people read: the plain one, but of a saved page the page."""
    page = message.get_content_type() == "multipart/related" and "To" not in message
    try:
        found = message.get_body(("html", "plain") if page else ("plain", "html"))
    except _OF_NONSENSE:
        return None
    return cast("EmailMessage | None", found)


def _texts(message: EmailMessage, text: EmailMessage | None) -> Iterator[EmailMessage]:
    """The text, and what goes on with it behind attachments: some programs part it there, and lists put their
    notes there. Nothing of a saved page, whose other parts are its frames."""
    if text is not None:
        yield text
    if message.get_content_type() != "multipart/mixed":
        return
    parts = message.get_payload()
    for part in cast("list[EmailMessage]", parts if isinstance(parts, list) else []):
        if part is not text and part.get_content_type() in _READ_BY_PEOPLE and not part.get_filename():
            yield part


def _read_text(part: EmailMessage) -> Parsed:
    text, _ = decode(_content(part), part.get_content_charset())
    if part.get_content_type() == "text/html":
        return parse_html(text)
    text = clean(text)
    return Parsed(text, paragraphs(text, 0, len(text), ()))


def _attachments(message: EmailMessage) -> Iterator[EmailMessage]:
    """Parts that have a name, and messages; nothing of a message that is attached itself."""
    if message.get_content_type() == "message/rfc822" or not message.is_multipart():
        if message.get_filename() or message.get_content_type() == "message/rfc822":
            yield message
        return
    for part in message.get_payload():
        yield from _attachments(cast("EmailMessage", part))


def _write_attachment(document: Assembly, part: EmailMessage, number: int, depth: int) -> None:
    def apart(name: str, body: bytes) -> Parsed:
        if name != MAIL:
            return _read_attached(name, body)
        if depth >= _MAX_DEPTH:
            raise DocumentUnparsable("it is a message in a message, and so on")
        return _message(body, depth + 1)

    name = flowed(part.get_filename() or "message.eml")
    document.outline.leave(_ATTACHMENT_LEVEL)
    document.heading(_ATTACHMENT_LEVEL, name)
    with suppress(HeadwaterError):
        kind = part.get_content_type()
        parsed = parse_any(_content(part), name, None if kind in _SAYS_NOTHING else kind, apart=apart)
        document.include(parsed, f"attachment {number}")


def _read_attached(name: str, body: bytes) -> Parsed:
    try:
        return at_hand(name, body)
    except (HeadwaterError, MemoryError, OSError, ImportError):  # of the latter a child makes something
        raise
    except Exception as error:  # whatever a parser raises, the message is well
        raise DocumentUnparsable(f"its parser failed ({type(error).__name__})") from error


def _content(part: EmailMessage) -> bytes:
    if part.get_content_type() == "message/rfc822" and part.is_multipart():
        return cast("EmailMessage", part.get_payload(0)).as_bytes()
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""
