from __future__ import annotations

import pytest

from ingestion.errors import NotIndexable
from ingestion.parsing.decoding import declared_charset, decode


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_decides_and_is_left_out(encoding: str) -> None:
    text, _ = decode("Grüße, 世界".encode(encoding))
    assert text == "Grüße, 世界"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["Grüße aus Köln\r\n\tund “Bonn”", "words " * 10_000])
def test_utf16_of_latin_letters_needs_no_mark(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == (text, encoding)


@pytest.mark.parametrize(
    "body",
    [
        b"".join(number.to_bytes(2, "little") for number in range(200)),  # numbers of two bytes
        "odd".encode("utf-16-le") + b"x",
        "an end\0".encode("utf-16-le"),
        "日本語のテキストです".encode("utf-16-le") + b"a\0",
    ],
)
def test_nuls_that_are_not_those_of_utf16_are_binary(body: bytes) -> None:
    with pytest.raises(NotIndexable, match="NUL"):
        decode(body)


def test_utf8_without_a_mark() -> None:
    assert decode("naïve 😀".encode()) == ("naïve 😀", "utf-8")


def test_an_empty_document_is_text() -> None:
    assert decode(b"") == ("", "utf-8")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("café à la crème, déjà vu", "latin-1"),
        ("El niño comió piñas ayer por la mañana", "cp1252"),
        ("Größe und Maß, schöne Grüße", "cp1252"),
        ("Привет, как дела? Это текст на русском языке.", "cp1251"),
        ("日本語のテキストです。これは文字コードのテストです。", "shift_jis"),
    ],
)
def test_other_encodings_are_detected(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding))[0] == text


def test_a_declared_charset_beats_the_detector() -> None:
    body = "Zażółć gęślą jaźń".encode("iso8859-2")
    assert decode(body, "iso-8859-2") == ("Zażółć gęślą jaźń", "iso8859-2")


@pytest.mark.parametrize("declared", ["utf-7", "punycode", "unicode_escape", "rot13", "no such", "\0"])
def test_only_plain_character_sets_may_be_declared(declared: str) -> None:
    text, encoding = decode("café à la crème, déjà vu".encode("latin-1"), declared)
    assert (text, encoding) == ("café à la crème, déjà vu", "cp1252")


def test_damaged_utf8_stays_utf8() -> None:
    body = "größer, höher, weiter: Übermut tut selten gut, ärgerlich".encode()
    assert decode(body.replace(b"weiter", b"wei\xffter"))[0].count("\ufffd") == 1
    assert decode(body + "ü".encode()[:1])[0].endswith("ärgerlich\ufffd")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "a WAV recording"),
        (b"\x1f\x8b\x08", "a gzip archive"),
        (b"text\0text", "contains NUL bytes"),
        (bytes(range(1, 32)) * 4, "too many control characters for a text"),
    ],
)
def test_binaries_are_refused_with_a_reason(body: bytes, reason: str) -> None:
    with pytest.raises(NotIndexable) as refused:
        decode(body)
    assert refused.value.message == f"binary: {reason}"


def test_a_log_with_colours_is_text() -> None:
    assert decode(b"\x1b[31mERROR\x1b[0m the disk is full\n")[0].startswith("\x1b[31m")


def test_nuls_of_wide_encodings_are_replaced() -> None:
    assert decode("a\0b".encode("utf-16"))[0] == "a\ufffdb"


@pytest.mark.parametrize(
    ("head", "charset"),
    [
        (b'<meta charset="koi8-r">', "koi8-r"),
        (b'<meta http-equiv=Content-Type content="text/html; charset=windows-1251">', "windows-1251"),
        (b"<?xml version='1.0' encoding='ISO-8859-2'?>", "ISO-8859-2"),
        (b"<html>", None),
    ],
)
def test_declared_charset(head: bytes, charset: str | None) -> None:
    assert declared_charset(head) == charset
