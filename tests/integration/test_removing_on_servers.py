"""A source that is removed from PostgreSQL and Weaviate: no passage of it is left in either edition."""

from __future__ import annotations

from pathlib import Path

from ingestion.clock import SystemClock
from ingestion.database import Database
from ingestion.sources.memory import MemorySource
from ops import removing
from ops.settings import load
from retrieval.index.weaviate import WeaviateIndex
from tests.rig import SOURCE, Rig
from tests.servers.postgres import Postgres
from tests.servers.weaviate import Weaviate

OTHER = "policies"


def test_nothing_of_it_is_left(
    postgres: Postgres, weaviate: Weaviate, weaviate_prefix: str, tmp_path: Path
) -> None:
    database = Database(postgres.fresh())
    index = WeaviateIndex(
        weaviate.url, grpc_port=weaviate.grpc_port, api_key=weaviate.api_key, prefix=weaviate_prefix
    )
    sources = [MemorySource(name, clock=SystemClock()) for name in (SOURCE, OTHER)]
    for number in range(12):
        sources[0].put(f"{number}.md", f"notes of {number}".encode())
        sources[1].put(f"{number}.md", f"policies of {number}".encode())
    rig = Rig(database, sources, index=index)
    try:
        rig.recover()
        rig.sync(SOURCE)
        rig.sync(OTHER)
        rig.rebuild(keep_s=3600.0)
        rig.build()
        editions = [view.edition.name for view in rig.ledger.editions.fed()]
        assert [index.count(name) for name in editions] == [24, 24]
        rig.ledger.sources.let_go([SOURCE], -1.0)
        rig.advance(120.0)
        assert removing.remove(rig.ledger, load(arguments={"daemon.data": tmp_path}, environ={}), OTHER) == 12
        assert not [hit for hit in rig.answers("policies") if "policies" in hit[3]]
        rig.sweep()
        assert [index.count(name) for name in editions] == [12, 12]
        assert [state.name for state in rig.ledger.sources.all()] == [SOURCE]
    finally:
        for view in rig.ledger.editions.fed():
            index.drop(view.edition.name)
        index.close()
        database.close()
        postgres.drop(database.url)
