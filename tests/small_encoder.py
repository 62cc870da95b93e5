"""A small BERT of random numbers in a folder, made without torch: for tests of everything that reads one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from retrieval.embedding.describing import describe
from retrieval.embedding.model_folder import read_model_folder
from retrieval.embedding.models import DEFAULT_MODEL, find_model
from retrieval.embedding.tensor_names import NAMES, encoder_shapes

CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "vocab_size": 30522,
    "max_position_embeddings": 128,
    "type_vocab_size": 2,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_size": 32,
    "intermediate_size": 64,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}
POOLING = {"word_embedding_dimension": 32, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}


def make_small_bert(path: Path) -> Path:
    """As sentence-transformers saves one; with the default model's tokenizer, for at most 100 tokens."""
    path.mkdir()
    kinds = ("Transformer", "Pooling", "Normalize")
    modules = [
        {"idx": n, "path": "" if n == 0 else f"{n}_{kind}", "type": f"sentence_transformers.models.{kind}"}
        for n, kind in enumerate(kinds)
    ]
    write_json(path / "modules.json", modules)
    write_json(path / "config.json", CONFIG)
    write_json(path / "sentence_bert_config.json", {"max_seq_length": 100, "do_lower_case": False})
    write_json(path / "1_Pooling" / "config.json", POOLING)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(find_model(DEFAULT_MODEL) / name, path / name)
    (path / "model.safetensors").touch()
    encoder = describe(read_model_folder(path))
    random = np.random.default_rng(7)
    tensors = {
        name: random.normal(scale=0.3, size=shape).astype(np.float32)
        for name, shape in encoder_shapes(encoder, NAMES["bert"]).items()
    }
    save_file(tensors, path / "model.safetensors")
    return path


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def change_json(path: Path, **changes: Any) -> None:
    """Set keys of a JSON file; None removes one."""
    content = json.loads(path.read_text()) if path.exists() else {}
    content |= changes
    write_json(path, {key: value for key, value in content.items() if value is not None})


def change_weights(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Read every tensor, let them be changed in place, and write them again."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
