"""The lines of a PDF's pages, in reading order, without running heads and page numbers."""

from __future__ import annotations

import ctypes
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from ingestion.errors import DocumentUnparsable, NotIndexable, Scanned
from ingestion.parsing.assembly import flowed

_GAP = 1.0  # of the size: wider than any space between words
_BOLD = re.compile(r"bold|black|heavy|semibold|demi", re.IGNORECASE)
_FORCED_BOLD = 1 << 18  # PDF 32000-1, 9.8.2: font flags
_EDGE = 0.12  # of a page's height: where running heads stand
_EDGE_LINES = 3
_APART = 1.7  # lines, at least, from what is no running head
_LARGER = 1.3  # than most of the text: a heading, wherever it stands
_FEWEST_PAGES = 3
_MOST_RUNS = 60
_DIGITS = re.compile(r"\d+")
_BULLET_ALONE = re.compile(r"[•▪●○◦‣∙·*–-]|\(?(?:\d{1,3}|[a-zA-Z])[.)]")
# PDFium joins words that were broken at the end of a line, and leaves this in place of the hyphen.
_BROKEN_BEFORE_CAPITAL = re.compile(r"\ufffe(?=[^\W\d_a-z])")
_NUMBER_ALONE = re.compile(r"(?:page|seite|p\.)?\s*[-–]?\s*\d{1,5}\s*[-–]?(?:\s*(?:of|/|von)\s*\d+)?", re.I)


Box = tuple[float, float, float, float]
"""Left, bottom, right, top, in points, from the lower left."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a page. Coordinates in points, from the lower left; ``size`` is the height of its letters
    with what they reach above and below, whatever the page was scaled by."""

    page: int
    text: str
    left: float
    bottom: float
    right: float
    size: float
    bold: bool
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A page that is drawn and not written."""

    page: int
    width: float
    height: float
    drawn: pdfium.PdfPage

    def grey(self, scale: float) -> bytes:
        """As a portable greymap, so many pixels a point."""
        pixels = self.drawn.render(scale=scale, grayscale=True, may_draw_forms=False)
        rows = memoryview(bytes(pixels.buffer))
        starts = range(0, pixels.height * pixels.stride, pixels.stride)
        body = b"".join(rows[start : start + pixels.width] for start in starts)
        pixels.close()
        return b"P5 %d %d 255\n" % (pixels.width, pixels.height) + body


ReadPicture = Callable[[Picture], list["Line"]]


@dataclass(frozen=True, slots=True)
class _Page:
    height: float
    lines: Sequence[Line]


def read_lines(body: bytes, read_picture: ReadPicture | None = None) -> list[Line]:
    """``read_picture`` is asked for pages without text; without it, Scanned is raised where no page has any.

    Raises NotIndexable for what is encrypted, DocumentUnparsable for what is damaged.
    """
    document = _opened(body)
    pages: list[_Page] = []
    pictures = 0
    for number in range(len(document)):
        try:
            page = document[number]
            lines = list(_lines(_Letters(page), number + 1))
        except pdfium.PdfiumError as error:
            raise DocumentUnparsable(f"its page {number + 1} is damaged") from error
        if not lines:
            is_picture = any(True for _ in page.get_objects([raw.FPDF_PAGEOBJ_IMAGE], max_depth=3))
            pictures += is_picture
            if is_picture and read_picture is not None:
                width, height = page.get_size()
                lines = read_picture(Picture(number + 1, width, height, page))
        pages.append(_Page(page.get_height(), _in_reading_order(lines)))
        page.close()
    if pictures and read_picture is None and not any(page.lines for page in pages):
        raise Scanned(f"scanned: {_counted(len(pages))} of pictures, and no text")
    return _without_running_heads(pages)


def _opened(body: bytes) -> pdfium.PdfDocument:
    try:
        return pdfium.PdfDocument(body)
    except pdfium.PdfiumError as error:
        if error.err_code == raw.FPDF_ERR_PASSWORD:
            raise NotIndexable("encrypted: the PDF asks for a password") from error
        if error.err_code == raw.FPDF_ERR_SECURITY:
            raise NotIndexable("encrypted: by a method that PDFium does not know") from error
        raise DocumentUnparsable("it is damaged, or no PDF") from error


def _counted(pages: int) -> str:
    return "1 page" if pages == 1 else f"{pages} pages"


class _Letters:
    """The text of a page, and where its letters stand for who looks at the page, which may be turned."""

    def __init__(self, page: pdfium.PdfPage) -> None:
        self.raw = page.get_textpage()
        self.text = _BROKEN_BEFORE_CAPITAL.sub("-", self.raw.get_text_range())
        self._turned = page.get_rotation()
        self._width, self._height = page.get_size()
        self._same = self.raw.count_chars() == len(self.text)

    def box(self, at: int) -> Box:
        """Of the letter at this place of the text."""
        left, bottom, right, top = self.raw.get_charbox(self.index(at), loose=True)
        if self._turned == 90:
            return bottom, self._height - right, top, self._height - left
        if self._turned == 180:
            return self._width - right, self._height - top, self._width - left, self._height - bottom
        if self._turned == 270:
            return self._width - top, left, self._width - bottom, right
        return left, bottom, right, top

    def index(self, at: int) -> int:
        """PDFium's number of a letter, which differs from its place where some have no text."""
        if self._same:
            return at
        units = len(self.text[:at].encode("utf-16-le", "surrogatepass")) // 2
        return max(0, int(raw.FPDFText_GetCharIndexFromTextIndex(self.raw, units)))


