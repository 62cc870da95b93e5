"""Whether the openvino runtime can compute the model in a folder; nothing is computed.

Kept for as long as no file of the folder looks otherwise: status asks at every call, and tokenizer.json,
which must be read for the answer, takes up to 0.3 s in which no other thread runs.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from ingestion.errors import ModelMissing, ModelNotServed
from retrieval.embedding.describing import describe
from retrieval.embedding.encoder import Encoder
from retrieval.embedding.model_folder import ModelFolder, read_model_folder
from retrieval.embedding.not_served import not_served
from retrieval.embedding.weights import WeightFiles, check_headers


@dataclass(frozen=True, slots=True)
class Examined:
    """``encoder`` or the reason why there is none, as ``ModelNotServed`` has it."""

    folder: ModelFolder
    encoder: Encoder | None
    reason: str = ""

    @property
    def refusal(self) -> ModelNotServed | None:
        return None if self.encoder else not_served(self.folder.path, self.reason)


def examine(path: Path, name: str) -> Examined:
    """Configuration, tokenizer and the headers of the weights. Raises ModelMissing for damage, and as
    ``read_model_folder`` does."""
    return _examined(path, name, _look(path))


def examine_leniently(path: Path, name: str) -> Examined:
    """The same where another runtime was asked for: what this one calls damage decides nothing then, save for
    files of weights that were cut short."""
    try:
        return examine(path, name)
    except ModelMissing as error:
        folder = read_model_folder(path, name)
        check_headers(folder)
        return Examined(folder, None, error.message.rstrip("."))


@functools.lru_cache(maxsize=4)
def _examined(path: Path, name: str, _: object) -> Examined:
    folder = read_model_folder(path, name)
    check_headers(folder)
    try:
        encoder = describe(folder)
        WeightFiles(folder, encoder)
    except ModelNotServed as error:
        return Examined(folder, None, error.reason)
    return Examined(folder, encoder)


def _look(path: Path) -> tuple[tuple[str, int, int, int, int], ...]:
    """Of every file in the folder and in those of its modules, through links."""
    looks = []
    for pattern in ("*", "*/*"):
        for file in sorted(path.glob(pattern)):
            try:
                seen = file.stat()
            except OSError:  # went away, or a link to nothing: whoever reads it says so
                continue
            looks.append((str(file), seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino))
    return tuple(looks)
