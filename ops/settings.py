"""What may be set, what it is by default, and the reading of it: once, at the start of a command.

The environment beats the file, an argument beats both; a list of sources is one value and is replaced
whole. Every fault is reported together, each with its place and what to do. Values are passed down
plain: nothing below ``ops`` reads a setting, the environment or this module.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
)

from ingestion.errors import WrongSettings
from ingestion.shown import without_secrets
from ops.kinds import AnySource, kind_of
from ops.kinds.files import FilesSettings
from ops.settings_embedding import MAX_CHARACTERS, an_address, faults_within, is_file, key_fault
from ops.settings_faults import described
from ops.settings_keys import HASHED, KEY_HINT, with_keys_hashed
from ops.settings_layers import (
    Layer,
    Tables,
    arguments_layer,
    config_path,
    environment_layer,
    file_layer,
    merged,
)
from ops.settings_sources import faults_between, faults_of_canary, with_names, without_data
from ops.settings_stores import (
    BROKER_SCHEMES,
    LEDGER_SCHEMES,
    SECRET_FILES,
    faults_between_stores,
    masked,
    store_fault,
)
from ops.settings_types import AbsolutePath, Count, Seconds, Table, a_folder, a_name, no_bool
from ops.toml_places import Place, dotted

Fault = tuple[Place, str]

_HOST = re.compile(r"[^\s/@]+")
_PREFIX = re.compile(r"[A-Z][A-Za-z0-9]{0,31}")
_LANGUAGES = re.compile(r"[A-Za-z][A-Za-z0-9_]{1,31}(?:\+[A-Za-z][A-Za-z0-9_]{1,31}){0,9}")
_HASH_HINT = "Make the hash of a key with: headwater hash-key"


def _default_data() -> Path:
    return platformdirs.user_data_path("headwater", appauthor=False)


def _a_host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise ValueError(f"{value[:80]!r} is no host; write an address such as 127.0.0.1, without a port.")
    return value


def _hashed(value: str) -> str:
    if not HASHED.fullmatch(value):
        raise ValueError(f"should be the hash of a key, not the key. {_HASH_HINT}")
    return value


def _a_key(value: SecretStr) -> SecretStr:
    fault = key_fault(value.get_secret_value())
    if fault:
        raise ValueError(fault)
    return value


def _a_store(value: SecretStr, schemes: tuple[str, ...], example: str) -> SecretStr:
    fault = store_fault(value.get_secret_value(), schemes, example)
    if fault:
        raise ValueError(fault)
    return value


def _a_ledger(value: SecretStr) -> SecretStr:
    return _a_store(value, LEDGER_SCHEMES, "postgresql://USER@HOST:5432/DATABASE, or nothing for SQLite")


def _a_broker(value: SecretStr) -> SecretStr:
    return _a_store(value, BROKER_SCHEMES, "redis://HOST:6379/0, or rediss:// for TLS")


def _a_prefix(value: str) -> str:
    if not _PREFIX.fullmatch(value):
        raise ValueError(f"{value[:80]!r} is no prefix; use up to 32 letters and digits, a capital first.")
    return value


Price = Annotated[float, BeforeValidator(no_bool), Field(allow_inf_nan=False, ge=0)]
Address = Annotated[str, AfterValidator(an_address)]
Key = Annotated[SecretStr, AfterValidator(_a_key)]
LedgerAddress = Annotated[SecretStr, AfterValidator(_a_ledger)]
BrokerAddress = Annotated[SecretStr, AfterValidator(_a_broker)]


def _languages(value: str) -> str:
    if not _LANGUAGES.fullmatch(value):
        raise ValueError(f"{value[:80]!r} names no languages; write them as tesseract does: eng, or eng+deu.")
    return value


class DaemonSettings(Table):
    """Where the data lies, where the API listens, how is said what happens. Port 0 means any free one."""

    data: AbsolutePath = Field(default_factory=_default_data)
    host: Annotated[str, AfterValidator(_a_host)] = "127.0.0.1"
    port: Annotated[Count, Field(ge=0, le=65535)] = 7878
    log_format: Literal["auto", "text", "json"] = "auto"


class EmbeddingSettings(Table):
    """``model`` is a name, a folder, or ``hashing``; with an endpoint, the name that it knows.

    ``precision`` is a class: each needs its own index. From ``url`` on, for endpoints only. What is None
    there the endpoint or its kind decides.
    """

    model: Annotated[str, Field(min_length=1)] = "all-MiniLM-L6-v2"
    runtime: Literal["auto", "openvino", "sentence-transformers", "openai", "cohere"] = "auto"
    precision: Literal["float", "int8"] = "float"
    url: Address | None = None
    api_key: Key | None = None
    api_key_file: AbsolutePath | None = None
    dimensions: Annotated[Count, Field(ge=1, le=16_384)] | None = None
    max_characters: Annotated[Count, Field(ge=64, le=100_000)] = MAX_CHARACTERS
    query_prompt: str = ""
    document_prompt: str = ""
    concurrency: Annotated[Count, Field(ge=1, le=64)] = 4
    batch_texts: Annotated[Count, Field(ge=1)] | None = None
    batch_tokens: Annotated[Count, Field(ge=1)] | None = None
    timeout_s: Annotated[Seconds, Field(gt=0, le=600)] = 30.0
    price_per_million_tokens: Price | None = None


class LedgerSettings(Table):
    """``url`` None: an SQLite file in the data folder. ``lease_s``: how long a silent worker keeps what it
    has claimed."""

    url: LedgerAddress | None = None
    password_file: AbsolutePath | None = None
    lease_s: Annotated[Seconds, Field(ge=5, le=3600)] = 60.0


class BrokerSettings(Table):
    """``url`` None: within the process. ``prefix`` keeps installations on one Redis apart."""

    url: BrokerAddress | None = None
    password_file: AbsolutePath | None = None
    prefix: Annotated[str, AfterValidator(a_name)] = "headwater"


class IndexSettings(Table):
    """``embedded``: in the data folder, beside the ledger. All but ``kind`` is for Weaviate."""

    kind: Literal["embedded", "weaviate"] = "embedded"
    url: Address | None = None
    grpc_port: Annotated[Count, Field(ge=1, le=65535)] = 50051
    api_key: Key | None = None
    api_key_file: AbsolutePath | None = None
    prefix: Annotated[str, AfterValidator(_a_prefix)] = "Headwater"
    timeout_s: Annotated[Seconds, Field(gt=0, le=600)] = 10.0


class CanarySettings(Table):
    """``every_s`` 0: there is none. ``folder`` None: in the data folder, where one process does everything;
    several may not see one another's."""

    every_s: Annotated[Seconds, Field(ge=0)] = 30.0
    within_s: Annotated[Seconds, Field(gt=0, le=600)] = 20.0
    folder: Annotated[AbsolutePath, AfterValidator(a_folder)] | None = None


