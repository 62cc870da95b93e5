"""What is known of the sources themselves, and which edition is live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from ingestion.clock import Clock
from ingestion.database import Database
from ingestion.errors import WrongEdition
from ingestion.ledger.edition_rows import as_edition
from ingestion.ledger.sql import advance, inserting
from ingestion.ledger.tables import editions, sources
from ingestion.ledger.values import Edition, SourceState
from ingestion.objectives import Objective

MACHINES_KEPT = 32  # of each source: containers come under ever new names
_DEVICES = sa.select(sources.c.devices).where(sources.c.name == sa.bindparam("name")).with_for_update()
_BEAT = sa.update(sources).where(sources.c.name == sa.bindparam("of")).values(heartbeat_at=sa.bindparam("at"))
_EVENT = sa.update(sources).where(sources.c.name == sa.bindparam("of")).values(event_at=sa.bindparam("event"))
_NONE: Mapping[str, float] = MappingProxyType({})
_ALL = sa.select(sources).order_by(sources.c.name)
_SIGHT = (
    sources.c.devices,
    sources.c.listed_at,
    sources.c.listing_generation,
    sources.c.heartbeat_at,
    sources.c.event_at,
)
_LIVE_EDITION = sa.select(editions).where(editions.c.state == "live")


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A source as the settings name it."""

    name: str
    kind: str
    location: str
    objective: Objective = field(default_factory=Objective)


def as_state(row: Any) -> SourceState:
    return SourceState(
        row.name,
        row.kind,
        row.location,
        row.active,
        row.devices or {},
        row.listed_at,
        row.listing_generation,
        row.heartbeat_at,
        row.fault,
        row.asked_generation,
        row.event_at,
        Objective(row.share, row.within_s, row.deletions_within_s, row.over_days),
        row.looked_at,
        row.next_look_at,
    )


