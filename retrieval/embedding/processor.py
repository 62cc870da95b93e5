"""What this machine's processor is quick at."""

from __future__ import annotations

from pathlib import Path


def cpu_has_bf16() -> bool:
    """Whether bf16 is fast here: without these instructions it is slower than float32."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return "avx512_bf16" in flags or "amx_bf16" in flags