def _lines(letters: _Letters, page: int) -> Iterator[Line]:
    text = letters.text
    start = 0
    for written in text.split("\r\n"):
        if written.strip():
            yield _line(letters, page, written, start)
        start += len(written) + 2


def _line(letters: _Letters, page: int, written: str, start: int) -> Line:
    first = start + len(written) - len(written.lstrip())
    last = start + len(written.rstrip()) - 1
    middle = max(first, start + len(written[: (first + last) // 2 - start].rstrip()) - 1)
    boxes = [letters.box(at) for at in (first, middle, last)]
    left, right = boxes[0][0], boxes[2][2]
    # That of most letters: a bullet, a mark of a footnote or a large initial has a height of its own.
    _, bottom, _, top = sorted(boxes, key=lambda box: box[3] - box[1])[1]
    size = max(top - bottom, 1.0)
    bold = _is_bold(letters, first) and _is_bold(letters, last)
    cells = _cells(letters, written, start, size)
    return Line(page, " ".join(cells), left, bottom, right, size, bold, cells)


def _cells(letters: _Letters, written: str, start: int, size: float) -> tuple[str, ...]:
    """The parts of a line that are further from each other than words are."""
    if letters.raw.count_rects(letters.index(start), len(written)) < 2:
        return (flowed(written),)
    cells: list[str] = []
    done = 0
    for space in re.finditer(r"\s+", written.strip()):
        offset = start + len(written) - len(written.lstrip())
        right = letters.box(offset + space.start() - 1)[2]
        left = letters.box(offset + space.end())[0]
        if left - right > _GAP * size:
            cells.append(flowed(written.strip()[done : space.start()]))
            done = space.end()
    cells.append(flowed(written.strip()[done:]))
    if len(cells) > 1 and _BULLET_ALONE.fullmatch(cells[0]):
        cells[:2] = [f"{cells[0]} {cells[1]}"]
    return tuple(cells)


def _is_bold(letters: _Letters, at: int) -> bool:
    name = ctypes.create_string_buffer(128)
    flags = ctypes.c_int(0)
    raw.FPDFText_GetFontInfo(letters.raw, letters.index(at), name, len(name), ctypes.byref(flags))
    return bool(flags.value & _FORCED_BOLD) or bool(_BOLD.search(name.value.decode("utf-8", "replace")))


def _in_reading_order(lines: Sequence[Line]) -> list[Line]:
    """Most programs draw in reading order: where the pen goes up again, a column ended, or they did not.

    Runs that go down the page stay together; of two, the upper one comes first if they share columns, else
    the left one if they share rows.
    """
    runs: list[list[Line]] = []
    for line in lines:
        if runs and line.bottom <= runs[-1][-1].bottom + 0.5 * line.size:
            runs[-1].append(line)
        else:
            runs.append([line])
    if len(runs) > _MOST_RUNS:
        return list(lines)
    rest = [_Run.of(run) for run in runs]
    ordered: list[Line] = []
    while rest:
        first = next((one for one in rest if not any(other.precedes(one) for other in rest)), rest[0])
        rest.remove(first)
        ordered += first.lines
    return ordered


@dataclass(frozen=True, eq=False, slots=True)
class _Run:
    lines: Sequence[Line]
    left: float
    right: float
    top: float
    bottom: float

    @classmethod
    def of(cls, lines: Sequence[Line]) -> _Run:
        left, right = min(one.left for one in lines), max(one.right for one in lines)
        return cls(lines, left, right, lines[0].bottom + lines[0].size, lines[-1].bottom)

    def precedes(self, other: _Run) -> bool:
        if self is other:
            return False
        share_columns = self.left < other.right and other.left < self.right
        share_rows = self.bottom < other.top and other.bottom < self.top
        if share_rows and not share_columns:
            return self.left < other.left
        return self.top > other.top


def _without_running_heads(pages: Sequence[_Page]) -> list[Line]:
    """What stands at the edge of most pages, but for its numbers, is of the paper and not of the text.

    Kept, it would change with every page that is added, and cut every paragraph that goes on behind it.
    """
    heights = sorted(line.size for page in pages for line in page.lines for _ in line.text)
    usual = heights[len(heights) // 2] if heights else 0.0
    edges = [_edge(page, usual) for page in pages]
    seen = Counter(key for edge in edges for key in {_key(line) for line in edge})
    often = max(_FEWEST_PAGES, len(pages) / 2)
    kept: list[Line] = []
    for page, edge in zip(pages, edges, strict=True):
        holds_more = len(pages) > 1 or len(page.lines) > len(edge)
        left_out = {
            id(line)
            for line in edge
            if seen[_key(line)] >= often or (_NUMBER_ALONE.fullmatch(line.text) and holds_more)
        }
        kept += [line for line in page.lines if id(line) not in left_out]
    return kept


def _edge(page: _Page, usual: float) -> list[Line]:
    """What stands apart in the margins, in letters no larger than the text's."""
    from_above = sorted(page.lines, key=lambda line: -line.bottom)
    edge: list[Line] = []
    for lines in (from_above, from_above[::-1]):
        for number, line in enumerate(lines[:_EDGE_LINES], 1):
            middle = line.bottom + line.size / 2
            if line.size > _LARGER * usual or _EDGE < middle / page.height < 1 - _EDGE:
                break
            if number == len(lines) or abs(lines[number].bottom - line.bottom) > _APART * line.size:
                edge += lines[:number]
    return edge


def _key(line: Line) -> str:
    return _DIGITS.sub("#", line.text)
