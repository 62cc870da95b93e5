"""Rows of a database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from ops.findings import Finding, ok, wrong
from ops.kinds.base import Means, SourceSettings, one_schedule
from ops.schedules import Cron, Every, Schedule
from ops.secret_file import read_secret
from ops.settings_stores import has_password, masked
from ops.settings_types import AbsolutePath, Count, CronLine, Seconds
from ops.showing import plain

if TYPE_CHECKING:
    import sqlalchemy as sa

    from ingestion.sources.sql.database import RowDatabase
    from ingestion.sources.sql.source import SqlSource

_QUERIES = ("select", "with", "values", "table", "(")


def _a_database(value: SecretStr) -> SecretStr:
    fault = _url_fault(value.get_secret_value())
    if fault:
        raise ValueError(fault)
    return value


def _url_fault(value: str) -> str | None:
    """What is wrong with an address; never repeats it."""
    import sqlalchemy as sa  # only where there is such a source

    try:
        url = sa.make_url(value)
        if url.get_backend_name() == "postgres":
            url = url.set(drivername="postgresql")
        if url.get_backend_name() == "postgresql":
            return None
        dialect = url.get_dialect()
    except sa.exc.NoSuchModuleError:
        return "begins with a database or driver that SQLAlchemy does not know."
    except (sa.exc.ArgumentError, ValueError):
        return "is no address; write postgresql://USER@HOST:5432/DATABASE or sqlite:////FILE."
    try:
        dialect.import_dbapi()
    except ImportError as error:
        missing = f"the driver {error.name}" if error.name else "its driver"
        return f"needs {missing}, which is not installed beside Headwater."
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_absolute():
        return "names no whole path; write sqlite:////var/lib/shop.db, with four slashes."
    return None


def _a_query(value: str) -> str:
    if not value.strip().lower().startswith(_QUERIES):
        raise ValueError("should be a SELECT.")
    if "\0" in value:
        raise ValueError("holds a zero byte.")
    return value


def _a_template(value: str) -> str:
    from ingestion.sources.sql.texts import Template

    Template(value)  # its faults are ValueErrors
    return value


def _columns(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or not all(one.strip() for one in value):
        raise ValueError('should name the columns that tell rows apart: ["id"].')
    if len(set(value)) < len(value):
        raise ValueError("names a column twice.")
    return value


class SqlSettings(SourceSettings):
    """Rows of a database: what a query returns, a document each."""

    scheduled = True

    kind: Literal["sql"] = "sql"
    url: Annotated[
        SecretStr,
        AfterValidator(_a_database),
        Field(description="the database, as SQLAlchemy writes it: postgresql://USER@HOST/DATABASE"),
    ]
    password_file: Annotated[
        AbsolutePath | None, Field(description="a file that holds its password and nothing else")
    ] = None
    query: Annotated[str, AfterValidator(_a_query), Field(description="a SELECT; each row is a document")]
    key: Annotated[
        tuple[str, ...], AfterValidator(_columns), Field(description="the columns that tell rows apart")
    ]
    changed: Annotated[
        str | None, Field(description="a column with a later time, or a larger number, after each change")
    ] = None
    overlap_s: Annotated[
        Seconds, Field(ge=0, description="seconds that a commit may come after its time in that column")
    ] = 60.0
    overlap: Annotated[
        Count, Field(ge=0, description="the same where it is a number: how far behind one may come")
    ] = 1000
    text: Annotated[
        str | None,
        AfterValidator(lambda value: value if value is None else _a_template(value)),
        Field(description="what the document says: # {name}; else all columns, a line each"),
    ] = None
    media_type: Annotated[str, Field(min_length=1, description="how the text is read")] = "text/markdown"
    every_s: Annotated[
        Seconds, Field(ge=0.5, description="seconds between questions for changes, where it can be asked")
    ] = 10.0
    list_every_s: Annotated[
        Seconds, Field(ge=1, description="seconds between complete listings, which find deletions")
    ] = 900.0
    cron: Annotated[
        CronLine | None, Field(description="when to list instead, as in a crontab and in UTC: 30 2 * * *")
    ] = None
    statement_timeout_s: Annotated[
        Seconds, Field(gt=0, le=3600, description="what a statement, or a part of a long answer, may take")
    ] = 60.0
    max_document_bytes: Annotated[
        Count, Field(ge=1, le=64 * 1024 * 1024, description="larger documents are skipped")
    ] = 16 * 1024 * 1024

    @model_validator(mode="after")
    def _makes_sense(self) -> SqlSettings:
        one_schedule(self, "list_every_s", "cron")
        if self.password_file is not None and has_password(self.url.get_secret_value()):
            raise ValueError("has a password in url and a password_file; keep one of the two.")
        return self

    @property
    def place(self) -> str:
        address = self.url.get_secret_value()
        return address if address.startswith("sqlite") else masked(address)

    @property
    def schedule(self) -> Schedule:
        return Every(self.list_every_s) if self.cron is None else Cron(self.cron)

    def database_url(self) -> sa.URL:
        """With its password. Raises Misconfigured where that cannot be read."""
        import sqlalchemy as sa

        url = sa.make_url(self.url.get_secret_value())
        if url.get_backend_name() in ("postgres", "postgresql"):
            url = url.set(drivername="postgresql+psycopg")
        if self.password_file is None:
            return url
        setting = f"password_file of the source {self.name}"
        return url.set(password=read_secret(self.password_file, setting=setting, what="The password"))

    def database(self) -> RowDatabase:
        from ingestion.sources.sql.database import RowDatabase

        return RowDatabase(
            self.database_url(), source=self.name, statement_timeout_s=self.statement_timeout_s
        )

    def source(self, means: Means) -> SqlSource:
        from ingestion.sources.sql.asking import Asking
        from ingestion.sources.sql.keys import KeyUris
        from ingestion.sources.sql.outbox import Outbox
        from ingestion.sources.sql.rows import Maker
        from ingestion.sources.sql.source import SqlSource
        from ingestion.sources.sql.statements import Statements
        from ingestion.sources.sql.table import Table
        from ingestion.sources.sql.texts import Template

        database = self.database()
        uris = KeyUris(self.key, dynamic=database.kind == "sqlite")
        statements = Statements(self.query, self.key, self.changed)
        maker = Maker(
            self.name,
            uris,
            query=self.query,
            key=self.key,
            changed=self.changed,
            template=None if self.text is None else Template(self.text),
            media_type=self.media_type,
            max_document_bytes=self.max_document_bytes,
        )
        table = Table(
            self.name,
            database,
            statements,
            uris,
            maker,
            means.ledger.kept,
            means.clock,
            has_changes=self.changed is not None,
        )
        asking = Asking(
            table,
            Outbox(database.url, self.name) if database.kind == "postgresql" else None,
            overlap_s=self.overlap_s,
            overlap=self.overlap,
            every_s=self.every_s,
        )
        return SqlSource(table, asking, location=self.place)

    def examined(self) -> Iterator[Finding]:
        from ingestion.errors import HeadwaterError

        about = f"source {self.name}"
        try:
            columns = self._columns_of_query()
        except HeadwaterError as error:
            yield wrong(about, error.message, error.hint)
        else:
            yield ok(about, f"{plain(self.place)} answers; its columns: {plain(', '.join(columns))}")

    def _columns_of_query(self) -> list[str]:
        from ingestion.sources.sql.database import names_of
        from ingestion.sources.sql.statements import Statements

        database = self.database()
        try:
            with database.reading() as connection, database.timed(connection):
                statement = Statements(self.query, self.key, self.changed).nothing()
                return names_of(connection.execute(statement))
        finally:
            database.close()
