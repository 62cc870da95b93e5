"""What the sources of one settings file must be to one another, and what they are called.

Works on tables before they are checked one by one, so that a fault here is reported beside the others;
whatever is of the wrong type is passed over for the model to refuse.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ingestion.sources.web.urls import normal
from ops.kinds import USUAL, kind_of
from ops.toml_places import Place

MAX_NAME_CHARACTERS = 64


def with_names(sources: Sequence[Any]) -> list[Any]:
    """The same sources; those of a folder that have no name are called after it, with a number if need be."""
    taken = {source["name"] for source in sources if isinstance(source, dict) and _text(source, "name")}
    named: list[Any] = []
    for source in sources:
        if (
            isinstance(source, dict)
            and "name" not in source
            and ("root" in source or kind_of(source) == USUAL)
        ):
            name = _unique(_slug(Path(source["root"]).name) if _text(source, "root") else "unnamed", taken)
            taken.add(name)
            source = {"name": name, **source}
        named.append(source)
    return named


def without_data(sources: Sequence[Any], data: str) -> list[Any]:
    """The same sources; one whose folder holds the data folder leaves it out.

    Otherwise each write to the data file would be a change of the source, and be written down.
    """
    result: list[Any] = []
    for source in sources:
        inside = _inside(data, source["root"]) if _text(source, "root") else None
        if inside and isinstance(source.get("exclude", ()), list | tuple):
            escaped = re.sub(r"([\\*?\[\]!# ])", r"\\\1", inside)
            source = {**source, "exclude": [*source.get("exclude", ()), f"/{escaped}/"]}
        result.append(source)
    return result


def faults_between(sources: Sequence[Any], data: str) -> Iterator[tuple[Place, str]]:
    """Names used twice, folders given twice or inside one another, the data folder as a source, web pages
    given twice."""
    yield from _pages_given_twice(sources)
    names: dict[str, int] = {}
    for number, source in enumerate(sources):
        if _text(source, "name") and source["name"] in names:
            first = names[source["name"]]
            yield ("sources", number, "name"), f"{source['name']!r} is sources[{first}] already; rename one."
        elif _text(source, "name"):
            names[source["name"]] = number
        if not _text(source, "root"):
            continue
        if data and _inside(data, source["root"]) == "":
            yield ("sources", number, "root"), "is the data folder (daemon.data); move one of the two."
        if not _is_unicode(source["root"]):
            yield ("sources", number, "root"), "is no UTF-8; rename the folder, or give a link to it."
        for earlier in range(number):
            if _text(sources[earlier], "root"):
                yield from _overlap(sources, earlier, number)


def faults_of_canary(folder: str, sources: Sequence[Any], data: str) -> Iterator[tuple[Place, str]]:
    """Its folder among those of users: what it writes there is not to be found."""
    at: Place = ("canary", "folder")
    if _inside(data, folder) == "":
        yield at, "is the data folder (daemon.data); name another, or one in it."
    for number, source in enumerate(sources):
        root = source["root"] if _text(source, "root") else None
        if root and (_inside(folder, root) is not None or _inside(root, folder) is not None):
            yield at, f"and sources[{number}], {root}, hold one another; name a folder outside every source."


def _is_unicode(path: str) -> bool:
    """Bytes that are no UTF-8 arrive as lone surrogates, which neither the ledger nor JSON can hold."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _overlap(sources: Sequence[Any], earlier: int, later: int) -> Iterator[tuple[Place, str]]:
    roots = [sources[earlier]["root"], sources[later]["root"]]
    at: Place = ("sources", later, "root")
    if _inside(roots[1], roots[0]) == "":
        yield at, f"{roots[1]} is sources[{earlier}] already; give it once."
    elif _inside(roots[1], roots[0]) and not _picks(sources[earlier]):
        yield at, _nested(roots[1], roots[0], earlier)
    elif _inside(roots[0], roots[1]) and not _picks(sources[later]):
        yield at, f"{roots[1]} holds sources[{earlier}]: {roots[0]}, which would be indexed twice; " + _CHOICE


def _pages_given_twice(sources: Sequence[Any]) -> Iterator[tuple[Place, str]]:
    """Pages and sitemaps of several sources: what only their sitemaps have in common, the doctor finds."""
    given: dict[str, int] = {}
    for number, source in enumerate(sources):
        for key in ("urls", "sitemaps"):
            urls = source.get(key) if isinstance(source, dict) else None
            for url in urls if isinstance(urls, list | tuple) else ():
                first = given.setdefault(normal(url), number) if isinstance(url, str) else number
                if first != number:
                    what = f"{url} is in sources[{first}] already, and its pages would be found twice"
                    yield ("sources", number, key), f"{what}; leave it out of one of the two."


_CHOICE = "give only the outer folder, or leave the inner one out there with exclude."


def _nested(inner: str, outer: str, number: int) -> str:
    return f"{inner} lies in sources[{number}]: {outer}, and would be indexed twice; " + _CHOICE


def _picks(source: Any) -> bool:
    """Whether a source leaves something out by its own patterns: it may be the other source."""
    return bool(source.get("include") or source.get("exclude"))


def _inside(inner: str, outer: str) -> str | None:
    """The way from ``outer`` down to ``inner`` ('' for the same folder), or None. Links are followed."""
    try:
        way = os.path.relpath(os.path.realpath(inner), os.path.realpath(outer))
    except (OSError, ValueError):
        return None
    if way == os.curdir:
        return ""
    return None if way == os.pardir or way.startswith(os.pardir + os.sep) else way


def _text(source: Any, key: str) -> bool:
    return isinstance(source, dict) and isinstance(source.get(key), str) and bool(source[key].strip())


def _slug(name: str) -> str:
    """Letters and digits of any script, '-', '_' and '.'; starts with a letter or digit."""
    composed = unicodedata.normalize("NFC", name)
    slug = re.sub(r"[^\w.-]+", "-", composed).strip("-_.")
    return slug[:MAX_NAME_CHARACTERS] or "root"


def _unique(name: str, taken: set[str]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        ending = f"-{number}"
        candidate = name[: MAX_NAME_CHARACTERS - len(ending)] + ending
    return candidate
