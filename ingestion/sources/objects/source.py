"""Objects of an S3-compatible bucket as a source. They can be read again, so nothing of them is kept.

A listing is complete or fails: one that breaks off after some pages says nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from ingestion.clock import Clock
from ingestion.errors import DocumentGone, DocumentUnreadable, Misconfigured, NotIndexable, SourceUnavailable
from ingestion.records import Content, Gone, Listing, Observation, Root, Seen, Skipped
from ingestion.sources.objects.bucket import Bucket, BucketFailed, Object, ObjectRefused, TooMuch
from ingestion.sources.patterns import Patterns
from ingestion.sources.port import Read, Watch
from ingestion.sources.read_ahead import may_be_kept
from ingestion.sources.settling import Dirty
from ingestion.sources.survey import too_large
from ingestion.sources.unwatched import Unwatched

KIND = "objects"
THREADS = 8


class ObjectsSource:
    """Safe to call from several threads."""

    kind = KIND

    def __init__(
        self,
        name: str,
        bucket: Bucket,
        *,
        location: str,
        prefix: str = "",
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        max_document_bytes: int,
        clock: Clock,
    ) -> None:
        """``prefix``: '' or ending with '/'. Raises WrongSettings for what is no pattern."""
        self.name = name
        self.location = location
        self._bucket = bucket
        self._prefix = prefix
        self._patterns = Patterns(include, exclude)
        self._most_bytes = max_document_bytes
        self._clock = clock

    def root(self) -> Root:
        """That it cannot be reached is a fault of the look."""
        return Root(present=True, device=None)

    def list(self) -> Listing:
        return self.list_below("")

    def list_below(self, prefix: str) -> Listing:
        started_at = self._clock.now()
        with self._asked():
            found = {one.key: one for one in self._bucket.objects(self._prefix + prefix)}
        sightings = [
            self._observed(uri, one)
            for key, one in found.items()
            if (uri := key[len(self._prefix) :]) and self._why_not(uri) is None
        ]
        return Listing(sightings, self.root(), started_at=started_at, finished_at=self._clock.now())

    def look(self, uri: str) -> Observation:
        at = self._clock.now()
        if (why := self._why_not(uri)) is not None:
            return Gone(uri, why, at)
        with self._asked(uri):
            found = self._bucket.look(self._prefix + uri)
        return Gone(uri, "no such object in the bucket", at) if found is None else self._observed(uri, found)

    def looks(self, uris: Sequence[str]) -> Mapping[str, Observation]:
        if not uris:
            return {}
        with ThreadPoolExecutor(THREADS, thread_name_prefix=f"objects-{self.name}") as threads:
            found = zip(uris, threads.map(self._look_if_allowed, uris), strict=True)
            return {uri: look for uri, look in found if look is not None}

    def read(self, uri: str) -> Content:
        """An answer is of one version, however often the object is replaced meanwhile."""
        if (why := self._why_not(uri)) is not None:
            raise self._gone(uri, why)
        try:
            with self._asked(uri):
                answer = self._bucket.read(self._prefix + uri, self._most_bytes)
        except TooMuch as large:
            look = self._observed(uri, large.found)
            assert isinstance(look, Skipped)
            raise NotIndexable(look.reason, source=self.name, uri=uri) from None
        if answer is None:
            raise self._gone(uri, "no such object in the bucket")
        found, body = answer
        return Content(body, self._seen(uri, found))

    def reading(self, uris: Sequence[str]) -> Read:
        return self.read

    def watch(self, on_dirty: Callable[[Dirty], None]) -> Watch:
        return Unwatched()

    def _look_if_allowed(self, uri: str) -> Observation | None:
        try:
            return self.look(uri)
        except DocumentUnreadable:
            return None

    def _why_not(self, uri: str) -> str | None:
        """Why an object of this name is no document, whatever the bucket holds."""
        if not may_be_kept(uri):
            return "no name of a document"
        if uri.endswith("/"):
            return "the mark of a folder"
        if not self._patterns.takes(uri):
            return f"excluded by the settings: {self._patterns.why_not(uri)}"
        return None

    def _observed(self, uri: str, found: Object) -> Seen | Skipped:
        at = self._clock.now()
        if found.size_bytes > self._most_bytes:
            reason = too_large(found.size_bytes, self._most_bytes, "max_document_bytes")
            return Skipped(uri, reason, at, found.size_bytes)
        if found.archived:
            return Skipped(uri, "archived; it can be read in another storage class", at, found.size_bytes)
        return self._seen(uri, found)

    def _seen(self, uri: str, found: Object) -> Seen:
        """No identity: a copy has the same ETag."""
        fingerprint = f"{found.etag} {found.size_bytes}"
        return Seen(uri, fingerprint, None, found.size_bytes, found.changed_at, self._clock.now())

    @contextlib.contextmanager
    def _asked(self, uri: str | None = None) -> Iterator[None]:
        try:
            yield
        except ObjectRefused as fault:
            raise DocumentUnreadable(
                f"{uri} in source {self.name} cannot be read: {fault.said}.",
                hint="Let the key read it, or exclude it.",
                source=self.name,
                uri=uri,
            ) from fault
        except BucketFailed as fault:
            raise self._unavailable(f"{fault.said}.", fault.hint) from fault
        except Misconfigured as fault:
            raise self._unavailable(fault.message, fault.hint) from fault

    def _unavailable(self, reason: str, hint: str) -> SourceUnavailable:
        return SourceUnavailable(
            f"The bucket {self.location} of source {self.name} cannot be looked at: {reason}",
            hint=f"What is indexed of it stays searchable. {hint}".strip(),
            source=self.name,
        )

    def _gone(self, uri: str, evidence: str) -> DocumentGone:
        return DocumentGone(f"{uri} is not there: {evidence}.", source=self.name, uri=uri)
