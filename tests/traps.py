"""Documents that were made to do harm: archives that blow up, XML that reaches out, nesting without end,
sizes that are none, and names that say something else than what is in them.

Some reach for a file, or for a server on this machine.
"""

from __future__ import annotations

import base64
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping

from tests.documents import Section, docx, endless_pdf, epub, odt, pdf, pptx, xlsx, zipped

SECTIONS: list[Section] = [(f"Title {n}", ["Some words of text.", "And more."]) for n in range(5)]
TABLE = [["Item", "Price"], ["Blue chair", "12.50"]]
ENTITIES = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {after} "{f"&{name};" * 10}">' for name, after in zip("abcdefgh", "bcdefghi", strict=True)
)
_QUADRATIC = f'<!DOCTYPE x [<!ENTITY a "{"a" * 50_000}">]><x>{"&a;" * 50_000}</x>'
_ODF = 'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
_ODF += 'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" '
_ODF += 'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"'

Trap = tuple[str, bytes]
"""What it is called, and what it holds."""


def endless() -> Iterator[Trap]:
    """Those that end at a limit of time."""
    yield "a.pdf", endless_pdf(5_000)
    yield "a.eml", b"Content-Type: text/plain" + b"; a*0*=x" * 20_000 + b"\n\nx"
    yield "a.eml", _with_attached([("a.html", _deep_page(20_000))] * 50)


def traps(file: str, port: int) -> Iterator[Trap]:
    """Each for its purpose. ``file``: one that nobody may read; ``port``: of a server on this machine."""
    yield from _reaching(file, port)
    yield from _archives()
    yield from _papers()
    yield from _messages()
    yield from _texts()
    yield from _misnamed()


def _reaching(file: str, port: int) -> Iterator[Trap]:
    word, book = docx(SECTIONS), epub("Book", SECTIONS)
    for reach in (f"file://{file}", f"http://127.0.0.1:{port}/x", file):
        for part in ("word/document.xml", "_rels/.rels", "[Content_Types].xml", "word/styles.xml"):
            yield (
                "a.docx",
                changed_parts(word, {part: f'<!DOCTYPE x [<!ENTITY f SYSTEM "{reach}">]><x>&f;</x>'}),
            )
        relation = (
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            "<Relationship "
            f'Id="a" Type="http://x/styles" Target="{reach}"/><Relationship Id="b" Type="http://x/footnotes" '
            f'Target="../../../../{reach}" TargetMode="External"/></Relationships>'
        )
        yield "a.docx", changed_parts(word, {"word/_rels/document.xml.rels": relation})
        page = f'<html><head><base href="{reach}"><link rel="stylesheet" href="{reach}"></head><body><p>Text'
        page += f'<img src="{reach}"><iframe src="{reach}"></iframe><object data="{reach}"></object></body>'
        yield "a.html", page.encode()
        yield "a.html", f'<!DOCTYPE html SYSTEM "{reach}" [<!ENTITY f SYSTEM "{reach}">]><p>&f;'.encode()
        yield "a.epub", changed_parts(book, {"OEBPS/text/c 0.xhtml": page})
        package = zipfile.ZipFile(io.BytesIO(book)).read("OEBPS/book.opf").decode()
        yield "a.epub", changed_parts(book, {"OEBPS/book.opf": package.replace("text/c%200.xhtml", reach)})
        yield "a.odt", changed_parts(odt(SECTIONS), {"content.xml": f'<?xml-stylesheet href="{reach}"?><x/>'})
        yield (
            "a.mht",
            f"Content-Type: message/external-body; access-type=local-file; name={reach}\n\n".encode(),
        )
        yield "a.rst", f".. include:: {file}\n\n.. raw:: html\n   :url: {reach}\n".encode()
        yield "a.md", f"<!--#include file={reach} -->\n\n![a]({reach})\n\n[b]: {reach}\n".encode()
        yield "a.pdf", _paper(f"<</S/URI/URI({reach})>>", f"<</S/Launch/F({file})>>")
        sheet = (
            f'<worksheet><sheetData><row><c><f>WEBSERVICE("{reach}")</f></c></row></sheetData></worksheet>'
        )
        yield "a.xlsx", changed_parts(xlsx({"A": TABLE}), {"xl/worksheets/sheet1.xml": sheet})


