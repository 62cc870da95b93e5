"""What this machine's processor is quick at."""

from __future__ import annotations

from pathlib import Path


def cpu_has_bf16() -> bool:
    """Whether bf16 is fast here: without these instructions it is slower than float32."""
    return bool(_flags() & {"avx512_bf16", "amx_bf16"})


def cpu_has_vnni() -> bool:
    """Whether int8 is fast here: without these instructions OpenVINO computes in float32."""
    return bool(_flags() & {"avx512_vnni", "avx_vnni"})


def _flags() -> set[str]:
    """The instructions of the processor as Linux names them; none where it does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return set(next((line.split() for line in lines if line.startswith("flags")), []))
