"""Brings a database to the ledger's schema, or says why that cannot be.

Alembic is imported only when there is something to migrate: it costs a quarter of a second, and every
``headwater status`` passes here.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from ingestion import postgres
from ingestion.database import Database
from ingestion.errors import DataCorrupt, DataNewer

MIGRATIONS = Path(__file__).parent / "migrations"


def known_revisions() -> list[str]:
    """Revision ids in order, read off the file names (``0001_first.py``)."""
    return sorted(path.stem.split("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def current_revision(database: Database) -> str | None:
    """The revision a database stands at; None for an empty one. Raises DataCorrupt for one not ours."""
    with database.read() as connection:
        return _revision(database, connection)


def ensure(database: Database) -> str:
    """Migrate to the newest known revision, and return that: any number of processes may do so at once.

    Raises DataNewer for a database from a newer version, DataCorrupt for one that is not ours, and
    Misconfigured for a server or database that cannot hold a ledger.
    """
    with database.read() as connection:
        if database.on_server:
            postgres.examine(connection)
        behind = _is_behind(database, connection)
    if behind:
        _migrate(database)
    return known_revisions()[-1]


def require(database: Database, revision: str) -> None:
    """Raises DataNewer where the database was migrated since it was opened at ``revision``."""
    current = current_revision(database)
    if current is not None and current != revision:
        raise DataNewer(
            f"A newer version of Headwater has migrated {database.path or database.description} (schema "
            f"{current}) while this process, which knows up to {revision}, was running. It ends: another "
            "one goes on with whatever it had in hand.",
            hint="Start it again with the newer version.",
        )


def _migrate(database: Database) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with database.write() as connection:
        if not _is_behind(database, connection):
            return  # another process was first
        if database.on_server:
            postgres.without_limit(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _is_behind(database: Database, connection: sa.Connection) -> bool:
    revisions = known_revisions()
    current = _revision(database, connection)
    if current is not None and current not in revisions:
        raise DataNewer(
            f"The data in {database.path or database.description} was made by a newer version of Headwater "
            f"(schema {current}; this version knows up to {revisions[-1]}). Nothing was changed.",
            hint=f"Run that newer version, or use another {_place(database)}.",
        )
    return current != revisions[-1]


def _revision(database: Database, connection: sa.Connection) -> str | None:
    tables = sa.inspect(connection).get_table_names()
    if not tables:
        return None
    if "alembic_version" not in tables:
        raise DataCorrupt(
            f"{database.path or database.description} is a database of something else. Nothing was changed.",
            hint=f"Use another {_place(database)}.",
        )
    revision: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def _place(database: Database) -> str:
    return "database in ledger.url" if database.on_server else "data folder"