class ParsingSettings(Table):
    """``ocr``: languages in which tesseract reads scanned pages, as it calls them; None: nobody does."""

    ocr: Annotated[str, AfterValidator(_languages)] | None = None


class ApiSettings(Table):
    """``keys`` are hashes made by ``hash_key``; with any of them, every request needs a key. Those that
    ``keys_file`` holds are among them once the settings are read."""

    keys: tuple[Annotated[str, AfterValidator(_hashed)], ...] = ()
    keys_file: AbsolutePath | None = None


class Settings(Table):
    """Everything that may be set, checked."""

    daemon: DaemonSettings = Field(default_factory=DaemonSettings)
    sources: tuple[AnySource, ...] = ()
    embedding: EmbeddingSettings = Field(default_factory=EmbeddingSettings)
    ledger: LedgerSettings = Field(default_factory=LedgerSettings)
    broker: BrokerSettings = Field(default_factory=BrokerSettings)
    index: IndexSettings = Field(default_factory=IndexSettings)
    api: ApiSettings = Field(default_factory=ApiSettings)
    parsing: ParsingSettings = Field(default_factory=ParsingSettings)
    canary: CanarySettings = Field(default_factory=CanarySettings)

    _config: Path | None = PrivateAttr(default=None)
    _places: dict[Place, str] = PrivateAttr(default_factory=dict)

    @property
    def config(self) -> Path | None:
        """The file that was read, if any."""
        return self._config

    def in_force(self) -> dict[str, dict[str, Any]]:
        """Every setting by its dotted key: ``value`` (as JSON can hold it) and ``from``.

        ``from`` is ``default``, ``argument``, or names the line of the file or the variable. API keys
        are shown as their number, the key of an endpoint as a row of asterisks, an address without its
        password, and the file of a secret only where it exists: somebody may have put the secret there.
        """
        shown: dict[str, dict[str, Any]] = {}
        for at, value in _leaves(self):
            shown[dotted(at)] = {
                "value": _shown(at, value),
                "from": self._places.get(at, "default"),
            }
        return shown


