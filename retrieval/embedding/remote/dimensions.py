"""How long an endpoint's vectors are, asked once and remembered between starts.

What is remembered lies in the user's cache. It is a convenience: where it is missing the endpoint is
asked again, and an answer of another length is noticed with the first vector.
"""

from __future__ import annotations

from ingestion.errors import EmbedderUnavailable, Misconfigured
from retrieval.embedding.json_file import JsonFile
from retrieval.embedding.remote.endpoint import Endpoint

_TRY_S = 5.0


def learned_dimensions(endpoint: Endpoint, model: str, remembered: JsonFile) -> int:
    """The length of the endpoint's vectors of this model.

    Raises Misconfigured when it was never asked before and does not answer now.
    """
    name = _name(endpoint, model)
    known = remembered.read().get(name)
    if isinstance(known, int) and known > 0:
        return known
    try:
        length = endpoint.probe(tries_s=_TRY_S)
    except EmbedderUnavailable as fault:
        raise Misconfigured(
            f"How long the vectors of {model} are is not known, and the endpoint did not say: "
            f"{fault.message}",
            hint=f"{fault.hint} Or set embedding.dimensions, and it need not be asked.".strip(),
        ) from fault
    remembered.add(name, length)
    return length


def forget_dimensions(endpoint: Endpoint, model: str, remembered: JsonFile) -> None:
    """Ask again at the next start: the endpoint answers with vectors of another length. Idempotent."""
    remembered.drop(_name(endpoint, model))


def _name(endpoint: Endpoint, model: str) -> str:
    return f"{endpoint.dialect.name} {endpoint.url} {model}"
