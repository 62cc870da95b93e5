"""What a bucket is asked, in our words. Keys are taken as they are: none is tidied on its way.

The client keeps to what it is given here: no files of settings or credentials in the user's home.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

CONNECTIONS = 10
CONNECT_S = 10.0
READ_S = 30.0
TRIES = 3
PAGE = 1000  # keys; no server gives more
_ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})
_SERVER_FAULT = 500
_ARCHIVED = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_CLOCK = "Set the clock of this machine (headwater doctor)."
_KEYS = "Correct access_key_id and secret_access_key_file, or the variables AWS_ACCESS_KEY_ID and so on."
_HINTS = {
    "AccessDenied": "Let this key list the bucket and read its objects.",
    "403": "Let this key list the bucket and read its objects.",
    "AuthorizationHeaderMalformed": "Correct region.",
    "ExpiredToken": _KEYS,
    "IllegalLocationConstraintException": "Correct region.",
    "InvalidAccessKeyId": _KEYS,
    "InvalidToken": _KEYS,
    "NoSuchBucket": "Correct bucket, or make it.",
    "PermanentRedirect": "Correct region.",
    "RequestExpired": _CLOCK,
    "RequestTimeTooSkewed": _CLOCK,
    "SignatureDoesNotMatch": _KEYS,
}
_HINTS_BY_TYPE = {
    "EndpointConnectionError": "Correct endpoint_url, or start its server.",
    "NoCredentialsError": _KEYS,
    "SSLError": "Correct endpoint_url; an authority of your own is named by AWS_CA_BUNDLE.",
}

Credentials = Callable[[], tuple[str, str]]
"""Reads key and secret. May raise Misconfigured."""


class BucketFailed(Exception):
    """``said``: why, for people, without a secret."""

    def __init__(self, said: str, hint: str = "") -> None:
        super().__init__(said)
        self.said = said
        self.hint = hint


class ObjectRefused(Exception):
    """One object is refused, in a bucket that answers. ``said``: why."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


class TooMuch(Exception):
    """An object has more bytes than are to be read."""

    def __init__(self, found: Object) -> None:
        super().__init__(found.key)
        self.found = found


@dataclass(frozen=True, slots=True)
class Object:
    """``changed_at``: to the second, as a look at one object tells it. ``archived``: it cannot
    be read where it is."""

    key: str
    etag: str
    size_bytes: int
    changed_at: float
    archived: bool


