"""The README's web page, table and PDF: typed in as they stand, each edit shows in the answer."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ingestion.errors import ModelMissing
from ops.settings import Settings
from retrieval.embedding.models import find_model
from tests.docs.test_readme import MAKEFILE, README, ROOT, commands_in
from tests.servers.process import free_port

SECTION = README.split("\n## A web page, a table, a PDF\n")[1].split("\n## ")[0]
DEADLINE_S = 60.0
EDITS = {"site/returns.html": "45 days", "UPDATE products": "24.90 euros", "terms.pdf": "40 percent"}


def run(command: str, folder: Path) -> str:
    done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def run_until(command: str, shown: str, folder: Path) -> str:
    ends = time.monotonic() + DEADLINE_S
    while shown not in (output := run(command, folder)):
        assert time.monotonic() < ends, f"{shown} is not in: {output}"
        time.sleep(0.2)
    return output


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Path]:
    """A clone in which `make shop` runs, with ports that are free here."""
    try:
        find_model(Settings().embedding.model)
    except ModelMissing as error:
        pytest.skip(str(error))
    clone = tmp_path / "headwater"
    shutil.copytree(ROOT / "ops" / "shop", clone / "ops" / "shop")
    (clone / ".venv").symlink_to(sys.prefix)
    port = free_port()
    for old, new in (("7879", port), ("7880", free_port())):
        for file in ("headwater.toml", "start.py"):
            path = clone / "ops" / "shop" / file
            path.write_text(path.read_text().replace(old, str(new)))
    started = subprocess.Popen(
        [clone / ".venv" / "bin" / "python", "ops/shop/start.py", ".shop"],
        cwd=clone,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        ready(f"http://127.0.0.1:{port}/readyz")
        yield clone / ".shop"
    finally:
        os.killpg(started.pid, signal.SIGINT)
        assert started.wait(30) == 0


def ready(url: str) -> None:
    ends = time.monotonic() + DEADLINE_S
    while True:
        try:
            if httpx.get(url).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < ends, "it does not become ready"
        time.sleep(0.1)


def test_make_shop_starts_what_is_tested_here() -> None:
    assert "ops/shop/start.py .shop" in MAKEFILE


@pytest.mark.timeout(240)
def test_each_edit_shows_in_the_answer(shop: Path) -> None:
    expected, outputs, shown = "30 days", [], set[str]()
    for command in commands_in(SECTION):
        if command.startswith("cd "):
            continue
        if " search " in command:
            outputs.append(run_until(command, expected, shop))
            shown.add(expected)
            continue
        run(command, shop)
        (expected,) = (new for edit, new in EDITS.items() if edit in command)
    assert shown == {"30 days", *EDITS.values()}
    for line in re.findall(r"^(1\. \S+.*)$", SECTION, flags=re.MULTILINE):
        place = line.partition("  ")[2] or line
        assert any(place in output for output in outputs), f"the README shows: {line}"
