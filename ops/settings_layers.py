"""Where settings come from: one TOML file, the environment, the arguments of a command.

Each becomes a layer: its values as nested tables, paths made absolute, and the way to name the place of
each value. What the values may be is judged by ``ops.settings``; here only what cannot be read is a
fault. Nothing is read at import.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingestion.errors import WrongSettings
from ops.settings_faults import nearest
from ops.settings_stores import SECRET_FILES
from ops.toml_places import Place, line_of, places

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

PREFIX = "HEADWATER_"
CONFIG_VARIABLE = "HEADWATER_CONFIG"
CONFIG_NAME = "headwater.toml"
MAX_CONFIG_BYTES = 1024 * 1024

_PATH, _FILE = "root", "_file"  # a key of sources, and what others of them end with
_PERHAPS_PATHS = ("repository",)  # a URL otherwise

Tables = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Layer:
    """One origin of settings. ``place`` names where in it a value stands: a line, a variable.

    ``readable`` is False where nothing could be taken from it.
    """

    name: str
    values: Tables = field(default_factory=dict)
    place: Callable[[Place], str] = lambda _: ""
    faults: Sequence[str] = ()
    readable: bool = True


def config_path(given: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The settings file: the one asked for, else HEADWATER_CONFIG, else ./headwater.toml if it exists."""
    if given is not None:
        return given
    if named := environ.get(CONFIG_VARIABLE, "").strip():
        return Path(named).expanduser()
    here = Path(CONFIG_NAME)
    return here if here.is_file() else None


def file_layer(path: Path) -> Layer:
    """The TOML file at ``path``; relative paths in it are relative to its folder."""
    try:
        text = _text(path)
        values = tomllib.loads(text)
    except RecursionError:
        return _unreadable(f"{path}: brackets are nested too deeply; no setting needs that.")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return _unreadable(f"{path}:{line}: is not UTF-8 text; save it as UTF-8.")
    except OSError as error:
        reason = error.strerror or str(error)
        return _unreadable(f"{path}: cannot be read ({reason}); name another with --config.")
    except ValueError as error:
        return _unreadable(_syntax_fault(path, str(error)))
    lines = places(text)

    def place(at: Place) -> str:
        line = line_of(at, lines)
        return f"{path}:{line}" if line else str(path)

    return Layer("file", _absolute(values, path.absolute().parent), place)


def environment_layer(environ: Mapping[str, str], model: type[BaseModel]) -> Layer:
    """Variables named ``HEADWATER_TABLE__KEY``; empty ones count as unset.

    ``HEADWATER_SOURCES`` is a JSON list of tables, ``HEADWATER_API__KEYS`` a JSON list or keys with
    commas between them.
    """
    ours = {name: value for name, value in environ.items() if name.startswith(PREFIX) and value.strip()}
    if not ours:
        return Layer("environment")

    def place(at: Place) -> str:
        words = [str(part).upper() for part in at]
        names = (PREFIX + "__".join(words[:length]) for length in range(len(words), 0, -1))
        return next((name for name in names if name in ours), PREFIX + words[0])

    values = _absolute(_environment_values(ours, model), _here())
    return Layer("environment", values, place, faults=list(_strays(ours, model)))


def arguments_layer(arguments: Mapping[str, Any]) -> Layer:
    """What a command was given, by dotted key (``daemon.port``); None means not given."""
    values: Tables = {}
    for key, value in arguments.items():
        table, _, leaf = key.partition(".")
        if value is None:
            continue
        if leaf:
            values.setdefault(table, {})[leaf] = value
        else:
            values[table] = value
    return Layer("argument", _absolute(values, _here()), lambda _: "argument")


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise WrongSettings(
            "The current folder does not exist any more; nothing was started.",
            hint="Change to another folder first: cd ~",
        ) from error


def _unreadable(fault: str) -> Layer:
    return Layer("file", faults=[fault], readable=False)


def _text(path: Path) -> str:
    with path.open("rb") as file:
        body = file.read(MAX_CONFIG_BYTES + 1)
    if len(body) > MAX_CONFIG_BYTES:
        raise OSError(0, f"it is larger than {MAX_CONFIG_BYTES} bytes")
    return body.decode("utf-8-sig")


def _syntax_fault(path: Path, message: str) -> str:
    found = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    where = f"{path}:{found.group(1)}" if found else f"{path}"
    what = message[: found.start()] + f" in column {found.group(2)}" if found else message
    return f"{where}: is not TOML: {what}. Nothing in the file was used."