def _archives() -> Iterator[Trap]:
    word = docx(SECTIONS)
    for body, part in ((word, "word/document.xml"), (odt(SECTIONS), "content.xml")):
        for content in (
            f"{ENTITIES}]><x>&i;</x>",
            _QUADRATIC,
            "<a>" * 10**6 + "</a>" * 10**6,
            b"\0" * 2**27,
            f"<x>{'y' * 2**24}</x>",
            f"<x {'y' * 2**20}='z'/>",
            "<x " + " ".join(f"a{n}='1'" for n in range(200_000)) + "/>",
            "<x>" + "".join(f"<{'y' * (n % 900 + 1)}/>" for n in range(20_000)) + "</x>",
        ):
            yield "a.docx", changed_parts(body, {part: content})
    for body in (xlsx({"A": TABLE}), pptx(SECTIONS), epub("Book", SECTIONS)):
        for part in zipfile.ZipFile(io.BytesIO(body)).namelist():
            yield "a.xlsx", changed_parts(body, {part: f"{ENTITIES}]><x>&i;</x>"})
            yield "a.xlsx", changed_parts(body, {part: ""})
            yield "a.xlsx", changed_parts(body, {part: "<a>" * 10_000})
    inner = word
    for _ in range(5):
        inner = zipped({"word/document.xml": inner, "a.zip": inner})
        yield "a.docx", inner
    for sheet in (_far_cells(), _strings_that_are_not_there(), _columns_without_end()):
        yield "a.xlsx", changed_parts(xlsx({"A": TABLE}), {"xl/worksheets/sheet1.xml": sheet})
    for cells in (_repeated(2**20, 2**14), _repeated(10**9, 1), _repeated(1, 10**9), _repeated(10**6, 100)):
        yield "a.ods", zipped({"content.xml": cells}, first="application/vnd.oasis.opendocument.spreadsheet")
        yield "a.odt", zipped({"content.xml": cells}, first="application/vnd.oasis.opendocument.text")
    spaces = f"<office:document-content {_ODF}><office:body><text:p>" + '<text:s text:c="999999999"/>' * 9_000
    yield (
        "a.odt",
        changed_parts(
            odt(SECTIONS), {"content.xml": spaces + "</text:p></office:body></office:document-content>"}
        ),
    )
    yield "a.docx", zipped({str(number): "" for number in range(20_000)})
    yield "a.docx", zipped({"../" * 20 + "etc/passwd": "x", "/etc/passwd": "y", "word/document.xml": "z"})
    yield "a.docx", _lying(word)
    yield "a.docx", _overlapping(word)
    yield "a.docx", word + b"PK\x05\x06" + b"\xff" * 18
    for name in ("a.docx", "a.xlsx", "a.html.gz", "a.txt"):
        yield name, gzip.compress(b"\0" * 2**26)


def _papers() -> Iterator[Trap]:
    yield "a.pdf", b"%PDF-1.7\n" + b"[" * 10**6
    yield "a.pdf", b"%PDF-1.7\n1 0 obj\n" + b"<<" * 10**6
    yield "a.pdf", b"%PDF-1.7\n1 0 obj\n" + b"<</A " * 10**5 + b"1" + b">>" * 10**5
    yield "a.pdf", pdf([SECTIONS]).replace(b"/Count 1", b"/Count 999999999")
    yield "a.pdf", pdf([SECTIONS]).replace(b"/Kids [", b"/Kids [ 2 0 R 3 0 R 4 0 R 1 0 R ")
    yield "a.pdf", pdf([SECTIONS]) + b"\nstartxref\n" + b"9" * 400 + b"\n%%EOF"
    yield "a.pdf", pdf([SECTIONS]).replace(b"trailer\n<<", b"trailer\n<</Prev 9 ")
    for drawn in (b"\0" * 2**27, b"q " * 2**25, b"(x) Tj " * 2**23, b"/a Do " * 2**23, b"[" * 2**24):
        yield "a.pdf", _paper(content=zlib.compress(drawn, 9))
    yield (
        "a.pdf",
        _paper(content=zlib.compress(zlib.compress(zlib.compress(b"\0" * 2**28, 9), 9), 9), layers=3),
    )
    yield "a.pdf", _paper(content=zlib.compress(b"BT /F 1 Tf 1e30 0 0 1e30 9e99 -9e99 Tm (far) Tj ET"))
    yield "a.pdf", _paper(box="[-1e30 -1e30 1e30 1e30]", content=zlib.compress(b"BT /F 9 Tf (huge) Tj ET"))


