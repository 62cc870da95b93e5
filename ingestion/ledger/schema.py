"""Brings a database to the ledger's schema, or says why that cannot be.

Alembic is imported only when there is something to migrate: it costs a quarter of a second, and every
``headwater status`` passes here.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from ingestion.database import Database
from ingestion.errors import DataCorrupt, DataNewer

MIGRATIONS = Path(__file__).parent / "migrations"


def known_revisions() -> list[str]:
    """Revision ids in order, read off the file names (``0001_first.py``)."""
    return sorted(path.stem.split("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def current_revision(database: Database) -> str | None:
    """The revision a database stands at; None for an empty one. Raises DataCorrupt for one not ours."""
    with database.read() as connection:
        tables = sa.inspect(connection).get_table_names()
        if not tables:
            return None
        if "alembic_version" not in tables:
            raise DataCorrupt(
                f"{database.path or database.url} is a database of something else. Nothing was changed.",
                hint="Use another data folder.",
            )
        revision: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        return revision


def ensure(database: Database) -> None:
    """Migrate to the newest known revision.

    Raises DataNewer for a database from a newer version and DataCorrupt for one that is not ours.
    """
    revisions = known_revisions()
    current = current_revision(database)
    if current == revisions[-1]:
        return
    if current is not None and current not in revisions:
        raise DataNewer(
            f"The data in {database.path or database.url} was made by a newer version of Headwater "
            f"(schema {current}; this version knows up to {revisions[-1]}). Nothing was changed.",
            hint="Run that newer version, or use another data folder.",
        )
    _migrate(database)


def _migrate(database: Database) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
