"""What of this machine and its environment decides between runtimes. Imports none of them."""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from retrieval.embedding.processor import cpu_has_bf16, cpu_has_vnni

_GPU_DEVICES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))


@dataclass(frozen=True, slots=True)
class Machine:
    """``gpu``: one that CUDA can use. ``torch_for_gpu``: whether torch is there, and built to use one."""

    gpu: bool
    torch_for_gpu: bool
    sentence_transformers: bool
    openvino: bool
    bf16: bool
    vnni: bool


@functools.cache
def this_machine() -> Machine:
    """Looked at once. A GPU is looked for only where something could use it: its driver takes a moment."""
    sentence_transformers = _is_installed("sentence_transformers")
    torch_for_gpu = _is_installed("torch") and "+cpu" not in _version("torch")
    return Machine(
        gpu=torch_for_gpu and sentence_transformers and _has_gpu(),
        torch_for_gpu=torch_for_gpu,
        sentence_transformers=sentence_transformers,
        openvino=_is_installed("openvino"),
        bf16=cpu_has_bf16(),
        vnni=cpu_has_vnni(),
    )


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None  # does not run the package


def _version(package: str) -> str:
    """As its metadata says; nothing where there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _has_gpu() -> bool:
    """The driver's own count, which heeds CUDA_VISIBLE_DEVICES; asked only where its device exists."""
    if not any(device.exists() for device in _GPU_DEVICES):
        return False
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        count = ctypes.c_int(0)
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    except (OSError, AttributeError):
        return False