def _messages() -> Iterator[Trap]:
    yield "a.eml", b"Content-Type: multipart/mixed; boundary=b\n\n--b\n" * 5_000
    nested = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(2_000)
    )
    for name in ("a.eml", "a.mhtml"):
        yield name, nested + b"\nText"
    yield "a.eml", b"Content-Type: message/rfc822\n\n" * 10_000 + b"Subject: deep\n\nText"
    yield "a.eml", b"Subject: " + b"=?utf-8?q?a?= " * 50_000 + b"\n\nx"
    yield "a.eml", b"To: " + b"(" * 100_000 + b"\n\nx"
    yield "a.eml", b"To: " + b'"a" <' * 50_000 + b"\n\nx"
    yield "a.eml", b"To: " + b"a@b, " * 10_000 + b"\n\nx"
    yield "a.eml", b"X: y\n" * 300_000 + b"\nx"
    yield "a.eml", b"Content-Type: text/plain; charset=" + b"x" * 100_000 + b"\n\n\xff"
    yield "a.eml", b"Content-Type: text/plain; charset=unicode_escape\n\n\\x00\\ud800 \xff"
    yield "a.eml", b"Content-Transfer-Encoding: base64\n\n" + b"=" * 2**20
    yield "a.eml", b"Content-Transfer-Encoding: x-uuencode\n\nbegin 644 a\n" + b"M" * 2**20
    yield "a.eml", _with_attached([("a.docx", _lying(docx(SECTIONS))), ("../../a.pdf", endless_pdf(50))])
    yield "a.eml", _with_attached([("a\0.html", _deep_page(9_000))] * 3)
    yield "a.eml", _with_attached([(f"{n}.txt", b"x") for n in range(3_000)])
    matryoshka = b"Subject: innermost\n\nText"
    for _ in range(12):
        matryoshka = _with_attached([("a.eml", matryoshka)])
    yield "a.eml", matryoshka


def _texts() -> Iterator[Trap]:
    yield "a.json", b"[" * 2**21
    yield "a.json", b"[" + b"[]," * 2**21 + b"[]]"
    yield "a.json", b'{"a":' * 100_000
    yield "a.json", b"9" * 10**6
    yield "a.json", b"[" + b"1e999," * 10**5 + b"NaN]"
    yield "a.json", b'{"\\ud800":"\\udfff\\u0000"}'
    yield "a.json", b'{"a":' * 90 + b'"x"' + b"}" * 90
    yield "a.jsonl", b'{"a":1}\n\0\n{"b":' * 999
    yield "a.csv", b'"' + b"a," * 2**20
    yield "a.csv", b"," * 2**21
    yield "a.csv", b"a,b\n" + b'"' * 2**20
    yield "a.csv", (b"x" * 200_000 + b",y\n") * 9
    yield "a.ipynb", b'{"cells": [' + b"{}," * 2**18 + b"{}]}"
    yield "a.ipynb", b'{"cells": [{"cell_type": "code", "source": ' + b"[" * 10**5
    yield "a.ipynb", b'{"cells": [{"cell_type": "markdown", "source": "' + b"`" * 10**6 + b'"}]}'
    yield "a.html", _deep_page(200_000)
    yield "a.html", b"<a " + b"x=y " * 10**6 + b">Text"
    yield "a.html", b"&#x41;" * 10**6
    yield "a.html", b"<table>" * 20_000 + b"<tr><td>x"
    yield "a.html", b"<p>" + b"<b><i>" * 50_000 + b"x" + b"</b></i>" * 50_000
    yield "a.html", b"<!--" * 10**6
    yield "a.html", b"<![CDATA[" * 10**5
    for line in (
        b"[",
        b"*a ",
        b"> ",
        b"- ",
        b"`",
        b"![](",
        b"<a ",
        b"a_b*",
        b"|a",
        b"[a]: b\n",
        b"&amp;",
        b"~~",
    ):
        yield "a.md", line * 20_000
        yield "a.md", (line * 100 + b"\n") * 200
    yield "a.md", b"---\n" + b"a: &a [*a, *a]\n" * 9_999 + b"---\n"
    yield "a.rst", b"=\n" * 50_000
    yield "a.rst", b"+-" * 50_000 + b"\n" + b"| " * 50_000
    for name in ("a.txt", "a.md", "a.html", "a.py", "a.rst", "a.csv"):
        yield name, b"word " * 2**21
        yield name, b"\n" * 2**21
        yield name, b"x" * 2**22
        yield name, b" " * 2**22 + b"x"
    yield "a.txt", b"\xff\xfe" + b"\x00\xd8" * 99_999


def _misnamed() -> Iterator[Trap]:
    """Every kind under every other's name, noughts, and nothing at all."""
    kinds = {
        "docx": docx(SECTIONS),
        "pdf": pdf([SECTIONS]),
        "xlsx": xlsx({"A": TABLE}),
        "epub": epub("Book", SECTIONS),
        "eml": b"Subject: Terms\n\nText.\n",
        "html": b"<h1>Title</h1><p>Text.",
        "json": b'{"a": [{"b": 1}]}',
        "csv": b"a;b\n1;2\n",
        "ipynb": b'{"cells": []}',
        "md": b"# Title\n\nText.\n",
    }
    for suffix in (*kinds, "xls", "odt", "mht", "txt", "jsonl", "rst", "unknown"):
        for other, body in kinds.items():
            if other != suffix:
                yield f"a.{suffix}", body
        yield f"a.{suffix}", b""
        yield f"a.{suffix}", b"\0" * 4_096
        yield f"a.{suffix}", b"te\0xt " * 99
        yield f"a.{suffix}", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\xff" * 4_096