def load(
    config: Path | None = None,
    *,
    arguments: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """The settings in force. Raises WrongSettings with every fault.

    ``config`` None means HEADWATER_CONFIG, else ``headwater.toml`` in the current folder if it is
    there, else no file. ``arguments`` are by dotted key, None meaning not given: ``{"daemon.port": 0,
    "sources": [Path("~/notes")]}``; sources may be folders, tables or SourceSettings.
    """
    path = config_path(config, environ)
    layers = [file_layer(path)] if path is not None else []
    layers += [environment_layer(environ, Settings), arguments_layer(arguments or {})]
    settings = _settled(layers)
    settings._config = path
    return settings


def sources_from_folders(folders: Sequence[str | Path]) -> list[FilesSettings]:
    """Sources for folders given on a command line, named after them. Raises WrongSettings."""
    sources = _settled([arguments_layer({"sources": list(folders)})]).sources
    return [source for source in sources if isinstance(source, FilesSettings)]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _settled(layers: Sequence[Layer]) -> Settings:
    tables, origins = merged(layers)

    def place(at: Place) -> str:
        layer = origins.get(at[:2]) or origins.get(at[:1])
        return layer.place(at) if layer else "default"

    given = {at: place(at) for at in _places_of(tables)}
    keys_layer = origins.get(("api", "keys"))
    found = [*with_keys_hashed(tables, plain_allowed=keys_layer is None or keys_layer.name != "file")]
    found += _across_sources(tables)
    found += _of_canary(tables)
    found += faults_within(tables.get("embedding"))
    found += faults_between_stores(tables)
    if all(layer.readable for layer in layers):
        found += _open_to_others(tables)
    settings = Settings()
    try:
        settings = Settings.model_validate(tables)
    except ValidationError as error:
        found += described(error, Settings, _kinds(tables))
    lines = [fault for layer in layers for fault in layer.faults]
    lines += [f"{place(at)} {dotted(at)}: {fault}" for at, fault in found]
    if lines:
        count = "a fault" if len(lines) == 1 else f"{len(lines)} faults"
        raise WrongSettings(f"The settings have {count}; nothing was started.\n  " + "\n  ".join(lines))
    settings._places = given
    return settings


def _across_sources(tables: Tables) -> Iterator[Fault]:
    """Names and folders compared; the tables then hold every name, and leave the data folder out."""
    sources, data = tables.get("sources"), _data_of(tables)
    if not isinstance(sources, list):
        return
    named = with_names(sources)
    yield from faults_between(named, data)
    tables["sources"] = without_data(named, data)


def _of_canary(tables: Tables) -> Iterator[Fault]:
    canary, sources = tables.get("canary"), tables.get("sources")
    folder = canary.get("folder") if isinstance(canary, dict) else None
    if isinstance(folder, str):
        yield from faults_of_canary(folder, sources if isinstance(sources, list) else (), _data_of(tables))


def _kinds(tables: Tables) -> dict[int, str]:
    """Which kind each of the sources is of, where it is of one."""
    sources = tables.get("sources")
    kinds = map(kind_of, sources if isinstance(sources, list) else ())
    return {number: kind for number, kind in enumerate(kinds) if kind is not None}


def _data_of(tables: Tables) -> str:
    daemon = tables.get("daemon", {})
    data = daemon.get("data") if isinstance(daemon, dict) else None
    return data if isinstance(data, str) else str(_default_data())


def _open_to_others(tables: Tables) -> Iterator[Fault]:
    daemon, api = tables.get("daemon"), tables.get("api")
    host = daemon.get("host") if isinstance(daemon, dict) else None
    keys = api.get("keys") if isinstance(api, dict) else None
    if isinstance(host, str) and _HOST.fullmatch(host) and not keys and not is_loopback(host):
        yield (
            ("daemon", "host"),
            f"{host[:80]!r} lets other machines in, and there is no key to keep them out; add one under "
            f"[api] keys, or listen on 127.0.0.1. {KEY_HINT} {_HASH_HINT}",
        )


def _places_of(tables: Any, at: Place = ()) -> Iterator[Place]:
    """Where something is set."""
    if at and not isinstance(tables, dict) and not (isinstance(tables, list) and len(at) == 1):
        yield at
        return
    for key, value in enumerate(tables) if isinstance(tables, list) else tables.items():
        yield from _places_of(value, (*at, key))


def _leaves(table: BaseModel, at: Place = ()) -> Iterator[tuple[Place, Any]]:
    for key, value in table:
        if at == () and isinstance(value, tuple):
            for number, entry in enumerate(value):
                yield from _leaves(entry, (key, number))
        elif isinstance(value, BaseModel):
            yield from _leaves(value, (*at, key))
        else:
            yield (*at, key), value


def _shown(at: Place, value: Any) -> Any:
    if at == ("api", "keys"):
        return len(value)
    if at in SECRET_FILES and value is not None and not is_file(value):
        return "a file that is not there"
    if at in (("ledger", "url"), ("broker", "url")) and value is not None:
        return masked(value.get_secret_value())
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, str):
        return without_secrets(value)
    return str(value) if isinstance(value, Path | SecretStr) else value