class Bucket:
    """Safe to call from several threads. Every method raises BucketFailed."""

    def __init__(
        self,
        name: str,
        *,
        endpoint_url: str | None,
        region: str | None,
        credentials: Credentials | None,
        anonymous: bool,
    ) -> None:
        """``credentials`` None: those of the environment or of the machine's role, unless anonymous."""
        self._name = name
        self._endpoint_url = endpoint_url
        self._region = region
        self._credentials = credentials
        self._anonymous = anonymous
        self._turn = threading.Lock()
        self._client: Any = None

    def objects(self, prefix: str, *, most: int | None = None) -> Iterator[Object]:
        """Every object whose key begins like that, or at least the first so many; folders' marks, too.

        What was given before it raises is no listing.
        """
        following: str | None = None
        while True:
            more = {} if following is None else {"ContinuationToken": following}
            asked = {"Prefix": prefix, "MaxKeys": min(most or PAGE, PAGE)}
            with self._asking() as client:
                page = client.list_objects_v2(Bucket=self._name, **asked, **more)
                if "IsTruncated" not in page:  # of something that stands before it: no empty bucket
                    raise BucketFailed("its answer is no listing")
                found = [_of_listing(one) for one in page.get("Contents", ())]
            yield from found
            if most is not None or not page.get("IsTruncated"):
                return
            before, following = following, page.get("NextContinuationToken")
            if not following or following == before:
                raise BucketFailed("its listing breaks off: it says that there is more, and not where")

    def look(self, key: str) -> Object | None:
        """None where there is none: a listing says so, too. Raises ObjectRefused."""
        if _may_be_mistaken(key):
            return self._listed(key)
        with self._asking() as client:
            try:
                return _of_answer(key, client.head_object(Bucket=self._name, Key=key))
            except _refusals() as error:
                refusal = error
        self._refused(key, refusal)
        return None

    def read(self, key: str, most_bytes: int) -> tuple[Object, bytes] | None:
        """One version, whole; None where there is none. Raises TooMuch and ObjectRefused."""
        if _may_be_mistaken(key):
            listed = self._listed(key)
            return None if listed is None else self._read(key, most_bytes, IfMatch=f'"{listed.etag}"')
        return self._read(key, most_bytes)

    def _read(self, key: str, most_bytes: int, **condition: str) -> tuple[Object, bytes] | None:
        with self._asking() as client:
            try:
                answer = client.get_object(Bucket=self._name, Key=key, **condition)
            except _refusals() as error:
                refusal = error
            else:
                with contextlib.closing(answer["Body"]) as body:
                    found = _of_answer(key, answer)
                    if found.size_bytes > most_bytes:
                        raise TooMuch(found)
                    return found, body.read()
        self._refused(key, refusal)
        return None

    def _refused(self, key: str, refusal: Exception) -> None:
        """What a listing says of it. An object that is missing and a bucket that is missing give one answer,
        and so do one that is forbidden and a key that is not known."""
        if self._listed(key) is not None:
            raise ObjectRefused(_told(refusal))
        if _code(refusal) not in _ABSENT:
            raise BucketFailed(_told(refusal), _hint(refusal))

    def _listed(self, key: str) -> Object | None:
        return next((one for one in self.objects(key, most=1) if one.key == key), None)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Any]:
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            yield self._connected()
        except ClientError as error:
            with self._turn:
                self._client = None  # its secret may be another by now
            raise BucketFailed(_told(error), _hint(error)) from None
        except BotoCoreError as error:
            hint = _HINTS_BY_TYPE.get(type(error).__name__, "")
            raise BucketFailed(str(error)[:300].removesuffix("."), hint) from None
        except (ResponseParserError, ValueError, KeyError) as error:
            raise BucketFailed(f"its answer is not that of such a server ({_first_line(error)})") from None

    def _connected(self) -> Any:
        with self._turn:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> Any:
        import botocore.session
        from botocore import UNSIGNED
        from botocore.config import Config

        session = botocore.session.Session()
        session.register_component("data_loader", _loader())
        session.set_config_variable("config_file", os.devnull)
        session.set_config_variable("credentials_file", os.devnull)
        given: Mapping[str, str] = {}
        if self._credentials is not None:
            key, secret = self._credentials()
            given = {"aws_access_key_id": key, "aws_secret_access_key": secret}
        config = Config(
            region_name=self._region or os.environ.get("AWS_REGION"),
            signature_version=UNSIGNED if self._anonymous else None,
            connect_timeout=CONNECT_S,
            read_timeout=READ_S,
            max_pool_connections=CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": TRIES},
            s3={"addressing_style": "virtual" if self._endpoint_url is None else "path"},
            # Not every server knows the checksums of the one that the client is made for.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            user_agent_extra="headwater",
        )
        return session.create_client("s3", endpoint_url=self._endpoint_url, config=config, **given)


@functools.cache
def _loader() -> Any:
    """Of descriptions of the service, which take a while to read; one for all."""
    from botocore.loaders import create_loader

    return create_loader()


def _refusals() -> type[Exception]:
    from botocore.exceptions import ClientError

    refusals: type[Exception] = ClientError
    return refusals


def _may_be_mistaken(key: str) -> bool:
    """Whether some servers take it for the key of another object, as those do that keep objects as files."""
    return any(part in ("", ".", "..") for part in key.split("/"))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')[:200]}"


def _told(error: Any) -> str:
    said = str(error.response.get("Error", {}).get("Message") or "it is refused")
    return f"{said[:200].removesuffix('.')} ({_code(error)})"


def _hint(error: Any) -> str:
    at_fault = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= _SERVER_FAULT
    return _HINTS.get(_code(error), "" if at_fault else f"Check endpoint_url, region and bucket. {_KEYS}")


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def _of_listing(told: Mapping[str, Any]) -> Object:
    return _object(told["Key"], told, told["Size"])


def _of_answer(key: str, told: Mapping[str, Any]) -> Object:
    return _object(key, told, told["ContentLength"])


def _object(key: str, told: Mapping[str, Any], size_bytes: int) -> Object:
    modified: datetime.datetime = told["LastModified"]
    archived = told.get("StorageClass") in _ARCHIVED
    return Object(key, told.get("ETag", "").strip('"'), size_bytes, modified.timestamp() // 1, archived)
