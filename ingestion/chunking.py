"""Blocks to chunks, edit-local: what is cut depends on nearby content only, never on the distance from
the start, so that an edit changes the chunks around it however long the document is.

A chunk is a run of whole blocks of one section (a heading and what follows it up to the next heading),
at most ``max_tokens`` long by the embedder's own count of what is embedded: the heading path, then the
text. Blocks that are too long are split (``ingestion.splitting``); where runs begin and end, and how
far an edit reaches, is decided in ``ingestion.cutting``.

A heading whose section is empty belongs to the deeper section behind it. A heading line stands in the
first chunk of its section, and there only its ancestors are put above, so that no heading is embedded
twice. An edit of a heading changes its section (with all below it) and nothing else: sections share no
chunk, and each is cut by itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ingestion.cutting import Key, boundary_keys, cut
from ingestion.places import place_of
from ingestion.records import Block, BlockKind, Chunk, Parsed
from ingestion.splitting import BETWEEN_BLOCKS, Unit, split_into_units

CHUNKER_VERSION = "2"
"""Part of the pipeline's fingerprint: change it with every change of what any blocks are cut into."""

CountTokens = Callable[[Sequence[str]], list[int]]
"""Tokens of each text by the embedder's own count, special tokens included."""

MIN_TOKENS = 16
"""The smallest limit that leaves room for text beside special tokens and a heading."""

_PATH_SHARE = 4  # a heading path takes at most this part of the limit
_TRY_WHOLE_CHARS_PER_TOKEN = 4  # sections up to here are counted whole first: most of them fit


def chunk(parsed: Parsed, *, max_tokens: int, count_tokens: CountTokens) -> list[Chunk]:
    """The chunks of a document, in order, non-overlapping; together they hold every block.

    ``count_tokens`` is called a few times with many texts: a short document costs one call with one
    text beside the headings, a long one three. Raises ValueError for a limit below MIN_TOKENS.
    """
    if max_tokens < MIN_TOKENS:
        raise ValueError(f"max_tokens must be at least {MIN_TOKENS}, not {max_tokens}")
    sections = _sections(parsed.blocks)
    if not sections:
        return []
    measure = _Measure(parsed.text, max_tokens, count_tokens, _paths(sections))
    small = [section for section in sections if section.chars <= _TRY_WHOLE_CHARS_PER_TOKEN * max_tokens]
    runs, _ = measure.fitting([_Run(section, section.units()) for section in small])
    whole = {run.section.start for run in runs}
    runs += _cut_all(measure, [section for section in sections if section.start not in whole])
    runs.sort(key=lambda run: run.start)
    starts = [mark.start for mark in parsed.marks]
    places = [place_of(parsed.marks, starts, run.start, run.end) for run in runs]
    return [
        measure.chunk(ordinal, run, place)
        for ordinal, (run, place) in enumerate(zip(runs, places, strict=True))
    ]


def embedded_text_of(text: str, heading_path: Sequence[str], digest: str) -> str | None:
    """What was embedded for a chunk with this text, path and digest; None if it is not that chunk's text.

    The first chunk of a section has fewer headings above it, and long paths were shortened: whatever may
    stand above the text is tried.
    """
    for path in _may_stand_above(tuple(heading_path)):
        embedded = _prefix(path) + text
        if _digest(embedded) == digest:
            return embedded
    return None


