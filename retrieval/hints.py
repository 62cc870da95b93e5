"""What may be told of changes that nobody saw: the port between the API and whoever watches."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence

from ingestion.errors import PushRefused, Refusal

PREFIX = "sha256="

Hint = Callable[[str, Sequence[str]], None]
"""Have these places of a source looked at soon: URIs, prefixes that end with '/', or '' for everything."""


class Hinting:
    """Takes hints for these sources. ``secrets``: of those that take signed ones."""

    def __init__(self, names: Sequence[str], hint: Hint, secrets: Mapping[str, bytes]) -> None:
        self._names = names
        self._hint = hint
        self._secrets = secrets

    def hint(self, source: str, places: Sequence[str]) -> None:
        """Raises PushRefused for a source that there is not, and LedgerUnavailable."""
        if source not in self._names:
            raise PushRefused(
                Refusal.SOURCE,
                f"There is no source {source!r}. There are: {', '.join(self._names) or 'none'}.",
                source=source,
            )
        self._hint(source, places)

    def is_signed(self, source: str, body: bytes, signature: str) -> bool:
        """Whether somebody who knows the secret of the source has sent this body: an HMAC with SHA-256, in
        hex behind ``sha256=``, as GitHub and others send it (docs.github.com, "Validating webhook
        deliveries")."""
        secret = self._secrets.get(source)
        if secret is None:
            return False
        made = PREFIX + hmac.new(secret, body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(made.encode(), signature.strip().lower().encode("utf-8", "replace"))
