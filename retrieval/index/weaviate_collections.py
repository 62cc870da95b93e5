"""What a collection of Weaviate's must be to hold an edition: its name, its shape, and the record in it.

Everything that decides what a search finds is written down here and compared at every start, so that no
default of the server, of this release or the next, decides anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ingestion.errors import Misconfigured

LAYOUT = 1  # of the properties; another one is another shape
OLDEST_SERVER = (1, 33)  # the first with 8-bit rotational quantisation for good

# By Cranfield, where the embedded index's 1.2 and 0.75 rank worse: Weaviate counts common words, too.
BM25_K1, BM25_B = 1.5, 0.6

# Up to so many chunks a filtered search compares all of them, exactly, instead of walking the graph.
COMPARED_ONE_BY_ONE = 40_000
# At least so many of the nearest are compared in float32: quantised distances only choose the candidates.
RESCORED = 20

_PREFIX = re.compile(r"[A-Z][A-Za-z0-9]{0,62}")
_EDITION = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def checked_prefix(prefix: str) -> str:
    """Raises Misconfigured. Without "_" in it, a prefix ends where the first "_" of a name is."""
    if not _PREFIX.fullmatch(prefix):
        raise Misconfigured(
            f"{prefix!r} cannot begin the names of collections.",
            hint="index.prefix is a capital letter and then letters and digits.",
        )
    return prefix


def collection_name(prefix: str, edition: str) -> str | None:
    """The edition's collection; None if no edition can be called that.

    Names may hold letters, digits and "_" only, and Weaviate takes two that differ in case for one: "_" is
    doubled and "-" becomes "_m", so that two editions never share a name.
    """
    if not _EDITION.fullmatch(edition):
        return None
    return f"{prefix}_{edition.replace('_', '__').replace('-', '_m')}"


def collection_schema(
    name: str, edition: str, dimensions: int, ledger_id: str | None = None
) -> dict[str, Any]:
    """The collection as Weaviate's REST interface takes it; ``ledger_id``: whose it is.

    Vectors are of length one, so the dot product is the cosine; with "cosine" Weaviate would hold them
    normalised once more, not as they were given. ``words`` is what is searched by words: the stems of heading
    and text (``retrieval.index.words``), because Weaviate has no stemming.
    """
    return {
        "class": name,
        "description": _record(edition, dimensions, ledger_id),
        "vectorizer": "none",
        "vectorIndexType": "hnsw",
        "vectorIndexConfig": {
            "distance": "dot",
            "rq": {"enabled": True, "bits": 8, "rescoreLimit": RESCORED},
            "maxConnections": 32,
            "efConstruction": 128,
            "ef": -1,
            "dynamicEfMin": 100,
            "dynamicEfMax": 500,
            "dynamicEfFactor": 2,
            "flatSearchCutoff": COMPARED_ONE_BY_ONE,
        },
        "invertedIndexConfig": {
            "bm25": {"k1": BM25_K1, "b": BM25_B},
            "stopwords": {"preset": "none"},
        },
        "replicationConfig": {"factor": 1},
        "properties": [
            _text("words", "whitespace", searchable=True),
            _text("source", "field", filterable=True),
            _text("digest", "field", filterable=True),
            _text("heading", "field"),
            _text("text", "field"),
        ],
    }


def recorded_dimensions(found: Mapping[str, Any]) -> int | None:
    """The length of its vectors; None if the collection is none of ours. Weaviate itself keeps it with
    the first vector only."""
    record = _recorded(found)
    try:
        return int(record["dimensions"]) if record["layout"] == LAYOUT else None
    except (ValueError, KeyError, TypeError):
        return None


def recorded_ledger(found: Mapping[str, Any]) -> str | None:
    """The id of the ledger that it belongs to; None where it says nothing of that."""
    ledger_id = _recorded(found).get("ledger")
    return ledger_id if isinstance(ledger_id, str) else None


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Where what was found is not what is wanted, as sentences; what only the server says is its own."""
    return [f"{where} is {is_!r} instead of {should!r}" for where, should, is_ in _differ(wanted, found)]


def _differ(wanted: Any, found: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        for key, value in wanted.items():
            yield from _differ(value, found.get(key), f"{where}.{key}".lstrip("."))
    elif where == "properties" and isinstance(found, list):
        yield from _differ(_by_name(wanted), _by_name(found), "properties of")
    elif wanted != found:
        yield where, wanted, found


def _by_name(properties: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in properties}


def _record(edition: str, dimensions: int, ledger_id: str | None) -> str:
    record = {"layout": LAYOUT, "edition": edition, "dimensions": dimensions}
    return json.dumps({"headwater": record if ledger_id is None else {**record, "ledger": ledger_id}})


def _recorded(found: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        record = json.loads(found.get("description") or "")["headwater"]
    except (ValueError, KeyError, TypeError):
        return {}
    return record if isinstance(record, dict) else {}


def _text(name: str, tokenization: str, *, filterable: bool = False, searchable: bool = False) -> Any:
    return {
        "name": name,
        "dataType": ["text"],
        "tokenization": tokenization,
        "indexFilterable": filterable,
        "indexSearchable": searchable,
        "indexRangeFilters": False,
    }
