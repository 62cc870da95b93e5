"""What the settings of the embedder must be to one another.

Works on the table before it is checked key by key, so that a fault here is reported beside the others;
whatever is of the wrong type is passed over for the model to refuse. Keys are never repeated.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ops.toml_places import Place

REMOTE = ("openai", "cohere")
MOST_TEXTS = {"openai": 2048, "cohere": 96}
MAX_CHARACTERS = 1200
ONLY_REMOTE = (
    "url",
    "api_key",
    "api_key_file",
    "dimensions",
    "max_characters",
    "query_prompt",
    "document_prompt",
    "concurrency",
    "batch_texts",
    "batch_tokens",
    "timeout_s",
    "price_per_million_tokens",
)
_CHOICE = " or ".join(REMOTE)
_ADDRESSES = {"openai": "http://localhost:8000/v1", "cohere": "https://api.cohere.com"}
_MODELS = {"openai": "text-embedding-3-small", "cohere": "embed-v4.0"}


def faults_within(embedding: Any) -> Iterator[tuple[Place, str]]:
    """What is missing for an endpoint, what only an endpoint needs, and what contradicts itself."""
    if not isinstance(embedding, dict):
        return
    runtime, precision = embedding.get("runtime", "auto"), embedding.get("precision", "float")
    if precision == "int8" and runtime in ("sentence-transformers", *REMOTE):
        yield _at("precision"), f"is for openvino; remove it, or embedding.runtime, which is {runtime}."
    if runtime not in REMOTE:
        if str(embedding.get("model", "")).split("-")[0] == "hashing":
            for key, usual in (("runtime", "auto"), ("precision", "float")):
                if embedding.get(key, usual) != usual:
                    yield _at(key), "is for a model, and hashing is none; remove it, or set embedding.model."
        for key in ONLY_REMOTE:
            if key in embedding:
                yield _at(key), f"is for an endpoint; remove it, or set embedding.runtime to {_CHOICE}."
        return
    if "url" not in embedding:
        yield _at("url"), f'is missing; name the endpoint: url = "{_ADDRESSES[runtime]}".'
    if "model" not in embedding:
        yield _at("model"), f'is missing; name the endpoint\'s model: model = "{_MODELS[runtime]}".'
    if "api_key" in embedding and "api_key_file" in embedding:
        yield _at("api_key_file"), "is given beside embedding.api_key; keep one of the two."
    yield from _prompt_faults(embedding)
    texts = embedding.get("batch_texts")
    if isinstance(texts, int) and texts > MOST_TEXTS[runtime]:
        yield _at("batch_texts"), f"should be at most {MOST_TEXTS[runtime]} with {runtime}. It is {texts}."


def _prompt_faults(embedding: dict[str, Any]) -> Iterator[tuple[Place, str]]:
    """Prompts that leave less room for texts than they take."""
    longest = embedding.get("max_characters", MAX_CHARACTERS)
    if isinstance(longest, str) and longest.isdecimal():  # as the environment has it
        longest = int(longest)
    for key in ("query_prompt", "document_prompt"):
        prompt = embedding.get(key)
        if isinstance(prompt, str) and isinstance(longest, int) and len(prompt) > longest // 2:
            yield (
                _at(key),
                f"is longer than half of embedding.max_characters, within which it counts: {len(prompt)} "
                f"characters of {longest}. Shorten it, or raise that.",
            )


def an_address(value: str) -> str:
    """The address of an endpoint. Raises ValueError, which never shows what may be a secret."""
    try:
        place = urlsplit(value)
        host, _ = place.hostname, place.port
    except ValueError:
        raise ValueError("is no address; write http://HOST:PORT/v1 or the like.") from None
    if place.username is not None or place.password is not None:
        raise ValueError("holds a user or a password; put the key into embedding.api_key.")
    if place.query or place.fragment:
        raise ValueError("holds a query or a fragment; leave out what follows '?' or '#'.")
    if place.scheme not in ("http", "https") or not host or any(one.isspace() for one in value):
        raise ValueError("is no address; write http://HOST:PORT/v1 or the like.")
    if not _is_host(host):
        raise ValueError("names a host that cannot be; its parts have 1 to 63 letters, digits and hyphens.")
    return value


def host_of(url: str) -> str:
    """Scheme, host and port of an address: who gets the key.

    >>> host_of("https://Example.org/v1/") == host_of("https://example.org:443")
    True
    """
    place = urlsplit(url)
    port = place.port or (443 if place.scheme == "https" else 80)
    return f"{place.scheme}://{place.hostname}:{port}"


def _is_host(host: str) -> bool:
    """Whether it can be looked up: a part that is empty or too long is refused before any lookup."""
    if ":" in host:  # IPv6; urlsplit has read it
        return True
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return all(host.removesuffix(".").split("."))


def leaves_in_the_open(url: str) -> bool:
    """Whether what is sent there leaves this machine unencrypted."""
    place = urlsplit(url)
    host = (place.hostname or "").removesuffix(".")
    if place.scheme == "https" or host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


def key_fault(key: str) -> str | None:
    """What keeps a key from being sent in a header; None if nothing does."""
    if not key:
        return "is empty; put the key there."
    if not all("!" <= one <= "~" for one in key):
        return "holds a character that no key has (white space, or beyond ASCII); copy the key again."
    return None


def is_file(path: Path) -> bool:
    """Whether there is one; what no path can be is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _at(key: str) -> Place:
    return ("embedding", key)
