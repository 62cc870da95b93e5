"""Commands with an embedding endpoint, without a daemon: what it costs, and what goes on without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.doctor_data import _readable_key
from ops.settings import load
from tests.endpoint import KEY, Endpoint, endpoint
from tests.unit.ops.conftest import Run


@pytest.fixture
def one() -> Iterator[Endpoint]:
    with endpoint() as started:
        yield started


@pytest.fixture
def ask(run: Run, one: Endpoint, handbook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on the folder, with the endpoint."""
    (tmp_path / "headwater.toml").write_text(f'[[sources]]\nroot = "{handbook}"\n')
    (handbook / "leave.md").write_text("# Leave\n\nYou have 27 days of paid leave a year.\n")
    (handbook / "pay.md").write_text("# Pay\n\nWages arrive on the 25th.\n")
    for name, value in {
        "MODEL": "model-1",
        "RUNTIME": "openai",
        "URL": one.url,
        "API_KEY": KEY,
        "PRICE_PER_MILLION_TOKENS": "1000000",
    }.items():
        monkeypatch.setenv(f"HEADWATER_EMBEDDING__{name}", value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return run


def test_doctor_tells_of_a_key_in_the_open(ask: Run, one: Endpoint, tmp_path: Path) -> None:
    assert f"model-1 at {one.url} answers, with 32 dimensions" in ask("doctor", code=0).output
    environ = {
        "HEADWATER_EMBEDDING__RUNTIME": "openai",
        "HEADWATER_EMBEDDING__MODEL": "m",
        "HEADWATER_EMBEDDING__URL": "http://gpu.example/v1",
    }
    assert not list(_readable_key(load(environ=environ)))
    (told,) = _readable_key(load(environ={**environ, "HEADWATER_EMBEDDING__API_KEY": KEY}))
    assert "unencrypted" in told.what
    assert KEY not in told.what
