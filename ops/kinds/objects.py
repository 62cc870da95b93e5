"""Objects of a bucket."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from ops.findings import Finding, note
from ops.kinds.base import Means, SourceSettings, one_schedule
from ops.kinds.files import Patterns
from ops.schedules import Cron, Every, Schedule
from ops.secret_file import read_secret
from ops.settings_types import AbsolutePath, Count, CronLine, Seconds

if TYPE_CHECKING:
    from ingestion.sources.objects.source import ObjectsSource

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
_KEY_ID = re.compile(r"[\w+=,.@-]{1,128}")


def _a_bucket(value: str) -> str:
    if not _BUCKET.fullmatch(value):
        raise ValueError(f"{value[:80]!r} is no name of a bucket; folders in it go into prefix.")
    return value


def _an_endpoint(value: str) -> str:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise ValueError("is no address of a server; write https://host:port, without a name or a password.")
    return value


def _a_prefix(value: str) -> str:
    """Ends with '/': what lies beside a folder and begins like it does not belong to it."""
    if any(letter < " " for letter in value) or value.startswith("/"):
        raise ValueError(f"{value[:80]!r} is no folder of a bucket; write it as docs/manual.")
    return f"{value.rstrip('/')}/" if value else ""


def _a_key_id(value: str) -> str:
    if not _KEY_ID.fullmatch(value):
        raise ValueError("is no id of a key; the secret goes into secret_access_key_file.")
    return value


class ObjectsSettings(SourceSettings):
    """The objects of an S3-compatible bucket."""

    scheduled = True

    kind: Literal["objects"] = "objects"
    bucket: Annotated[str, AfterValidator(_a_bucket), Field(description="the bucket")]
    endpoint_url: Annotated[
        str | None,
        AfterValidator(lambda value: None if value is None else _an_endpoint(value)),
        Field(description="where its server is; unset, Amazon's"),
    ] = None
    region: Annotated[str | None, Field(min_length=1, max_length=64, description="its region")] = None
    prefix: Annotated[
        str, AfterValidator(_a_prefix), Field(description="only what lies below this folder")
    ] = ""
    include: Annotated[Patterns, Field(description="patterns as in .gitignore of what is taken")] = ()
    exclude: Annotated[Patterns, Field(description="patterns of what is left out")] = ()
    access_key_id: Annotated[
        str | None,
        AfterValidator(lambda value: None if value is None else _a_key_id(value)),
        Field(description="the id of the access key; unset, AWS_ACCESS_KEY_ID or the machine's role"),
    ] = None
    secret_access_key_file: Annotated[
        AbsolutePath | None, Field(description="a file with the secret of the access key")
    ] = None
    anonymous: Annotated[bool, Field(description="ask without a key: for public buckets")] = False
    allow_http: Annotated[bool, Field(description="let endpoint_url begin with http://")] = False
    every_s: Annotated[Seconds, Field(ge=1, description="seconds between looks at all of them")] = 300.0
    cron: Annotated[
        CronLine | None, Field(description="when to look instead, as in a crontab and in UTC: 30 2 * * *")
    ] = None
    max_document_bytes: Annotated[
        Count, Field(ge=1, le=64 * 1024 * 1024, description="larger objects are skipped")
    ] = 16 * 1024 * 1024

    @model_validator(mode="after")
    def _makes_sense(self) -> ObjectsSettings:
        one_schedule(self, "every_s", "cron")
        if (self.access_key_id is None) != (self.secret_access_key_file is None):
            raise ValueError("has one of access_key_id and secret_access_key_file without the other.")
        if self.anonymous and self.access_key_id is not None:
            raise ValueError("has a key, and is anonymous; leave one of them out.")
        if (self.endpoint_url or "").startswith("http://") and not self.allow_http:
            raise ValueError(
                "has an endpoint_url that begins with http://, which everybody on the way can read and "
                "change; write https://, or allow_http = true."
            )
        return self

    @property
    def place(self) -> str:
        where = "" if self.endpoint_url is None else f" at {self.endpoint_url}"
        return f"s3://{self.bucket}/{self.prefix}{where}"

    @property
    def schedule(self) -> Schedule:
        return Every(self.every_s) if self.cron is None else Cron(self.cron)

    def source(self, means: Means) -> ObjectsSource:
        from ingestion.sources.objects.bucket import Bucket
        from ingestion.sources.objects.source import ObjectsSource

        bucket = Bucket(
            self.bucket,
            endpoint_url=self.endpoint_url,
            region=self.region,
            credentials=None if self.access_key_id is None else self._credentials,
            anonymous=self.anonymous,
        )
        return ObjectsSource(
            self.name,
            bucket,
            location=self.place,
            prefix=self.prefix,
            include=self.include,
            exclude=self.exclude,
            max_document_bytes=self.max_document_bytes,
            clock=means.clock,
        )

    def examined(self) -> Iterator[Finding]:
        yield note(f"source {self.name}", f"is at {self.place}; its listings say whether it answers.")

    def _credentials(self) -> tuple[str, str]:
        assert self.access_key_id is not None and self.secret_access_key_file is not None
        setting = "secret_access_key_file"
        secret = read_secret(self.secret_access_key_file, setting=setting, what="The secret of the key")
        return self.access_key_id, secret
