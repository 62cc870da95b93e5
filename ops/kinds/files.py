"""Files of a folder, watched where the system tells of changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ops.findings import Finding, wrong
from ops.kinds.base import Means, SourceSettings, one_schedule
from ops.schedules import Cron, Every, Schedule
from ops.settings_types import AbsolutePath, Count, CronLine, Seconds, a_folder
from ops.showing import plain

if TYPE_CHECKING:
    from ingestion.sources.files import FilesSource


def _patterns(value: tuple[str, ...]) -> tuple[str, ...]:
    if value:
        from pathspec import GitIgnoreSpec  # only where there are any: 0.02 s

        for pattern in value:
            try:
                GitIgnoreSpec.from_lines([pattern])
            except ValueError as error:
                raise ValueError(f"{pattern!r} is no pattern as in .gitignore.") from error
    return value


Patterns = Annotated[tuple[str, ...], AfterValidator(_patterns)]


class FilesSettings(SourceSettings):
    """The files of a folder and of those below it."""

    kind: Literal["files"] = "files"
    root: Annotated[
        AbsolutePath, AfterValidator(a_folder), Field(description="the folder; it need not be there yet")
    ]
    include: Annotated[Patterns, Field(description="patterns as in .gitignore of what is taken")] = ()
    exclude: Annotated[Patterns, Field(description="patterns of what is left out")] = ()
    scan_every_s: Annotated[Seconds, Field(ge=1, description="seconds between complete scans")] = 300.0
    cron: Annotated[
        CronLine | None, Field(description="when to scan instead, as in a crontab and in UTC: 30 2 * * *")
    ] = None
    max_file_bytes: Annotated[Count, Field(ge=1, description="larger files are skipped")] = 16 * 1024 * 1024

    @property
    def place(self) -> str:
        return str(self.root)

    @property
    def schedule(self) -> Schedule:
        return Every(self.scan_every_s) if self.cron is None else Cron(self.cron)

    @model_validator(mode="after")
    def _one_schedule(self) -> FilesSettings:
        one_schedule(self, "scan_every_s", "cron")
        return self

    def source(self, means: Means) -> FilesSource:
        from ingestion.sources.files import FilesSource

        return FilesSource(
            self.name,
            self.root,
            include=self.include,
            exclude=self.exclude,
            max_file_bytes=self.max_file_bytes,
            clock=means.clock,
        )

    def examined(self) -> Iterator[Finding]:
        from ops import doctor_permissions

        try:
            next(self.root.iterdir(), None)
        except OSError as error:
            yield wrong(
                f"source {self.name}",
                f"{plain(str(self.root))} cannot be listed ({error.strerror}).",
                "Create or mount it, or give read permission.",
            )
        else:
            yield from doctor_permissions.documents(self)
