"""The reading of scanned pages: by tesseract, where it is installed and wanted, in a sandbox of its own.

Its children may take longer than others, and start that one program; those of other documents never do.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

from ingestion.errors import Misconfigured
from ingestion.parsing.documents import Ocr
from ingestion.parsing.sandbox import Limits, Sandbox

PROGRAM = "tesseract"
LIMITS = Limits(wall_s=600.0, cpu_s=120, documents=20)
_ANSWER_S = 20.0
_HINT = "Install it with the system's package manager (on Debian: tesseract-ocr), or leave parsing.ocr out."


@dataclass(frozen=True, slots=True)
class Scans:
    """Who reads them, and where."""

    ocr: Ocr
    sandbox: Sandbox


def make_scans(languages: str) -> Scans:
    """Raises Misconfigured as ``program_for`` does."""
    return Scans(Ocr(languages, program_for(languages)), Sandbox(limits=LIMITS))


def program_for(languages: str) -> str:
    """Where it lies. Raises Misconfigured where it, or one of the languages, is not there."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise Misconfigured(f"parsing.ocr is set, and there is no {PROGRAM} here.", hint=_HINT)
    try:
        answer = subprocess.run(
            [program, "--list-langs"], capture_output=True, text=True, timeout=_ANSWER_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Misconfigured(f"parsing.ocr is set, and {program} does not work.", hint=_HINT) from error
    missing = set(languages.split("+")) - set(answer.stdout.splitlines()[1:])
    if missing:
        packages = " ".join(f"tesseract-ocr-{one}" for one in sorted(missing))
        raise Misconfigured(
            f"parsing.ocr names languages that {program} has not: {', '.join(sorted(missing))}.",
            hint=f"Install them (on Debian: {packages}), or leave them out.",
        )
    return program
