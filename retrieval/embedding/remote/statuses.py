"""What the status of a reply means: an answer, another try, a fault of the settings, a refused text. Pure.

Decided by status and headers alone. Of the body only an error's own short code is shown: the rest may
repeat the key or the text.
"""

from __future__ import annotations

import json
import re
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from ingestion.errors import EmbedderRejected, EmbedderUnavailable
from retrieval.embedding.remote.faults import Doubtful, Failing, Passing
from retrieval.embedding.remote.transport import Reply

LONGEST_WAIT_S = 3600.0  # a date in the next century is somebody's mistake

_REFUSED_TEXT = (400, 413, 422)
_PASSING = (408, 425, 429)
_CODE = re.compile(r"[a-z][a-z_]{2,40}")


def check(reply: Reply, url: str, now: float) -> None:
    """Return for an answer. Raises Passing, Doubtful, EmbedderUnavailable or EmbedderRejected otherwise."""
    status, code = reply.status, _code(reply)
    said = f"{status}, {code}" if code else str(status)
    if status == 200:
        return
    if status in _PASSING or status >= 500:
        after_s = retry_after_s(reply, now)
        failing = status >= 500 and after_s is None
        raise (Failing if failing else Passing)(
            f"The embedding endpoint {url} {_busy(status)} ({said}).",
            hint="It is tried again. If it stays so, lower embedding.concurrency."
            if status == 429
            else "It is tried again; its own log says more.",
            after_s=after_s,
            for_all=status == 429 or after_s is not None,
        )
    if status in (401, 403):
        raise (EmbedderUnavailable if status == 401 else Doubtful)(  # 403: a firewall's word for a text, too
            f"The embedding endpoint {url} refused the key ({said}).", hint="Check embedding.api_key."
        )
    if status in _REFUSED_TEXT:
        raise EmbedderRejected(
            f"The embedding endpoint refused the text ({said}).",
            hint="The document keeps its last revision; change it, exclude it, or lower "
            "embedding.max_characters if the text is too long for the model.",
        )
    if 300 <= status < 400:
        raise EmbedderUnavailable(
            f"The embedding endpoint {url} redirects to {_host(reply)}. That is not followed, as the key "
            "would be sent there.",
            hint="If that is where it should go, set embedding.url to it.",
        )
    raise EmbedderUnavailable(
        f"The embedding endpoint {url} does not take this request ({said}).",
        hint="Check embedding.url, embedding.model and embedding.runtime.",
    )


def retry_after_s(reply: Reply, now: float) -> float | None:
    """Seconds that ``Retry-After`` asks for (RFC 9110, 10.2.3), at most LONGEST_WAIT_S; None without one.

    A date counts from the reply's own ``Date``, where it has one: the two clocks may differ.
    """
    given = reply.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", given):
        return min(float(given), LONGEST_WAIT_S)
    until = _moment(given)
    if until is None:
        return None
    since = _moment(reply.headers.get("date", ""))
    return min(max(0.0, until - (now if since is None else since)), LONGEST_WAIT_S)


def _busy(status: int) -> str:
    return "is over its limit" if status == 429 else "cannot answer now"


def _moment(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _host(reply: Reply) -> str:
    """Where a redirect points, without path and query, in which secrets travel."""
    try:
        place = urlsplit(reply.headers.get("location", ""))
        host = place.hostname or ""
    except ValueError:
        host = ""
    return f"{place.scheme}://{host}"[:100] if host else "another path"


def _code(reply: Reply) -> str:
    """The error's code, where it is one word: ``context_length_exceeded``."""
    try:
        error = json.loads(reply.body)["error"]
        code = error.get("code") or error.get("type")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ""
    return code if isinstance(code, str) and _CODE.fullmatch(code) else ""
