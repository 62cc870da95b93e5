"""The answer of the openvino runtime to a model that it leaves to another runtime. Pure."""

from __future__ import annotations

from pathlib import Path

from ingestion.errors import ModelNotServed


class AsksFor(Exception):
    """What a model's folder asks for and this runtime cannot do."""


def not_served(path: Path, reason: str) -> ModelNotServed:
    """``reason`` is a clause whose subject is the model: "it asks for ..."."""
    return ModelNotServed(
        f"The openvino runtime cannot compute the model in {path}: {reason}.",
        reason=reason,
        hint="Set embedding.runtime to sentence-transformers, or embedding.model to another model.",
    )
