"""What the settings of ledger, broker and index must be, alone and to one another.

Works on tables before they are checked key by key, as ``ops.settings_embedding`` does. An address may hold a
password: what is wrong with one is said without repeating it, and where it is shown the password is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ops.toml_places import Place

Fault = tuple[Place, str]

LEDGER_SCHEMES = ("postgresql", "postgresql+psycopg")
BROKER_SCHEMES = ("redis", "rediss")
ONLY_WEAVIATE = ("url", "grpc_port", "api_key", "api_key_file", "prefix", "timeout_s")
SECRETS: tuple[Place, ...] = (
    ("ledger", "url"),
    ("broker", "url"),
    ("index", "api_key"),
    ("embedding", "api_key"),
)
SECRET_FILES: tuple[tuple[str, str], ...] = (
    ("ledger", "password_file"),
    ("broker", "password_file"),
    ("index", "api_key_file"),
    ("embedding", "api_key_file"),
    ("api", "keys_file"),
)
_SHARED_BROKER = 'url = "redis://localhost:6379/0"'


def store_fault(url: str, schemes: tuple[str, ...], example: str) -> str | None:
    """What is wrong with the address of a ledger or a broker; None if nothing is. Never repeats it."""
    place = _split(url)
    if place is not None and place.scheme not in schemes:
        return f"begins with something else than {' or '.join(f'{one}://' for one in schemes)}: {example}."
    if place is None or not place.hostname or any(one.isspace() for one in url):
        return f"is no address; write {example}."
    return None


def masked(url: str) -> str:
    """The address for people: without its password and without its query, which may hold another."""
    place = _split(url)
    if place is None or not place.hostname:
        return "an address that cannot be read"
    host = f"[{place.hostname}]" if ":" in place.hostname else place.hostname
    port = f":{place.port}" if place.port else ""
    user = place.username or ""
    secret = ":***" if place.password is not None else ""
    at = "@" if user or secret else ""
    return f"{place.scheme}://{user}{secret}{at}{host}{port}{place.path}"


def has_password(url: str) -> bool:
    place = _split(url)
    return place is not None and place.password is not None


def faults_between_stores(tables: Mapping[str, Any]) -> Iterator[Fault]:
    """What only another choice needs, what contradicts itself, and stores that do not work together."""
    ledger, broker, index = (_table(tables, name) for name in ("ledger", "broker", "index"))
    for name, table in (("ledger", ledger), ("broker", broker)):
        if "password_file" not in table:
            continue
        if "url" not in table:
            yield (name, "password_file"), f"is for an address; set {name}.url, or remove it."
        elif isinstance(table["url"], str) and has_password(table["url"]):
            yield (name, "password_file"), f"is given beside the password in {name}.url; keep one of the two."
    yield from _index_faults(index)
    url = ledger.get("url")
    if not isinstance(url, str) or store_fault(url, LEDGER_SCHEMES, ""):
        return
    if index.get("kind", "embedded") == "embedded":
        yield (
            ("index", "kind"),
            "is embedded, which lies in the SQLite file of daemon.data, and ledger.url names PostgreSQL; set "
            'kind = "weaviate" and index.url, or remove ledger.url.',
        )
    if "url" not in broker:
        yield (
            ("broker", "url"),
            "is missing; processes that share a ledger in PostgreSQL need a broker that they share too: "
            f"{_SHARED_BROKER}.",
        )


def _index_faults(index: Mapping[str, Any]) -> Iterator[Fault]:
    if index.get("kind", "embedded") != "weaviate":
        for key in ONLY_WEAVIATE:
            if key in index:
                yield ("index", key), 'is for Weaviate; remove it, or set index.kind to "weaviate".'
        return
    if "url" not in index:
        yield ("index", "url"), 'is missing; name the server: url = "http://localhost:8080".'
    if "api_key" in index and "api_key_file" in index:
        yield ("index", "api_key_file"), "is given beside index.api_key; keep one of the two."


def _table(tables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = tables.get(name)
    return found if isinstance(found, Mapping) else {}


def _split(url: str) -> SplitResult | None:
    try:
        place = urlsplit(url)
        _ = place.port, place.hostname
    except ValueError:
        return None
    return place
