"""Runs an encoder's OpenVINO graph on this machine's processor.

Decides how it is compiled; whether the result may be trusted is decided in ``trusted.py``. OpenVINO is
imported with this module.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import numpy as np

from retrieval.embedding import openvino_graph, trial
from retrieval.embedding.encoder import Encoder
from retrieval.embedding.openvino_import import ov
from retrieval.embedding.precision import Precision
from retrieval.embedding.tokens import Tokens
from retrieval.embedding.weights import Array, Weights

# Activations are rounded in groups of this many values, OpenVINO's default; where the processor has no VNNI
# they are not rounded at all.
_DYNAMIC_GROUP = 32


class OpenVinoRuntime:
    """Vectors of token ids, as ``ForwardPass``. Safe to use from several threads: one call at a time.

    One call uses all cores; two requests on half of them each had the same rate, and twice the latency.
    """

    def __init__(self, encoder: Encoder, weights: Weights, precision: Precision) -> None:
        """Compiles: 0.2 s for a small model. Raises RuntimeError where OpenVINO cannot."""
        graph = openvino_graph.build_graph(encoder, weights, int8=precision == "int8")
        self._request = ov.Core().compile_model(graph, "CPU", properties(precision)).create_infer_request()
        self._inferring = threading.Lock()

    @property
    def computes_in(self) -> str:
        """The precision that OpenVINO settled for: a processor without bf16 is given float32."""
        return str(self._request.get_compiled_model().get_property("INFERENCE_PRECISION_HINT").to_string())

    def vectors(self, tokens: Tokens) -> Array:
        """Shape (texts, values of the last step), float32."""
        inputs = [tokens.ids, np.ascontiguousarray(tokens.positions), tokens.mask]
        with self._inferring:
            found: Array = self._request.infer(inputs, share_inputs=True)[0].copy()
        return found


def properties(precision: Precision) -> dict[str, object]:
    """What OpenVINO is asked for."""
    asked: dict[str, object] = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "PERFORMANCE_HINT": "LATENCY",
        # Threads bound to cores wait for whoever else is on theirs.
        "ENABLE_CPU_PINNING": False,
    }
    if precision == "int8":
        asked["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = _DYNAMIC_GROUP
    return asked


def _digest_of_code() -> str:
    """Of the sources that say what is computed, how, and what is tried: a verdict on others is void."""
    files = (openvino_graph.__file__, __file__, trial.__file__)
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()[:16]


def version() -> str:
    """What a verdict depends on besides the model: OpenVINO's build, our code, the processor."""
    processor = ov.Core().get_property("CPU", "FULL_DEVICE_NAME")
    able = sorted(ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    return f"openvino {ov.get_version()}, code {_digest_of_code()}, {processor} {able}"
