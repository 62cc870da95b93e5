"""What a database is asked: the query of the settings, as a table of which parts are read.

Names are quoted by the database's own rules, values are parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ingestion.sources.sql.keys import Key

KEYS_AT_ONCE = 500  # values in a statement; few databases take more than some thousand
_ROWS_IN_LISTS = ("postgresql", "sqlite", "mysql", "mariadb")


class Statements:
    """``changed``: the change column, if there is one."""

    def __init__(self, query: str, key: Sequence[str], changed: str | None) -> None:
        names = dict.fromkeys([*key, *([changed] if changed else [])])
        escaped = query.strip().rstrip("; \n\t").replace(":", r"\:")
        # A comment at the end ends with its line.
        self._rows = sa.text(f"{escaped}\n").columns(*map(sa.column, names)).subquery("headwater_rows")
        self._key = [self._rows.c[name] for name in key]
        self._changed = None if changed is None else self._rows.c[changed]
        self._all: sa.ColumnClause[Any] = sa.literal_column("headwater_rows.*")

    def everything(self) -> sa.Select[Any]:
        """All columns of all rows."""
        return sa.select(self._all).select_from(self._rows)

    def nothing(self) -> sa.Executable:
        """No row: for the names of the columns."""
        return self.everything().limit(0)

    def one_key(self) -> sa.Executable:
        return sa.select(*self._key).limit(1)

    def changes(self, since: Any = None) -> sa.Executable:
        """Keys with their change values: of all rows, or of those that changed later."""
        statement = sa.select(*self._key, self._change_column)
        return statement if since is None else statement.where(self._change_column > _value(since))

    def newest(self, at_most: Any = None) -> sa.Executable:
        """The latest change value."""
        statement = sa.select(sa.func.max(self._change_column))
        return statement if at_most is None else statement.where(self._change_column <= _value(at_most))

    def rows(self, keys: Sequence[Key], dialect: str) -> sa.Executable:
        """All columns of the rows with these keys: at most KEYS_AT_ONCE."""
        return self.everything().where(self._among(keys, dialect))

    @property
    def _change_column(self) -> sa.ColumnElement[Any]:
        assert self._changed is not None
        return self._changed

    def _among(self, keys: Sequence[Key], dialect: str) -> sa.ColumnElement[bool]:
        if len(self._key) == 1:
            return self._key[0].in_([_value(key[0]) for key in keys])
        if dialect in _ROWS_IN_LISTS:
            return sa.tuple_(*self._key).in_(_value([tuple(key) for key in keys], expanding=True))
        each = (
            sa.and_(*(column == _value(part) for column, part in zip(self._key, key, strict=True)))
            for key in keys
        )
        return sa.or_(*each)


def _value(value: Any, *, expanding: bool = False) -> sa.BindParameter[Any]:
    """As its driver gave it: without a cast, so that an index is used whatever the column's type."""
    return sa.bindparam(None, value, type_=sa.types.NullType(), unique=True, expanding=expanding)
