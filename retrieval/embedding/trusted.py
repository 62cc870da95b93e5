"""The quickest runtime that agrees with the plain forward pass on this machine: trust is earned by a trial.

For the class ``float``: OpenVINO in bf16 where the processor has it, then in float32, then the plain forward
pass itself. For ``int8``: OpenVINO in int8 or nothing, since an index of that class was asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ingestion.errors import Misconfigured, ModelMissing
from retrieval.embedding.encoder import Encoder
from retrieval.embedding.forward import ForwardPass
from retrieval.embedding.precision import LEAST_COSINE, Precision, PrecisionClass
from retrieval.embedding.processor import cpu_has_bf16
from retrieval.embedding.tokens import Encoding
from retrieval.embedding.trial import Runtime, gives_vectors, worst_cosine
from retrieval.embedding.verdicts import Verdicts
from retrieval.embedding.weights import Weights

log = logging.getLogger(__name__)

OPENVINO, NUMPY = "openvino", "numpy"


@dataclass(frozen=True, slots=True)
class Trusted:
    """A runtime that may be used, and for what reasons no quicker one is."""

    runtime: Runtime
    name: str
    precision: Precision
    refused: tuple[str, ...] = ()


# What the import of a wheel for another system, or of half a wheel, has been seen to end in.
_BROKEN = (ImportError, OSError, RuntimeError, AttributeError, ValueError, SystemError, SystemExit)


class _Refused(Exception):
    """Why one runtime is not used."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An encoder to be computed. ``fingerprint`` stands for everything in its folder."""

    encoder: Encoder
    weights: Weights
    encoding: Encoding
    fingerprint: str


def trusted_runtime(candidate: Candidate, wanted: PrecisionClass, verdicts: Verdicts) -> Trusted:
    """Try, from quick to plain. What was refused is logged once.

    Raises Misconfigured where int8 was asked for and fails, ModelMissing for weights that give no vectors.
    """
    plain = ForwardPass(candidate.encoder, candidate.weights)
    refused: list[str] = []
    for precision in _ladder(wanted):
        try:
            runtime = _passed(candidate, precision, plain, verdicts)
        except _Refused as why:
            if str(why) not in refused:  # what keeps it from one precision may keep it from each
                refused.append(str(why))
        else:
            _tell(refused, f"{OPENVINO} in {precision}")
            return Trusted(runtime, OPENVINO, precision, tuple(refused))
    if not gives_vectors(plain, candidate.encoding, candidate.encoder.dimensions):
        raise ModelMissing(
            "The weights of the embedding model give no vectors (NaN, infinity or nothing but zeros).",
            hint="Put the whole model there again, or set embedding.model to another one.",
        )
    if wanted == "int8":
        raise Misconfigured(
            f"The embedding model cannot be used in int8: {'; '.join(refused)}.",
            hint="Set embedding.precision to float.",
        )
    _tell(refused, "the plain forward pass, which is slower")
    return Trusted(plain, NUMPY, "float32", tuple(refused))


def _ladder(wanted: PrecisionClass) -> Iterator[Precision]:
    if wanted == "int8":
        yield "int8"
        return
    if cpu_has_bf16():
        yield "bf16"
    yield "float32"


def _passed(candidate: Candidate, precision: Precision, plain: Runtime, verdicts: Verdicts) -> Runtime:
    """OpenVINO in this precision, having passed. Raises _Refused."""
    try:
        from retrieval.embedding.openvino_runtime import OpenVinoRuntime, version
    except _BROKEN as error:  # no wheel for this system, or one that does not fit it
        raise _Refused(f"openvino cannot be imported ({error})") from error
    try:
        key = (candidate.fingerprint, version(), precision)  # which asks OpenVINO for the processor
        worst = verdicts.recall(*key)
        _check(worst, precision)
        runtime = OpenVinoRuntime(candidate.encoder, candidate.weights, precision)
        if worst is None:
            worst = worst_cosine(runtime, plain, candidate.encoding, candidate.encoder.dimensions)
            verdicts.remember(worst, *key)
    except RuntimeError as error:
        raise _Refused(f"openvino cannot compute it in {precision} ({first_line(error)})") from error
    _check(worst, precision)
    return runtime


def _check(worst: float | None, precision: Precision) -> None:
    least = LEAST_COSINE[precision]
    if worst is not None and worst < least:
        raise _Refused(
            f"openvino in {precision} was too far from float32 in its trial "
            f"(cosine {worst:.6f}, at least {least} is needed)"
        )


def _tell(refused: Sequence[str], used: str) -> None:
    if refused:
        log.warning("embedding with %s: %s", used, "; ".join(refused))


def first_line(error: BaseException) -> str:
    """Of a message that may go on for pages."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
