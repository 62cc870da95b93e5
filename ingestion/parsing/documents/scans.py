"""Pages that are pictures, read by tesseract: another program, started anew for each of them.

It gets what holds this process: a limit of memory, no bytes to any file, an end with its parent; and time of
its own. It must open its program and its language, so that it may hold descriptors; where the system allows
it, it stands in a network of its own, in which there is nobody. Picture and words go through pipes.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence

from ingestion.errors import DocumentUnparsable
from ingestion.parsing.documents.pdf_lines import Line, Picture

_DPI = 300  # what tesseract was made for
_MOST_PIXELS = 12_000_000  # a page of paper has 9 million; it takes some 20 bytes for each
_PAGE_S = 20  # of processor time
_PAGE_WALL_S = 60.0
_FILES = 64
_POINTS = 72  # an inch
_HEADING = 1.5  # of the usual height: below, heights of lines differ by the letters that happen to be in them
_ALIKE = 0.25  # heights of lines on two pages in letters of one size
_CELL_GAP = 1.5  # of the height
_OF_A_WORD = "5"  # TSV: level page block paragraph line word left top width height confidence text
_NEWNET_AND_USER = 0x40000000 | 0x10000000  # CLONE_NEWNET, CLONE_NEWUSER
_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


Words = list[tuple[int, int, int, int, str]]
"""Of a line: left, top, width, height in pixels, and what they say."""


class Tesseract:
    """For one document. ``program``: where it lies. ``languages``: those it reads, joined by ``+``."""

    def __init__(self, program: str, languages: str) -> None:
        self._command = [program, "stdin", "stdout", "-l", languages]
        self._usual = 0.0  # height of lines, in points

    def __call__(self, picture: Picture) -> list[Line]:
        """The lines of a page. Raises DocumentUnparsable, which names the page."""
        scale = min(_DPI / _POINTS, (_MOST_PIXELS / max(1.0, picture.width * picture.height)) ** 0.5)
        words = self._words(picture, picture.grey(scale), round(scale * _POINTS))
        lines = _lines(words)
        usual = _usual(lines) / scale
        if abs(usual - self._usual) > _ALIKE * self._usual:
            self._usual = usual
        return [_line(words, picture, scale, self._usual) for words in lines]

    def _words(self, picture: Picture, pixels: bytes, dpi: int) -> str:
        with _opening():
            process = subprocess.Popen(
                [*self._command, "--dpi", str(dpi), "-c", "tessedit_create_tsv=1"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"OMP_THREAD_LIMIT": "1"},
                cwd="/",
                preexec_fn=_confine,  # safe: this process has one thread
            )
            try:
                words, _ = process.communicate(pixels, _PAGE_WALL_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                raise DocumentUnparsable(_over_time(picture)) from None
        if process.returncode == -signal.SIGXCPU:
            raise DocumentUnparsable(_over_time(picture))
        if process.returncode != 0:
            status = f"exit status {process.returncode}"
            raise DocumentUnparsable(f"tesseract could not read its page {picture.page} ({status})")
        return words.decode("utf-8", "replace")


def _over_time(picture: Picture) -> str:
    return f"tesseract takes more than {_PAGE_S} s for its page {picture.page}"


@contextlib.contextmanager
def _opening() -> Iterator[None]:
    """Pipes can be opened, which a parser otherwise never may."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_FILES, before[1]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _confine() -> None:
    """In the new process, before it becomes the other program."""
    resource.setrlimit(resource.RLIMIT_CPU, (_PAGE_S, _PAGE_S + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))  # nothing more is started; it does not hold root
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    if sys.platform == "linux":
        _libc.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if _libc.unshare(_NEWNET_AND_USER) != 0:  # not in every container
            _libc.unshare(0x40000000)
        if os.getppid() == 1:  # it died before it could be followed
            os._exit(1)


def _lines(found: str) -> list[Words]:
    """Words by what tesseract calls a line."""
    lines: dict[tuple[str, ...], Words] = {}
    for row in found.splitlines()[1:]:
        fields = row.split("\t")
        if len(fields) == 12 and fields[0] == _OF_A_WORD and fields[11].strip():
            left, top, width, height = map(int, fields[6:10])
            lines.setdefault(tuple(fields[1:5]), []).append((left, top, width, height, fields[11].strip()))
    return list(lines.values())


def _usual(lines: Sequence[Words]) -> int:
    """The height of the line that most letters stand in."""
    heights = sorted(_height(line) for line in lines for word in line for _ in word[4])
    return heights[len(heights) // 2] if heights else 1


def _line(words: Words, picture: Picture, scale: float, usual: float) -> Line:
    """At its place on the page."""
    height = _height(words) / scale
    size = max(height if height >= _HEADING * usual else usual, 1.0)
    bottom = picture.height - max(top + high for _, top, _, high, _ in words) / scale
    cells = tuple(_cells(words, _CELL_GAP * size * scale))
    left, right = words[0][0] / scale, (words[-1][0] + words[-1][2]) / scale
    return Line(picture.page, " ".join(cells), left, bottom, right, size, False, cells)


def _height(line: Words) -> int:
    return max(top + height for _, top, _, height, _ in line) - min(top for _, top, _, _, _ in line)


def _cells(line: Words, gap: float) -> Iterator[str]:
    cell = [line[0][4]]
    for last, word in itertools.pairwise(line):
        if word[0] - last[0] - last[2] > gap:
            yield " ".join(cell)
            cell = []
        cell.append(word[4])
    yield " ".join(cell)
