"""What is wrong with settings, in words that say where and what to do. Secrets are never repeated."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ops.settings_stores import SECRETS
from ops.toml_places import Place

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic.fields import FieldInfo

SHOWN_CHARACTERS = 60

_REMEDIES: dict[tuple[str, ...], str] = {
    ("sources", "root"): 'name the folder: root = "~/notes".',
}


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like this one, if any is much like it."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def described(
    error: ValidationError, model: type[BaseModel], kinds: Mapping[int, str]
) -> Iterator[tuple[Place, str]]:
    """What the model found, one sentence for each place. ``kinds``: that of each source."""
    for detail in error.errors(include_url=False):
        at = detail["loc"]
        if detail["type"] == "extra_forbidden" and at[0] == "sources" and at[1] in kinds:
            yield at, _unknown_of_kind(at[2:], kinds[int(at[1])])
        else:
            yield at, _sentence(detail["type"], at, detail["msg"], detail["input"], model)


def _sentence(kind: str, at: Place, message: str, value: Any, model: type[BaseModel]) -> str:
    keys = tuple(part for part in at if isinstance(part, str))
    if kind == "extra_forbidden":
        return _unknown(keys, model)
    if kind == "unknown_kind":
        return f"{_shown(value)} {message}"
    if kind == "missing":
        return "is missing; " + _REMEDIES.get(keys, "add it.")
    if kind == "literal_error":
        return f"{_shown(value)} is not supported by this version; supported: {message.split('be ', 1)[1]}."
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind == "tuple_type":
        return "should be a list: [...]." + _but(keys, value)
    if kind in ("model_type", "model_attributes_type"):
        return f"should be a table with keys of its own.{_but(keys, value)}"
    return message.replace("Input should", "should", 1) + "." + _but(keys, value)


def _but(keys: tuple[str, ...], value: Any) -> str:
    secret = keys[:1] == ("api",) or keys in (*SECRETS, ("sources", "url"))
    return "" if secret else f" It is {_shown(value)}."


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."


def _unknown(keys: tuple[str, ...], model: type[BaseModel]) -> str:
    tables = {name: list(_fields(info.annotation)) for name, info in model.model_fields.items()}
    key, beside = keys[-1], list(_beside(keys, model))
    elsewhere = [f"{table}.{name}" for table, names in tables.items() for name in names if name == key]
    guess = nearest(key, beside) or next(iter(elsewhere), None)
    if guess:
        return f"is an unknown key; did you mean {guess}?"
    return f"is an unknown key; known here: {', '.join(beside)}."


def _unknown_of_kind(at: Place, kind: str) -> str:
    """Of a source: the key may be one of another kind's."""
    from ops.kinds import KINDS  # which is made of tables that say their faults in these words

    key, model = str(at[-1]), KINDS[kind]
    if len(at) > 1:
        return _unknown(tuple(str(part) for part in at), model)
    if guess := nearest(key, model.model_fields):
        return f"is an unknown key; did you mean {guess}?"
    if others := [other for other, fields in KINDS.items() if key in fields.model_fields]:
        known = ", ".join(model.model_fields)
        return f"is for sources of the kind {' or '.join(others)}; for {kind} there are: {known}."
    return f"is an unknown key; known here: {', '.join(model.model_fields)}."


def _beside(keys: tuple[str, ...], model: type[BaseModel]) -> Iterable[str]:
    """What a key may be called where the last of these stands."""
    fields: Mapping[str, FieldInfo] = model.model_fields
    for name in keys[:-1]:
        fields = _fields(fields[name].annotation) if name in fields else {}
    return fields


def _fields(annotation: Any) -> Mapping[str, FieldInfo]:
    """The keys of a table, or of each table in a list of them."""
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if hasattr(candidate, "model_fields"):
            fields: Mapping[str, FieldInfo] = candidate.model_fields
            return fields
    return {}
