"""The torch-free runtimes against sentence-transformers itself, in float32, on real text.

Ten folders: the default model, and small ones of random numbers for what other models ask for, saved by the
library. Each is compared value by value, so a wrong pooling, prompt, position or activation cannot hide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from retrieval.embedding import trusted
from retrieval.embedding.describing import describe
from retrieval.embedding.digests import DigestCache
from retrieval.embedding.forward import ForwardPass
from retrieval.embedding.model_folder import read_model_folder
from retrieval.embedding.models import DEFAULT_MODEL, find_model
from retrieval.embedding.openvino_embedder import OpenVinoEmbedder
from retrieval.embedding.openvino_runtime import OpenVinoRuntime
from retrieval.embedding.precision import LEAST_COSINE, Precision
from retrieval.embedding.processor import cpu_has_bf16
from retrieval.embedding.tokens import Encoding
from retrieval.embedding.vectors import checked
from retrieval.embedding.verdicts import Verdicts
from retrieval.embedding.weights import WeightFiles
from tests.small_encoder import change_json

HANDBOOK = Path(__file__).resolve().parents[2] / "ops" / "handbook"
BERT_SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
ROBERTA_SPECIAL = {"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "unk_token": "<unk>"}
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}


def real_texts() -> list[str]:
    """Paragraphs of the handbook and one of its files whole, far beyond every limit here."""
    files = [file.read_text(encoding="utf-8") for file in sorted(HANDBOOK.rglob("*.md"))]
    paragraphs = [part for text in files for part in text.split("\n\n")]
    odd = [
        "",
        " ",
        "<pad> and [PAD] and </s> are words too",
        "naïve café 東京都 \U0001f9ed",
        "def f(x):\n    return x",
    ]
    return [*paragraphs[:40], *odd, "\n".join(files)]


@dataclass(frozen=True)
class Kind:
    """What sentence-transformers is told to save. ``after``: modules behind the pooling."""

    model_type: str
    config: dict[str, Any] = field(default_factory=dict)
    pooling: Any = "mean"
    after: Callable[[], list[Any]] = list
    prompts: dict[str, str] = field(default_factory=dict)
    truncate_dim: int | None = None
    stored_as: str = "float32"
    max_tokens: int = 60
    tokenizer_class: str = ""  # one that transformers builds anew, lower case or not
    cased: bool = False


def normalised() -> list[Any]:
    from sentence_transformers.models import Normalize

    return [Normalize()]


def two_dense_layers() -> list[Any]:
    import torch
    from sentence_transformers.models import Dense, Normalize

    return [
        Dense(32, 24, activation_function=torch.nn.Tanh()),
        Normalize(),
        Dense(24, 20, bias=False, activation_function=torch.nn.Identity()),
    ]


KINDS = {
    "bert-like-bge": Kind("bert", SMALL, pooling="cls", after=normalised, tokenizer_class="BertTokenizer"),
    "bert-tanh-gelu-three-poolings": Kind(
        "bert", {**SMALL, "hidden_act": "gelu_new"}, pooling=("max", "mean", "mean_sqrt_len_tokens")
    ),
    "bert-relu-fp16": Kind(
        "bert",
        {**SMALL, "hidden_act": "relu"},
        stored_as="float16",
        tokenizer_class="BertTokenizer",
        cased=True,
    ),
    "bert-silu-bf16": Kind(
        "bert", {**SMALL, "hidden_act": "silu", "layer_norm_eps": 1e-3}, stored_as="bfloat16"
    ),
    "roberta": Kind(
        "roberta", {**SMALL, "layer_norm_eps": 1e-5}, after=normalised, tokenizer_class="RobertaTokenizer"
    ),
    "xlm-roberta-like-e5": Kind(
        "xlm-roberta", SMALL, after=normalised, prompts={"query": "query: ", "passage": "passage: "}
    ),
    "camembert": Kind("camembert", SMALL, pooling="cls"),
    "distilbert-dense": Kind(
        "distilbert", {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48}, after=two_dense_layers
    ),
    "mpnet-truncated": Kind("mpnet", SMALL, after=normalised, truncate_dim=16, max_tokens=180),
}


def word_pieces() -> Tokenizer:
    return read_model_folder(find_model(DEFAULT_MODEL)).tokenizer()


def byte_pairs() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(real_texts(), trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


def save(kind: Kind, path: Path) -> Path:
    """The folder of such a model, saved by sentence-transformers."""
    import torch
    import transformers
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    library: Any = transformers  # half of it is typed
    like_roberta = kind.model_type in ("roberta", "xlm-roberta", "camembert")
    tokenizer = byte_pairs() if like_roberta else word_pieces()
    if kind.cased:
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    own = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2} if like_roberta else {}
    config = library.AutoConfig.for_model(
        kind.model_type,
        vocab_size=tokenizer.get_vocab_size(),
        max_position_embeddings=200,
        **own,
        **kind.config,
    )
    torch.manual_seed(7)
    model = library.AutoModel.from_config(config).eval()
    with torch.no_grad():
        for values in model.parameters():
            values.add_(torch.randn_like(values) * 0.2)
    plain = path / "plain"
    model.to(getattr(torch, kind.stored_as)).save_pretrained(plain)
    special = ROBERTA_SPECIAL if like_roberta else BERT_SPECIAL
    library.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(plain)
    transformer = Transformer(str(plain), max_seq_length=kind.max_tokens)
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode=kind.pooling)
    whole = SentenceTransformer(
        modules=[transformer, pooling, *kind.after()],
        prompts=kind.prompts,
        truncate_dim=kind.truncate_dim,
        device="cpu",
    )
    whole.save(str(path / "saved"), create_model_card=False)
    if kind.tokenizer_class:
        own_tokenizer = {"tokenizer_class": kind.tokenizer_class, "do_lower_case": not kind.cased}
        change_json(path / "saved" / "tokenizer_config.json", **own_tokenizer)
    return path / "saved"


@dataclass(frozen=True)
class Pair:
    """The library, and what we make of the same folder."""

    library: Any
    folder: Path
    embedder: OpenVinoEmbedder


@pytest.fixture(scope="module", params=[DEFAULT_MODEL, *KINDS])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    import torch
    from sentence_transformers import SentenceTransformer

    place = tmp_path_factory.mktemp("model")
    folder = (
        find_model(DEFAULT_MODEL) if request.param == DEFAULT_MODEL else save(KINDS[request.param], place)
    )
    library = SentenceTransformer(
        str(folder), device="cpu", local_files_only=True, model_kwargs={"dtype": torch.float32}
    )
    caches = {"digests": DigestCache(place / "digests.json"), "verdicts": Verdicts(place / "trials")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trusted, "cpu_has_bf16", lambda: False)
        embedder = OpenVinoEmbedder(read_model_folder(folder), **caches)  # type: ignore[arg-type]
        embedder.load()
    assert embedder.description.endswith(", openvino, float32")
    yield Pair(library, folder, embedder)


def expected(pair: Pair, texts: list[str], encode: str = "encode_document") -> Any:
    raw = getattr(pair.library, encode)(texts, batch_size=7, show_progress_bar=False, convert_to_numpy=True)
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def test_documents_agree(pair: Pair) -> None:
    texts = real_texts()
    wanted, found = expected(pair, texts), pair.embedder.embed_documents(texts)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    assert np.einsum("ij,ij->i", found, wanted).min() >= LEAST_COSINE["float32"]
    assert (wanted @ wanted.T).min() < 0.97  # they differ, so agreeing means something


def test_questions_agree(pair: Pair) -> None:
    texts = ["How many days of leave do I have?", ""]
    found = np.stack([pair.embedder.embed_query(text) for text in texts])
    np.testing.assert_allclose(found, expected(pair, texts, "encode_query"), atol=2e-5)


@pytest.mark.parametrize(
    "precision",
    [
        "float32",
        pytest.param(
            "bf16", marks=pytest.mark.skipif(not cpu_has_bf16(), reason="this processor has no bf16")
        ),
    ],
)
def test_each_precision_reaches_its_own_bar(pair: Pair, precision: Precision) -> None:
    folder = read_model_folder(pair.folder)
    encoder = describe(folder)
    encoding = Encoding(folder, encoder)
    runtime = OpenVinoRuntime(encoder, WeightFiles(folder, encoder).read(), precision)
    texts = real_texts()
    ids = encoding.ids([folder.document_prompt + text for text in texts])
    raw = runtime.vectors(encoding.batch(ids))[:, : folder.dimensions]
    cosines = np.einsum("ij,ij->i", checked(raw, raw.shape), expected(pair, texts))
    assert cosines.min() >= LEAST_COSINE[precision]


def test_the_plain_forward_pass_agrees(pair: Pair) -> None:
    folder = read_model_folder(pair.folder)
    encoder = describe(folder)
    encoding = Encoding(folder, encoder)
    plain = ForwardPass(encoder, WeightFiles(folder, encoder).read())
    texts = real_texts()
    ids = encoding.ids([folder.document_prompt + text for text in texts])
    raw = plain.vectors(encoding.batch(ids))[:, : folder.dimensions]
    np.testing.assert_allclose(checked(raw, raw.shape), expected(pair, texts), atol=5e-6)


def test_what_is_said_of_it_agrees(pair: Pair) -> None:
    assert pair.embedder.max_tokens == pair.library.max_seq_length
    texts = real_texts()
    prompt = read_model_folder(pair.folder).document_prompt
    tokenizer = pair.library.tokenizer
    counted = [len(tokenizer(prompt + text, truncation=False, verbose=False)["input_ids"]) for text in texts]
    assert pair.embedder.count_tokens(texts) == counted
