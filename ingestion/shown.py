"""Addresses as people may see them. Pure."""

from __future__ import annotations

import re

_USER_IN_ADDRESS = re.compile(r"(?<=://)[^\s/?#'\"]*@")
_SECRET_IN_QUERY = re.compile(r"([?&](?:[\w-]*(?:password|passwd|key|token|secret))=)[^&\s'\"#]+", re.I)


def without_secrets(text: str) -> str:
    """A text whose addresses hold neither user nor password, nor a key in their query."""
    if "://" not in text:
        return text
    return _SECRET_IN_QUERY.sub(r"\1***", _USER_IN_ADDRESS.sub("***@", text))
