"""Reads tensors from files in the safetensors format.

They are read into memory rather than mapped: a mapped file that is replaced in place while its model serves
would end the process. A file is checked when it is opened: its header must be whole and describe no more
bytes than follow, so a file cut short is noticed before a tensor is read. It decides nothing about what the
tensors mean.

Format: 8 bytes with the header's length, a JSON header, then the tensors; github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingestion.errors import ModelMissing
from retrieval.embedding.not_served import not_served

_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_MOST_HEADER_BYTES = 100_000_000  # the format's own limit


@dataclass(frozen=True, slots=True)
class _Place:
    file: Path
    kind: str
    shape: tuple[int, ...]
    start: int
    end: int


class TensorFiles:
    """The tensors of one or more files, by the name that ``called`` makes of their own."""

    def __init__(self, files: Sequence[Path], called: Callable[[str], str] = str) -> None:
        """Reads the headers only. Raises ModelMissing naming the file that is damaged."""
        self._places: dict[str, _Place] = {}
        for file in files:
            for name, place in _places(file).items():
                self._places[called(name)] = place
        self._files = tuple(files)

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raises ModelNotServed for the first tensor that is not there under this name, since another reader
        may know other names; ModelMissing for one that is not of this shape."""
        for name, shape in shapes.items():
            place = self._places.get(name)
            if place is None:
                raise not_served(self._files[0].parent, f"its {self._files[0].name} holds no tensor {name}")
            if place.shape != shape:
                raise damaged(
                    place.file,
                    f"its tensor {name} has the shape {_shown(place.shape)}, "
                    f"and config.json asks for {_shown(shape)}",
                )
            if place.kind not in _BYTES:
                raise damaged(place.file, f"its tensor {name} is stored as {place.kind}, not as floats")

    def read(self, name: str) -> NDArray[np.float32]:
        """One tensor in float32. Raises ModelMissing."""
        place = self._places[name]
        try:
            raw = np.fromfile(place.file, np.uint8, count=place.end - place.start, offset=place.start)
        except OSError as error:
            raise damaged(place.file, f"it cannot be read ({error.strerror})") from error
        if raw.size != place.end - place.start:
            raise damaged(place.file, f"it ends before its tensor {name} does")
        return _as_float32(raw, place.kind).reshape(place.shape)


def damaged(file: Path, fault: str) -> ModelMissing:
    """The error for a file of a model that is not what it should be."""
    return ModelMissing(
        f"The file {file} holds no complete model: {fault}.",
        hint="Put the whole model there again, as sentence-transformers saves it, or set embedding.model "
        "to another one.",
    )


def _places(file: Path) -> dict[str, _Place]:
    try:
        size = file.stat().st_size
        with file.open("rb") as body:
            length = int.from_bytes(body.read(8), "little")
            if size < 8 or length > min(size - 8, _MOST_HEADER_BYTES):
                raise damaged(file, f"it has {size} bytes, fewer than its header")
            header = json.loads(body.read(length))
        header.pop("__metadata__", None)
        found = {name: _place(file, entry, 8 + length) for name, entry in header.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise damaged(file, f"its header cannot be read ({type(error).__name__})") from error
    end = max((place.end for place in found.values()), default=8 + length)
    if end > size:
        raise damaged(file, f"it has {size} bytes where its header speaks of {end}; it was cut short")
    return found


def _place(file: Path, entry: Any, begin: int) -> _Place:
    shape = tuple(int(length) for length in entry["shape"])
    start, end = (begin + int(offset) for offset in entry["data_offsets"])
    kind = str(entry["dtype"])
    if kind in _BYTES and end - start != _BYTES[kind] * int(np.prod(shape, dtype=np.int64)):
        raise ValueError("offsets do not fit the shape")
    if not begin <= start <= end:
        raise ValueError("offsets outside of the file")
    return _Place(file, kind, shape, start, end)


def _as_float32(raw: NDArray[np.uint8], kind: str) -> NDArray[np.float32]:
    if kind == "BF16":  # the upper half of a float32
        return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
    return raw.view({"F64": "<f8", "F32": "<f4", "F16": "<f2"}[kind]).astype(np.float32, copy=False)


def _shown(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "of one number"
