"""What every kind of sources has in common: its settings say what it is, and make the source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, model_validator

from ingestion.own import is_own
from ops.findings import Finding
from ops.schedules import Schedule
from ops.settings_types import AbsolutePath, ObjectiveSettings, Table, a_name

if TYPE_CHECKING:
    from ingestion.clock import Clock
    from ingestion.ledger.ledger import Ledger
    from ingestion.sources.port import SourcePort


SCHEDULES = ("every_s", "scan_every_s", "cron")


def _a_source(value: str) -> str:
    if is_own(value):
        raise ValueError(
            f"{value[:80]!r} begins as the canary's own sources do; begin with a letter or digit."
        )
    return a_name(value)


@dataclass(frozen=True, slots=True)
class Means:
    """What a source may need of its process. ``data``: the data folder, for what can be made again."""

    clock: Clock
    ledger: Ledger
    data: Path


class SourceSettings(Table):
    """A source. Each kind is a class of its own, whose ``kind`` is a literal of one word with that word as
    its default; the docstring's first paragraph and the descriptions of its fields are what ``headwater
    sources`` shows."""

    scheduled: ClassVar[bool] = False
    """Whether its place is looked at on schedule alone: then it is not blind between two looks."""

    name: Annotated[str, AfterValidator(_a_source), Field(description="what it is called")]
    kind: Annotated[str, Field(description="what sort of place it is")]
    hint_secret_file: Annotated[
        AbsolutePath | None, Field(description="a file with the secret that hints are signed with")
    ] = None
    objective: Annotated[ObjectiveSettings, Field(description="what is promised of it")] = Field(
        default_factory=ObjectiveSettings
    )

    @model_validator(mode="before")
    @classmethod
    def _adaptive_where_it_can_be(cls, table: Any) -> Any:
        if isinstance(table, dict) and "adaptive" in table and "adaptive" not in cls.model_fields:
            known = [name for name in SCHEDULES if name in cls.model_fields]
            schedules = f"the schedules of this kind are {' and '.join(known)}" if known else "it needs none"
            raise ValueError(f"cannot be adaptive: its documents are not looked at one by one; {schedules}.")
        return table

    @property
    def looks_per_hour(self) -> int | None:
        """The budget of one that is adaptive."""
        return None

    @property
    def place(self) -> str:
        """As shown to users: what its source gives as its location."""
        raise NotImplementedError

    @property
    def schedule(self) -> Schedule:
        """When it is listed as a whole, besides at a start and when somebody asks."""
        raise NotImplementedError

    def source(self, means: Means) -> SourcePort:
        """Opens nothing. What it imports beyond the settings it imports here: every command reads these."""
        raise NotImplementedError

    def examined(self) -> Iterator[Finding]:
        """What ``headwater doctor`` says of the place. Changes nothing."""
        raise NotImplementedError


def one_schedule(source: SourceSettings, *names: str) -> None:
    """Raises ValueError where more than one of these settings says when it is looked at."""
    given = [name for name in names if name in source.model_fields_set and getattr(source, name) is not None]
    if len(given) > 1:
        raise ValueError(f"has both {given[0]} and {given[1]}; leave one of them out.")


def word_of(kind: type[SourceSettings]) -> str:
    """What a kind is called in the settings."""
    word: str = kind.model_fields["kind"].default
    return word
