"""Types of settings that several tables share, and what is said of a value that is none of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from ingestion.objectives import Objective
from ops.schedules import Cron

_NAME = re.compile(r"[^\W_][\w.-]{0,63}")
_USUAL = Objective()


def no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("should be a number, not true or false.")
    return value


def _a_path(value: Path) -> Path:
    if "\0" in str(value):
        raise ValueError("holds a zero byte, which no path may.")
    if not value.is_absolute():
        raise ValueError(f"is no folder that can be found: {str(value)!r}; write the whole path.")
    return value


def a_folder(value: Path) -> Path:
    if value.exists() and not value.is_dir():
        raise ValueError(f"{value} is a file; name the folder that holds it, and the file under include.")
    return value


def a_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f"{value[:80]!r} is no name; use up to 64 letters, digits, '-', '_' and '.'.")
    return value


def _a_schedule(value: str) -> str:
    Cron(value)
    return value


AbsolutePath = Annotated[Path, AfterValidator(_a_path)]
Count = Annotated[int, BeforeValidator(no_bool)]
CronLine = Annotated[str, AfterValidator(_a_schedule)]
Seconds = Annotated[float, BeforeValidator(no_bool), Field(allow_inf_nan=False)]


class Table(BaseModel):
    """A table of the settings, or one of a list of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AdaptiveSettings(Table):
    """A budget of looks, spent where they find the most change."""

    looks_per_hour: Annotated[Count, Field(ge=1, le=1_000_000, description="looks at single documents")]


class ObjectiveSettings(Table):
    """What is promised of a source: this share of its changes searchable, and of its deletions no longer
    found, within so many seconds, over so many days. A share of 1 would leave no budget to watch."""

    share: Annotated[Seconds, Field(gt=0, lt=1)] = _USUAL.share
    within_s: Annotated[Seconds, Field(gt=0)] = _USUAL.within_s
    deletions_within_s: Annotated[Seconds, Field(gt=0)] = _USUAL.deletions_within_s
    over_days: Annotated[Count, Field(ge=1, le=90)] = _USUAL.over_days