class Sources:
    """The ledger's book of sources."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def configure(self, rows: Sequence[SourceRow]) -> list[str]:
        """These are the sources now; the documents of any other stay, and are not served.

        Returns which that takes out of service: for a process that is alone with this ledger.
        """
        with self._database.write() as connection:
            out = (
                connection.execute(_take_out_others([row.name for row in rows]).returning(sources.c.name))
                .scalars()
                .all()
            )
            self._add(connection, rows)
        return sorted(out)

    def add(self, rows: Sequence[SourceRow]) -> None:
        """These are in service now, besides those that are already.

        A source that lies elsewhere than before has not been seen there yet.
        """
        with self._database.write() as connection:
            self._add(connection, rows)

    def keep(self, names: Sequence[str], *, in_service: bool = False) -> None:
        """A running process has these in its settings; ``in_service`` puts them there where they are not."""
        with self._database.write() as connection:
            values: dict[str, object] = {"kept_at": self._database.now(connection, self._clock)}
            if in_service:
                values["active"] = True
            connection.execute(sa.update(sources).where(sources.c.name.in_(names)).values(values))

    def let_go(self, names: Sequence[str], for_s: float) -> list[str]:
        """Take all but these out of service that no process has kept for so long; returns their names."""
        with self._database.write() as connection:
            before = self._database.now(connection, self._clock) - for_s
            unkept = sa.or_(sources.c.kept_at.is_(None), sources.c.kept_at < before)
            query = _take_out_others(names).where(unkept).returning(sources.c.name)
            return sorted(connection.execute(query).scalars())

    def all(self) -> list[SourceState]:
        with self._database.read() as connection:
            return [as_state(row) for row in connection.execute(_ALL).all()]

    def state(self, name: str) -> SourceState | None:
        return next((state for state in self.all() if state.name == name), None)

    def begin_listing(self) -> int:
        """The generation of a listing: it may retire only entries that were last observed before it."""
        with self._database.write() as connection:
            return advance(connection, "generation")

    def finish_listing(
        self,
        name: str,
        generation: int,
        *,
        started_at: float,
        device: int | None,
        fault: str | None,
        machine: str = "",
    ) -> None:
        """A complete listing was carried out: proof of sight up to its start.

        ``device`` is what ``machine`` calls the place; what others call it stays known.
        """
        values = {"listing_generation": generation, "listed_at": started_at, "fault": fault}
        with self._database.write() as connection:
            kept = connection.execute(_DEVICES, {"name": name}).scalar() or {}
            others = [one for one in kept.items() if one[0] != machine][-(MACHINES_KEPT - 1) :]
            devices = dict(others) if device is None else {**dict(others), machine: device}
            connection.execute(
                sa.update(sources).where(sources.c.name == name).values(**values, devices=devices)
            )

    def ask_listing(self, name: str) -> None:
        """Have whoever watches this source list it: somebody else did not find what it should hold."""
        with self._database.write() as connection:
            generation = advance(connection, "generation")
            connection.execute(
                sa.update(sources).where(sources.c.name == name).values(asked_generation=generation)
            )

    def heartbeat(self, seen: Mapping[str, float], events: Mapping[str, float] = _NONE) -> None:
        """Every change before its moment has been observed, by source.

        ``events``: when somebody was last told of a change, by source, of these or others.
        """
        with self._database.write() as connection:
            if seen:
                connection.execute(_BEAT, [{"of": name, "at": at} for name, at in seen.items()])
            if events:
                connection.execute(
                    _EVENT, [{"of": name, "event": event_at} for name, event_at in events.items()]
                )

    def set_looks(self, name: str, last: float, following: float) -> None:
        """When a complete look by its schedule last began, and when the next one is due."""
        self._update(name, looked_at=last, next_look_at=following)

    def set_fault(self, name: str, fault: str | None) -> None:
        self._update(name, fault=fault)

    def edition(
        self, fingerprint: str, dimensions: int, description: str, model: Mapping[str, Any] | None = None
    ) -> Edition:
        """The live edition, made on first use. Raises WrongEdition for one of another model.

        ``model``: the settings that make its embedder, kept for when the settings name another one.
        """
        with self._database.write() as connection:
            row = connection.execute(_LIVE_EDITION).one_or_none()
            if row is None:
                values = {
                    "name": f"e{fingerprint[:12]}",
                    "fingerprint": fingerprint,
                    "description": description,
                    "dimensions": dimensions,
                    "state": "live",
                    "created_at": self._database.now(connection, self._clock),
                    "model": None if model is None else dict(model),
                }
                key = connection.execute(
                    sa.insert(editions).values(values).returning(editions.c.id)
                ).scalar_one()
                return Edition(key, f"e{fingerprint[:12]}", fingerprint, dimensions, description)
            if row.fingerprint == fingerprint and model is not None and row.model != dict(model):
                connection.execute(
                    sa.update(editions).where(editions.c.id == row.id).values(model=dict(model))
                )
        if row.fingerprint != fingerprint:
            raise WrongEdition(
                f"The index was made with another embedding model ({row.description}), and the settings "
                f"name {description}. Vectors of two models cannot be compared; nothing was changed.",
                hint="Set embedding.model back; headwater rebuild --model then makes one beside it. "
                "Or start with another data folder (--data).",
            )
        return as_edition(row)

    def live_edition(self) -> Edition | None:
        """The live edition, if there is one yet."""
        with self._database.read() as connection:
            row = connection.execute(_LIVE_EDITION).one_or_none()
        return None if row is None else as_edition(row)

    def _add(self, connection: sa.Connection, rows: Sequence[SourceRow]) -> None:
        kept_at = self._database.now(connection, self._clock)
        for row in rows:
            insert = inserting(connection.dialect.name, sources)
            told = {"kind": row.kind, "location": row.location, "active": True, "kept_at": kept_at}
            values = {**told, **asdict(row.objective)}
            elsewhere = sa.or_(sources.c.kind != row.kind, sources.c.location != row.location)
            sight = {column.name: sa.case((elsewhere, sa.null()), else_=column) for column in _SIGHT}
            connection.execute(
                insert.values(name=row.name, **values).on_conflict_do_update(
                    index_elements=["name"], set_={**values, **sight, "fault": None}
                )
            )

    def _update(self, name: str, **values: object) -> None:
        with self._database.write() as connection:
            connection.execute(sa.update(sources).where(sources.c.name == name).values(**values))


def _take_out_others(names: Sequence[str]) -> sa.Update:
    return sa.update(sources).where(sources.c.active, sources.c.name.not_in(names)).values(active=False)
