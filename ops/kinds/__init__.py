"""The kinds of sources there are: a module each, and a line here."""

from __future__ import annotations

import difflib
from typing import Annotated, Any

from pydantic import SerializeAsAny, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import InitErrorDetails, PydanticCustomError

from ops.kinds.base import SourceSettings, word_of
from ops.kinds.feed import FeedSettings
from ops.kinds.files import FilesSettings
from ops.kinds.git import GitSettings
from ops.kinds.objects import ObjectsSettings
from ops.kinds.push import PushSettings
from ops.kinds.sql import SqlSettings
from ops.kinds.web import WebSettings

KINDS: dict[str, type[SourceSettings]] = {
    word_of(kind): kind
    for kind in (
        FilesSettings,
        FeedSettings,
        GitSettings,
        ObjectsSettings,
        PushSettings,
        SqlSettings,
        WebSettings,
    )
}
USUAL = word_of(FilesSettings)


def is_scheduled(word: str) -> bool:
    """Whether sources of this kind are looked at on schedule alone."""
    return word in KINDS and KINDS[word].scheduled


def kind_of(table: Any) -> str | None:
    """Which kind a table of the settings is of, before it is checked; None for one that there is not."""
    word = table.get("kind", USUAL) if isinstance(table, dict) else USUAL
    return word if isinstance(word, str) and word in KINDS else None


def _of_its_kind(table: Any, handler: ValidatorFunctionWrapHandler) -> SourceSettings:
    """The table as settings of the kind that it names."""
    if isinstance(table, SourceSettings):
        return table
    if not isinstance(table, dict):
        return handler(table)  # type: ignore[no-any-return]  # it says what a table is
    kind = kind_of(table)
    if kind is None:
        raise _unknown(table["kind"])
    return KINDS[kind].model_validate(table)


def _unknown(word: Any) -> ValidationError:
    near = difflib.get_close_matches(str(word), KINDS, n=1)
    guess = f" Did you mean {near[0]}?" if near else ""
    about = {"guess": guess, "known": ", ".join(KINDS)}
    error = PydanticCustomError("unknown_kind", "is no kind of sources.{guess} There are: {known}.", about)
    return ValidationError.from_exception_data(
        "source", [InitErrorDetails(type=error, loc=("kind",), input=word)]
    )


AnySource = Annotated[SerializeAsAny[SourceSettings], WrapValidator(_of_its_kind)]
