"""From a claim to a draft: read, parse, chunk. One document at a time, its failure its own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ingestion.chunking import CHUNKER_VERSION, chunk
from ingestion.clock import Clock
from ingestion.errors import NotIndexable
from ingestion.lag import plausible_change
from ingestion.ledger.values import Claim, Look, Pipelines
from ingestion.parsing import PARSER_VERSION, outgrown, parse, readable, version_of, versions
from ingestion.parsing.documents import looks_like_one
from ingestion.parsing.ocr import Scans
from ingestion.parsing.outline import titled
from ingestion.parsing.sandbox import Sandbox
from ingestion.records import Chunk, Content, Lane, Parsed
from ingestion.sources.port import Read
from workers.slow import Slow

CountTokens = Callable[[Sequence[str]], list[int]]

# An edit leaves most blocks of its document as they were: 25 ms of counting for a chapter of a book.
# At most some 30 MB, as long texts are not kept.
COUNTS_KEPT = 16_384
LONGEST_KEPT = 2_000  # characters


@dataclass(frozen=True, slots=True)
class Draft:
    """A revision as it was read. ``chunks`` is None where the content is what is live already.

    ``pipeline``: everything that decided what chunks it became.
    """

    claim: Claim
    digest: str
    look: Look
    chunks: Sequence[Chunk] | None
    pipeline: str
    skipped: str | None = None


class Drafter:
    """Makes drafts. ``pipelines`` names everything that decides what chunks documents become."""

    def __init__(
        self,
        max_tokens: int,
        count_tokens: CountTokens,
        clock: Clock,
        *,
        sandbox: Sandbox,
        slow: Slow | None = None,
        scans: Scans | None = None,
    ) -> None:
        self._max_tokens = max_tokens
        self._count_tokens = _remembering(count_tokens)
        self._clock = clock
        self._sandbox = sandbox
        self._slow = slow or Slow()
        self._scans = scans
        self._ocr = None if scans is None else scans.ocr
        self.pipelines = Pipelines(
            frozenset(map(self.pipeline, versions(self._ocr))),
            skipping=readable(self._ocr),
            text=self.pipeline(PARSER_VERSION),
            outgrown=outgrown(),
        )

    def draft(self, claim: Claim, read: Read) -> Draft:
        """Read, and unless the content is unchanged, parse and chunk.

        Raises DocumentGone, DocumentChanging, DocumentUnreadable, DocumentUnparsable, SourceUnavailable,
        ParserUnavailable, and TakesLong for one that is to be parsed later, with nobody waiting for it.
        """
        urgent = claim.lane is Lane.FRESH
        with self._slow.turn(claim.document_id, urgent=urgent) as patience_s:
            return self._draft(claim, read, patience_s, urgent=urgent)

    def _draft(self, claim: Claim, read: Read, patience_s: float | None, *, urgent: bool) -> Draft:
        try:
            content = read(claim.uri)
        except NotIndexable as refusal:
            return self._skipped(claim, refusal.message)
        digest = content.digest
        look = self._look(claim, content)
        pipeline = self.pipeline(version_of(content.body, claim.uri, content.media_type, ocr=self._ocr))
        if digest == claim.digest and pipeline == claim.pipeline and not claim.repair:
            return Draft(claim, digest, look, None, pipeline)
        try:
            chunks = self.chunks(content, patience_s, urgent=urgent)
        except NotIndexable as refusal:
            # Without a digest: read again, it must not pass for the live content that it never was.
            return Draft(claim, "", look, (), self.pipelines.skipping, refusal.message)
        return Draft(claim, digest, look, chunks, pipeline)

    @staticmethod
    def may_take_long(claim: Claim) -> bool:
        """Whether others are not to wait for this one, as far as its name tells."""
        return looks_like_one(claim.uri)

    def takes_long(self, claim: Claim) -> bool:
        """Whether it has shown that it does."""
        return claim.document_id in self._slow

    def chunks(
        self, content: Content, patience_s: float | None = None, *, urgent: bool = False
    ) -> list[Chunk]:
        """The chunks of a content. Raises NotIndexable, DocumentUnparsable, ParserUnavailable, TakesLong."""

        def apart(parser: str, body: bytes) -> Parsed:
            scans = self._scans
            sandbox = scans.sandbox if scans and parser == scans.ocr.parser else self._sandbox
            return sandbox.parse(parser, body, patience_s, urgent=urgent)

        parsed = parse(content.body, content.seen.uri, content.media_type, apart=apart, ocr=self._ocr)
        if content.title is not None:
            parsed = titled(parsed, content.title)
        return chunk(parsed, max_tokens=self._max_tokens, count_tokens=self._count_tokens)

    def _skipped(self, claim: Claim, reason: str) -> Draft:
        """It could not be read for what it is, so there is no look of it: the next one differs."""
        look = Look(fingerprint="", identity=None, size_bytes=0, changed_at=claim.changed_at, racy=False)
        return Draft(claim, "", look, (), self.pipelines.skipping, reason)

    def pipeline(self, parser: str) -> str:
        """What decides which chunks the blocks of this parser become."""
        return f"parser {parser}, chunker {CHUNKER_VERSION}, {self._max_tokens} tokens"

    def _look(self, claim: Claim, content: Content) -> Look:
        seen = content.seen
        changed_at = plausible_change(
            seen.changed_at, claim.observed_at, self._clock.now(), noticed=claim.changed_at
        )
        return Look(seen.fingerprint, seen.identity, seen.size_bytes, changed_at, seen.racy)


def _remembering(count_tokens: CountTokens) -> CountTokens:
    """The same counts; those of short texts are kept, the latest used ones."""

    @functools.lru_cache(COUNTS_KEPT)
    def kept(text: str) -> int:
        return count_tokens([text])[0]

    def count(texts: Sequence[str]) -> list[int]:
        return [kept(text) if len(text) <= LONGEST_KEPT else count_tokens([text])[0] for text in texts]

    return count
