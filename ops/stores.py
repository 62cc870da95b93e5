"""The index and the broker that the settings name, and what may not hold a data file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from ingestion.database import Database
from ingestion.errors import Misconfigured
from ingestion.ledger.installation import ledger_id
from ops.doctor_machine import NETWORK, file_system
from ops.secret_file import read_secret
from ops.settings import IndexSettings, Settings
from ops.settings_embedding import key_fault
from ops.settings_stores import masked
from retrieval.index.embedded import EmbeddedIndex
from retrieval.index.port import Index

if TYPE_CHECKING:
    from workers.redis_broker import RedisBroker

# Also what sandboxes keep their only disk on; SQLite's locks work there for one machine.
_TOLERATED = frozenset({"9p"})


def make_index(settings: Settings, database: Database) -> Index:
    """Opens no edition. ``database``: a ledger's. Raises Misconfigured for a key that cannot be read."""
    index = settings.index
    if index.kind == "embedded" or index.url is None:
        return EmbeddedIndex(database)
    from retrieval.index.weaviate import WeaviateIndex  # gRPC: 0.5 s that only those pay who use it

    return WeaviateIndex(
        index.url,
        grpc_port=index.grpc_port,
        api_key=_api_key(index),
        prefix=index.prefix,
        timeout_s=index.timeout_s,
        ledger_id=ledger_id(database),
    )


def broker_url(settings: Settings) -> str | None:
    """The address of the broker that processes share, with its password; None without one.

    Raises Misconfigured. A certificate is checked unless the address says otherwise: kombu's default is not
    to.
    """
    broker = settings.broker
    if broker.url is None:
        return None
    place = urlsplit(broker.url.get_secret_value())
    if broker.password_file is not None:
        password = read_secret(
            broker.password_file, setting="broker.password_file", what="The password of the broker"
        )
        user, _, host = place.netloc.rpartition("@")
        place = place._replace(netloc=f"{user}:{quote(password, safe='')}@{host}")
    query = dict(parse_qsl(place.query))
    if place.scheme == "rediss":
        query.setdefault("ssl_cert_reqs", "required")
    return place._replace(query=urlencode(query)).geturl()


def make_broker(settings: Settings) -> RedisBroker:
    """The broker that processes share. Raises Misconfigured where the settings name none."""
    url = broker_url(settings)
    if url is None or settings.broker.url is None:
        raise Misconfigured(
            "Processes of their own need a broker that they share, and broker.url names none.",
            hint='Set [broker] url = "redis://localhost:6379/0", or run all in one process: headwater up',
        )
    from workers.redis_broker import RedisBroker  # 0.3 s that only those pay who use it

    shown = masked(settings.broker.url.get_secret_value())
    return RedisBroker(url, prefix=settings.broker.prefix, shown=shown)


def refuse_network_mount(data: Path) -> None:
    """Raises Misconfigured where SQLite would damage its file sooner or later."""
    place = data
    while not place.exists() and place != place.parent:
        place = place.parent
    kind = file_system(place)
    if kind in NETWORK - _TOLERATED:
        raise Misconfigured(
            f"The data folder {data} is on {kind}, where SQLite's locks and its log do not work reliably.",
            hint="Put it on a local disk (daemon.data, --data), or the ledger into PostgreSQL (ledger.url).",
        )


def _api_key(index: IndexSettings) -> str | None:
    if index.api_key is not None:
        return index.api_key.get_secret_value()
    if index.api_key_file is None:
        return None
    key = read_secret(index.api_key_file, setting="index.api_key_file", what="The key of the index")
    fault = key_fault(key)
    if fault:
        raise Misconfigured(
            f"The key in {index.api_key_file} {fault}", hint="The file holds the key and nothing else."
        )
    return key