def changed_parts(body: bytes, changed: Mapping[str, str | bytes]) -> bytes:
    archive = zipfile.ZipFile(io.BytesIO(body))
    entries: dict[str, str | bytes] = {name: archive.read(name) for name in archive.namelist()}
    return zipped(entries | dict(changed))


def _far_cells() -> str:
    """Two cells, as far from each other as a sheet goes: seventeen thousand million between them."""
    return (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
        "</sheetData></worksheet>"
    )


def _strings_that_are_not_there() -> str:
    return (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        '<row r="1"><c r="A1" t="s"><v>4294967295</v></c><c r="B1" t="s"><v>-1</v></c></row>'
        "</sheetData></worksheet>"
    )


def _columns_without_end() -> str:
    return (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><dimension ref="A1:'
        'ZZZZZZ99999999999"/><sheetData><row r="4294967296"><c r="ZZZZZZZ1"><v>1</v></c></row>'
        "</sheetData></worksheet>"
    )


def _repeated(rows: int, columns: int) -> str:
    return (
        f"<office:document-content {_ODF}><office:body><office:spreadsheet><table:table table:name='A'>"
        f"<table:table-row table:number-rows-repeated='{rows}'><table:table-cell "
        f"table:number-columns-repeated='{columns}' office:value-type='string'><text:p>x</text:p>"
        "</table:table-cell></table:table-row></table:table></office:spreadsheet></office:body>"
        "</office:document-content>"
    )


def _lying(body: bytes) -> bytes:
    """An archive whose largest part unpacks to 100 MB and says that it holds a few bytes."""
    whole = bytearray(changed_parts(body, {"word/document.xml": b"<a>" + b" " * 10**8 + b"</a>"}))
    said = (10**8 + 7).to_bytes(4, "little")
    at = -1
    while (at := whole.find(said, at + 1)) >= 0:
        whole[at : at + 4] = (99).to_bytes(4, "little")
    return bytes(whole)


def _overlapping(body: bytes) -> bytes:
    """An archive in which ten thousand names are one and the same part."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("word/document.xml", b" " * 10**6)
        first = made.infolist()[0]
        made.filelist += [_named_alike(first, f"word/{number}.xml") for number in range(9_000)]
    return archive.getvalue()


def _named_alike(part: zipfile.ZipInfo, name: str) -> zipfile.ZipInfo:
    other = zipfile.ZipInfo(name)
    for field in ("compress_type", "CRC", "compress_size", "file_size", "header_offset"):
        setattr(other, field, getattr(part, field))
    return other


def _paper(*actions: str, content: bytes = b"", box: str = "[0 0 600 800]", layers: int = 1) -> bytes:
    """A page with such a content stream, already packed, and with actions that are to be carried out."""
    filters = "/FlateDecode" * layers if content else ""
    opened = f"/OpenAction {actions[0]}/AA<</O {actions[-1]}>>" if actions else ""
    head = (
        f"%PDF-1.7\n1 0 obj<</Type/Catalog/Pages 2 0 R{opened}>>endobj\n"
        "2 0 obj<</Type/Pages/Count 1/Kids[3 0 R]>>endobj\n"
        f"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox{box}/Contents 4 0 R/Resources<</Font<</F<</Type/Font"
        "/Subtype/Type1/BaseFont/Helvetica>>>>>>>>endobj\n"
        f"4 0 obj<</Length {len(content)}/Filter[{filters}]>>stream\n"
    )
    return head.encode() + content + b"\nendstream endobj\ntrailer<</Root 1 0 R/Size 5>>\n%%EOF"


def _deep_page(depth: int) -> bytes:
    return b"<div>" * depth + b"x" + b"</div>" * depth


def _with_attached(attached: list[tuple[str, bytes]]) -> bytes:
    parts = b"".join(
        b"--b\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n"
        b'Content-Disposition: attachment; filename="'
        + name.encode()
        + b'"\n\n'
        + base64.encodebytes(body)
        + b"\n"
        for name, body in attached
    )
    return b"Subject: Attached\nContent-Type: multipart/mixed; boundary=b\n\n" + parts + b"--b--\n"