def _may_stand_above(path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The likely ones first: the whole path, its beginnings, then what these are shortened to."""
    beginnings = [path[:depth] for depth in range(len(path), -1, -1)]
    yield from beginnings
    for shortened in beginnings:
        while shortened:
            shortened = _shortened(shortened)
            yield shortened


@dataclass(eq=False, slots=True)
class _Section:
    """Blocks under one heading. ``opening`` is the path that is put above its first chunk."""

    blocks: list[Block]
    path: tuple[str, ...]
    opening: tuple[str, ...]

    @property
    def start(self) -> int:
        return self.blocks[0].start

    @property
    def chars(self) -> int:
        return self.blocks[-1].end - self.start

    def units(self) -> list[Unit]:
        """The section as a single unit of unknown weight."""
        return [Unit(self.start, self.blocks[-1].end, BETWEEN_BLOCKS, 0)]


@dataclass(frozen=True, slots=True)
class _Run:
    """A chunk in the making: consecutive units of one section. ``tokens`` is exact once counted."""

    section: _Section
    units: Sequence[Unit]
    tokens: int = 0

    @property
    def start(self) -> int:
        return self.units[0].start

    @property
    def end(self) -> int:
        return self.units[-1].end

    @property
    def path(self) -> tuple[str, ...]:
        """The path to put above the text, which may itself begin with the section's heading."""
        return self.section.opening if self.start == self.section.start else self.section.path


def _sections(blocks: Iterable[Block]) -> list[_Section]:
    sections: list[_Section] = []
    for block in blocks:
        heading = block.kind is BlockKind.HEADING
        last = sections[-1] if sections else None
        if last is not None and heading and _is_empty_above(last, block):
            last.blocks.append(block)
            last.path = block.heading_path
        elif last is not None and not heading and block.heading_path == last.path:
            last.blocks.append(block)
        else:
            opening = block.heading_path[:-1] if heading else block.heading_path
            sections.append(_Section([block], block.heading_path, opening))
    return sections


def _is_empty_above(section: _Section, heading: Block) -> bool:
    """Whether a section holds nothing but headings, and this one lies deeper."""
    depth = len(section.path)
    deeper = len(heading.heading_path) > depth and heading.heading_path[:depth] == section.path
    return deeper and section.blocks[-1].kind is BlockKind.HEADING


def _paths(sections: Iterable[_Section]) -> list[tuple[str, ...]]:
    """Every path that may stand above a chunk, each once."""
    return list(dict.fromkeys(path for section in sections for path in (section.opening, section.path)))


class _Measure:
    """What the limit means for one document: the prefix of every heading path, and exact counts."""

    def __init__(
        self,
        text: str,
        max_tokens: int,
        count_tokens: CountTokens,
        paths: Sequence[tuple[str, ...]],
    ) -> None:
        self.text = text
        self._max_tokens = max_tokens
        self._count = count_tokens
        counts = count_tokens(["", *map(_prefix, paths)])
        self._special_tokens = counts[0]
        self._prefixes = dict(zip(paths, map(_prefix, paths), strict=True))
        self._prefix_tokens = dict(zip(paths, counts[1:], strict=True))
        self._trim_prefixes()

    def _trim_prefixes(self) -> None:
        """Shorten what exceeds its share: outer headings go first, then the end of the last one."""
        allowed = self._special_tokens + (self._max_tokens - self._special_tokens) // _PATH_SHARE
        long = {path: path for path, tokens in self._prefix_tokens.items() if tokens > allowed}
        while long:
            long = {path: _shortened(kept) for path, kept in long.items()}
            counts = self._count([_prefix(kept) for kept in long.values()])
            for (path, kept), tokens in zip(long.items(), counts, strict=True):
                self._prefixes[path] = _prefix(kept)
                self._prefix_tokens[path] = tokens
            long = {path: kept for path, kept in long.items() if kept and self._prefix_tokens[path] > allowed}

    def room(self, section: _Section) -> int:
        """Tokens that a chunk of this section has for its text."""
        return self._max_tokens - max(self._prefix_tokens[section.opening], self._prefix_tokens[section.path])

    def count_content(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special tokens left out."""
        return [tokens - self._special_tokens for tokens in self._count(texts)] if texts else []

    def embedded_text(self, run: _Run) -> str:
        return self._prefixes[run.path] + self.text[run.start : run.end]

    def fitting(self, runs: Sequence[_Run]) -> tuple[list[_Run], list[_Run]]:
        """The runs that are within the limit, with their exact tokens, and those that are not."""
        fit: list[_Run] = []
        over: list[_Run] = []
        counts = self._count([self.embedded_text(run) for run in runs]) if runs else []
        for run, tokens in zip(runs, counts, strict=True):
            if tokens <= self._max_tokens:
                fit.append(_Run(run.section, run.units, tokens))
            else:
                over.append(run)
        return fit, over

    def chunk(self, ordinal: int, run: _Run, place: str) -> Chunk:
        embedded = self.embedded_text(run)
        text = self.text[run.start : run.end]
        digest = _digest(embedded)
        return Chunk(ordinal, run.start, run.end, run.section.path, text, embedded, digest, run.tokens, place)


def _digest(embedded: str) -> str:
    return hashlib.sha256(embedded.encode("utf-8", "surrogatepass")).hexdigest()


def _prefix(path: tuple[str, ...]) -> str:
    return " > ".join(path) + "\n\n" if path else ""


def _shortened(path: tuple[str, ...]) -> tuple[str, ...]:
    if len(path) > 1:
        return path[1:]
    title = path[0][: len(path[0]) // 2].rstrip()
    return (title,) if title else ()


def _cut_all(measure: _Measure, sections: Sequence[_Section]) -> list[_Run]:
    """Runs that fit, of sections that do not.

    A run's weight is the sum of its units' and need not be what the embedder counts for the whole:
    those that turn out too long are cut again, by themselves, until the exact count fits.
    """
    rooms = [(section.blocks, measure.room(section)) for section in sections]
    pending: list[_Run] = []
    for section, units in zip(
        sections, split_into_units(measure.text, rooms, measure.count_content), strict=True
    ):
        keys = _keys(measure.text, units)
        cuts = cut([unit.weight for unit in units], keys, measure.room(section))
        pending += [_Run(section, units[a:z]) for a, z in pairwise(cuts)]
    runs: list[_Run] = []
    while pending:
        fit, over = measure.fitting(pending)
        runs += fit
        pending = [part for run in over for part in _halves(measure.text, run)]
    return runs


def _keys(text: str, units: Sequence[Unit]) -> list[Key]:
    digests = [
        hashlib.blake2b(text[unit.start : unit.end].encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for unit in units
    ]
    return boundary_keys([unit.strength for unit in units], digests)


def _halves(text: str, run: _Run) -> list[_Run]:
    """Two runs of one: at its smallest key, or in the middle of its only unit."""
    units = run.units
    if len(units) > 1:
        keys = _keys(text, units)
        at = min(range(1, len(units)), key=keys.__getitem__)
        return [_Run(run.section, units[:at]), _Run(run.section, units[at:])]
    unit = units[0]
    middle = (unit.start + unit.end) // 2
    parts = [Unit(unit.start, middle, unit.strength, 0), Unit(middle, unit.end, unit.strength, 0)]
    return [_Run(run.section, [part]) for part in parts if not text[part.start : part.end].isspace()]
