"""Which runtime embeds, and why. Pure: the machine and the model's answer arrive as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ingestion.errors import Misconfigured, ModelNotServed
from retrieval.embedding.installing import install_command
from retrieval.embedding.machine import Machine
from retrieval.embedding.precision import PrecisionClass

Runtime = Literal["openvino", "sentence-transformers"]
RUNTIMES = ("auto", "openvino", "sentence-transformers")
PRECISIONS = ("float", "int8")

INSTALL = f"Install it: {install_command('sentence-transformers')}"


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another runtime, and what speaks against it or how to have it."""

    runtime: str
    note: str


@dataclass(frozen=True, slots=True)
class Choice:
    """``precision`` is what is expected before the runtime was tried."""

    runtime: Runtime
    precision: str
    why: str
    alternatives: tuple[Alternative, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """``not_served``: why the openvino runtime cannot compute the model, None if it can."""

    model: str
    runtime: str
    precision: PrecisionClass
    not_served: ModelNotServed | None


def choose(asked: Asked, machine: Machine) -> Choice:
    """Raises ModelNotServed or Misconfigured, with the remedy, where nothing can do what was asked."""
    if asked.precision == "int8" and asked.runtime == "sentence-transformers":
        raise Misconfigured(
            "The sentence-transformers runtime computes floats only, and the settings ask for int8.",
            hint="Set embedding.precision to float, or embedding.runtime to openvino.",
        )
    if asked.precision == "int8" and not machine.openvino:
        raise Misconfigured(
            "The settings ask for int8, which only openvino computes, and openvino is not installed.",
            hint=f"Set embedding.precision to float, or install it: {install_command('openvino')}",
        )
    if asked.runtime == "openvino" or asked.precision == "int8":
        if asked.not_served is not None:
            raise asked.not_served
        setting = "runtime" if asked.runtime == "openvino" else "precision"
        return _openvino(asked, machine, f"the setting embedding.{setting} asks for it")
    if asked.runtime == "sentence-transformers":
        return _sentence_transformers(asked, machine, "the setting embedding.runtime asks for it")
    return _automatic(asked, machine)


def _automatic(asked: Asked, machine: Machine) -> Choice:
    if machine.gpu and machine.torch_for_gpu and machine.sentence_transformers:
        return _sentence_transformers(asked, machine, "there is a GPU, and torch to use it")
    if asked.not_served is None:
        return _openvino(asked, machine, "it computes this model on the processor, quicker and without torch")
    return _sentence_transformers(
        asked, machine, f"openvino cannot compute this model: {asked.not_served.reason}"
    )


def _openvino(asked: Asked, machine: Machine, why: str) -> Choice:
    if asked.precision == "int8":
        precision = "int8"
        why += "" if machine.vnni else "; without VNNI, which this processor has not, int8 is no quicker"
    else:
        precision = "bf16" if machine.bf16 and machine.openvino else "float32"
    if not machine.openvino:
        why += "; openvino is not installed, so numpy does it, slower"
    return Choice("openvino", precision, why, (_instead_of_openvino(machine, asked.precision),))


def _instead_of_openvino(machine: Machine, precision: PrecisionClass) -> Alternative:
    name = "sentence-transformers"
    if not machine.sentence_transformers:
        return Alternative(name, f"for GPUs and models of other families. {INSTALL}")
    also = ", and embedding.precision to float: the index is then made anew" if precision == "int8" else ""
    return Alternative(name, f"installed; set embedding.runtime to sentence-transformers{also}")


def _sentence_transformers(asked: Asked, machine: Machine, why: str) -> Choice:
    if not machine.sentence_transformers:
        raise Misconfigured(
            f"The model {asked.model} needs sentence-transformers, which is not installed ({why}).",
            hint=INSTALL,
        )
    precision = (
        "bf16 where the GPU has it"
        if machine.gpu and machine.torch_for_gpu
        else "bf16"
        if machine.bf16
        else "float32"
    )
    if asked.not_served is None:
        note = "computes this model too, on the processor; set embedding.runtime to openvino"
    else:
        note = f"cannot compute this model: {asked.not_served.reason}"
    return Choice("sentence-transformers", precision, why, (Alternative("openvino", note),))
