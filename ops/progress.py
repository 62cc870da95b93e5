"""How far a long piece of work is: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TextIO

from ops.showing import counted, duration

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

WINDOW_S = 20.0
LINE_EVERY_S = 5.0


class Meter(Protocol):
    """Shows lines and how far the work is, without one disturbing the other."""

    def line(self, text: str) -> None:
        """Print one line. ``text`` must be safe to print."""

    def show(self, done: int, total: int) -> None:
        """So many documents are through."""

    def clear(self) -> None:
        """The work is through, or is no longer watched."""


class Pace:
    """Rate and time left, from what was done in the last seconds. Pure: the time is an argument."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._marks: deque[tuple[float, int]] = deque()

    def mark(self, at: float, done: int) -> None:
        self._marks.append((at, done))
        while len(self._marks) > 2 and self._marks[1][0] <= at - self._window_s:
            self._marks.popleft()

    @property
    def rate(self) -> float:
        """Documents a second; zero while it is not known."""
        if len(self._marks) < 2:
            return 0.0
        (start, before), (end, done) = self._marks[0], self._marks[-1]
        return max(0.0, (done - before) / (end - start)) if end > start else 0.0

    def words(self, done: int, total: int) -> str:
        """``410 documents/s, 45.0 s left``; nothing while the rate is not known."""
        rate = self.rate
        if rate <= 0:
            return ""
        shown = f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
        return f"{shown} documents/s, {duration((total - done) / rate)} left"


class PlainMeter:
    """Lines only: for logs, pipes and services. One each ``every_s`` at most; none while all stands still."""

    def __init__(
        self,
        write: Callable[[str], None],
        monotonic: Callable[[], float],
        *,
        every_s: float = LINE_EVERY_S,
    ) -> None:
        self._write = write
        self._monotonic = monotonic
        self._every_s = every_s
        self._pace = Pace()
        self._shown_at: float | None = None
        self._shown: tuple[int, int] | None = None

    def line(self, text: str) -> None:
        self._write(text)

    def show(self, done: int, total: int) -> None:
        now = self._monotonic()
        self._pace.mark(now, done)
        if self._shown_at is None:
            self._shown_at = now  # short work needs no line
        if now - self._shown_at < self._every_s or self._shown == (done, total):
            return
        self._shown_at, self._shown = now, (done, total)
        share = 100 * done // total if total else 100
        words = self._pace.words(done, total)
        self._write(
            f"indexing: {done:,} of {counted(total, 'document')} ({share} %)" + (words and f", {words}")
        )

    def clear(self) -> None:
        self._pace = Pace()
        self._shown_at = self._shown = None


class BarMeter:
    """A bar that stays at the bottom of a terminal while lines pass above it."""

    def __init__(self, stream: TextIO, monotonic: Callable[[], float]) -> None:
        from rich.console import Console  # 0.2 s, and only for people

        self._console = Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._monotonic = monotonic
        self._pace = Pace()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def line(self, text: str) -> None:
        self._console.print(text)

    def show(self, done: int, total: int) -> None:
        self._pace.mark(self._monotonic(), done)
        if self._bar is None or self._task is None:
            self._bar = self._started()
            self._task = self._bar.add_task("indexing", total=total, words="")
        self._bar.update(self._task, completed=done, total=total, words=self._pace.words(done, total))

    def clear(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = None
        self._pace = Pace()

    def _started(self) -> Progress:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}"),
            console=self._console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        bar.start()
        return bar


def meter_for(stream: TextIO | None, write: Callable[[str], None], monotonic: Callable[[], float]) -> Meter:
    """A bar where somebody watches, lines elsewhere. ``stream`` is None where it is closed."""
    if stream is not None and stream.isatty():
        return BarMeter(stream, monotonic)
    return PlainMeter(write, monotonic)