def _environment_values(ours: Mapping[str, str], model: type[BaseModel]) -> Tables:
    # Imported only when there is something to read: it costs 0.07 s.
    from pydantic_settings import EnvSettingsSource

    class Environment(EnvSettingsSource):
        """Takes its variables as an argument, and leaves what is not JSON for the model to refuse."""

        def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
            try:
                return json.loads(value)
            except (ValueError, RecursionError):
                if field_name == "keys":
                    return [key.strip() for key in value.split(",") if key.strip()]
                return value

    source = Environment(model, env_prefix=PREFIX, env_nested_delimiter="__", case_sensitive=False)  # type: ignore[arg-type]
    source.env_vars = {name.lower(): value for name, value in ours.items()}
    return source()


def _strays(ours: Mapping[str, str], model: type[BaseModel]) -> Iterator[str]:
    """Variables that look like ours and set nothing.

    A wrong key of a known table is found by the model. Names without a double underscore may be
    another's (Kubernetes adds HEADWATER_SERVICE_HOST beside a service called headwater), unless they
    are one of ours but for the underscores.
    """
    known = [
        PREFIX + f"{table}__{key}".upper()
        for table, info in model.model_fields.items()
        for key in getattr(info.annotation, "model_fields", {})
    ]
    squeezed = {name.replace("__", "_"): name for name in known}
    tables = {PREFIX + table.upper() for table in model.model_fields}
    for name, value in ours.items():
        table, double, _ = name[len(PREFIX) :].partition("__")
        meant = squeezed.get(re.sub("_+", "_", name))
        if name in known or PREFIX + table in tables or name == CONFIG_VARIABLE:
            continue
        if meant and not value.startswith("tcp://"):  # Kubernetes again: a service called headwater-daemon
            yield f"{name}: sets nothing; the name has two underscores: {meant}."
        elif double:
            near = nearest(name[len(PREFIX) :], [one[len(PREFIX) :] for one in known])
            yield f"{name}: sets nothing; " + (f"did you mean {PREFIX}{near}?" if near else "unset it.")


def _absolute(values: Tables, base: Path) -> Tables:
    """The same tables with every path absolute, relative ones under ``base``, ``~`` the home folder."""
    result = {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    if isinstance(daemon := result.get("daemon"), dict) and "data" in daemon:
        daemon["data"] = _absolute_path(daemon["data"], base)
    for table, key in (*SECRET_FILES, ("canary", "folder")):
        if isinstance(found := result.get(table), dict) and key in found:
            found[key] = _absolute_path(found[key], base)
    if isinstance(embedding := result.get("embedding"), dict):
        model = embedding.get("model")
        # A name of the hub may hold a slash too, so a relative path has to start with a dot.
        if isinstance(model, Path) or (isinstance(model, str) and model.startswith((".", "~", os.sep))):
            embedding["model"] = _absolute_path(model, base)
    if isinstance(sources := result.get("sources"), Sequence) and not isinstance(sources, str):
        result["sources"] = [_absolute_root(source, base) for source in sources]
    return result


def _absolute_root(source: Any, base: Path) -> Any:
    if hasattr(source, "model_dump"):
        source = source.model_dump(exclude_unset=True)
    if isinstance(source, str | Path):
        source = {"root": source}
    if not isinstance(source, Mapping):
        return source
    return {key: _absolute_path(one, base) if _is_path(key, one) else one for key, one in source.items()}


def _is_path(key: Any, value: Any) -> bool:
    return (
        key == _PATH
        or str(key).endswith(_FILE)
        or (key in _PERHAPS_PATHS and str(value).startswith((".", "~", os.sep)))
    )


def _absolute_path(value: Any, base: Path) -> Any:
    """What is no path, is empty, or names an unknown user's home is left for the model to refuse."""
    if not isinstance(value, str | Path) or not str(value).strip():
        return value
    try:
        return os.path.normpath(base / Path(value).expanduser())
    except RuntimeError:
        return str(value)


def merged(layers: Sequence[Layer]) -> tuple[Tables, Mapping[Place, Layer]]:
    """Later layers over earlier ones, key by key, and which layer each value came from.

    What should be a table and is none (``daemon = 5``) stays, for the model to refuse.
    """
    tables: Tables = {}
    origins: dict[Place, Layer] = {}
    for layer in layers:
        for name, value in layer.values.items():
            if not isinstance(value, dict):
                tables[name] = value
                origins[(name,)] = layer
            elif isinstance(tables.setdefault(name, {}), dict):
                tables[name] |= value
                origins.setdefault((name,), layer)
                origins |= {(name, key): layer for key in value}
    return tables, origins
