"""The README is typed in as it stands: its first screen is run, and whatever it names exists."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import BaseModel

from ingestion.errors import ModelMissing
from ops.settings import Settings, load
from retrieval.api import schemas
from retrieval.embedding.models import find_model
from tests.acceptance.program import Program
from tests.docs.test_reference import COMMANDS, metrics, settings_of

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
FIRST_SCREEN = README.split("\n## ")[0]
OPEN = "@@"  # marks what is still to be filled in

DEADLINE_S = 60.0
ANSWERED_S = 10.0


@dataclass(frozen=True, slots=True)
class Block:
    language: str
    text: str


def blocks(text: str) -> list[Block]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [Block(language, body) for language, body in found]


def commands_in(text: str) -> list[str]:
    """The lines of its shell blocks, without comments."""
    joined = "".join(block.text for block in blocks(text) if block.language in ("sh", "shell", "bash"))
    lines = [re.sub(r"\s+#.*", "", line).strip() for line in joined.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def code(text: str) -> list[str]:
    """Inline code, and the lines of shell blocks."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [*re.findall(r"`([^`\n]+)`", prose), *commands_in(text)]


def fields(*models: type[BaseModel]) -> set[str]:
    return {name for model in models for name in model.model_fields}


class Checkout:
    """What a clone would be: the handbook, and an environment that is made already."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "ops" / "handbook", folder / "ops" / "handbook")
        (folder / ".venv").symlink_to(sys.prefix)
        self.home = folder.parent / "home"
        # As make up starts it; any free port, because another program may have the usual one.
        self.program = Program(
            self.home / "headwater",
            folder / "ops" / "handbook",
            model=Settings().embedding.model,
            cwd=folder,
        )
        self.program.environment["XDG_DATA_HOME"] = str(self.home)

    def run(self, command: str) -> str:
        done = subprocess.run(
            ["sh", "-c", command],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            cwd=self.folder,
            env=self.program.environment,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def run_until(self, command: str, is_so: Callable[[str], bool]) -> str:
        """Run it again and again, as one would who was too quick."""
        ends = time.monotonic() + ANSWERED_S
        while not is_so(output := self.run(command)):
            assert time.monotonic() < ends, output
        return output


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A clone in which `make up` runs."""
    try:
        find_model(Settings().embedding.model)
    except ModelMissing as error:
        pytest.skip(str(error))
    if not (Path(sys.prefix) / "bin" / "headwater").exists():
        pytest.skip("the program is not installed in this environment")
    made = Checkout(tmp_path_factory.mktemp("readme") / "headwater")
    made.home.mkdir()
    with made.program as program:
        program.start().ready(DEADLINE_S)
        yield made


def test_make_up_starts_what_is_tested_here() -> None:
    assert "HANDBOOK := ops/handbook" in MAKEFILE
    assert '$(BIN)/headwater up "$$folder"' in MAKEFILE


def test_the_first_command_comes_early() -> None:
    lines = README.splitlines()
    assert next(number for number, line in enumerate(lines, 1) if line.startswith("```")) < 25


@pytest.mark.timeout(240)
def test_the_first_screen_as_it_stands(checkout: Checkout) -> None:
    """Everything but the clone and `make up`. Each answer names the file and its age; the edit shows."""
    outputs: list[str] = []
    replaced: list[tuple[str, str]] = []
    for command in commands_in(FIRST_SCREEN):
        if command.startswith(("git clone ", "make ")):
            continue
        if edit := re.fullmatch(r"sed -i 's/(.+)/(.+)/' (\S+)", command):
            assert edit[1] in (checkout.folder / edit[3]).read_text(), "there is nothing to be edited"
            replaced.append((edit[1], edit[2]))
            checkout.run(command)
        elif " search " in command:
            output = checkout.run_until(command, lambda output: all(new in output for _, new in replaced))
            assert re.search(r"^1\. handbook/people/leave\.md", output, flags=re.MULTILINE)
            assert re.search(r"changed (just now|.+ ago)", output)
            assert not any(old in output for old, _ in replaced)
            outputs.append(output)
        else:
            outputs.append(checkout.run(command))
    assert replaced, "nothing is edited"
    assert len(outputs) > 1
    for shown in re.findall(r"^\s*(1\. \S+.*)$", FIRST_SCREEN, flags=re.MULTILINE):
        assert any(shown.rstrip() in output for output in outputs), f"the README shows: {shown}"


def test_the_question_over_http(checkout: Checkout) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    (command,) = [line for line in commands_in(README) if line.startswith("curl ")]
    port = checkout.program.listening().rsplit(":", 1)[1]
    assert "7878" in command
    answer = schemas.SearchOut.model_validate_json(checkout.run(command.replace("7878", port)))
    assert answer.hits[0].uri == "people/leave.md"


def test_every_path_over_http_exists(checkout: Checkout) -> None:
    named = {span for span in code(README) if re.fullmatch(r"/(v1/)?[a-z]+", span)}
    assert named
    for path in named:
        checkout.program.get(path, codes=(200, 405))


def test_every_command_and_option_exists() -> None:
    options = {option for command in COMMANDS.values() for one in command.params for option in one.opts}
    named = 0
    for line in code(README):
        if found := re.match(r"(?:\.venv/bin/)?headwater ([a-z-]+)(.*)", line):
            named += 1
            assert f"headwater {found[1]}" in COMMANDS, line
            known = {option for one in COMMANDS[f"headwater {found[1]}"].params for option in one.opts}
            assert set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", found[2])) <= known, line
        elif line.startswith("-"):
            assert line.split()[0] in options, line
        elif target := re.match(r"make ([a-z]+)", line):
            assert re.search(rf"^{target[1]}:", MAKEFILE, flags=re.MULTILINE), line
    assert named > 5


def test_every_setting_field_and_metric_exists() -> None:
    leaves = set(settings_of(Settings))
    models = (schemas.SearchBody, schemas.SearchOut, schemas.HitOut, schemas.SourceOut, schemas.DocumentOut)
    known = fields(*models) | {name.rsplit(".", 1)[-1] for name in leaves} | set(metrics())
    known |= {bench.stem for bench in (ROOT / "tests" / "bench").glob("[a-z]*.py")}
    for span in code(README):
        if variable := re.fullmatch(r"HEADWATER_([A-Z_]+__[A-Z_]+)", span):
            assert variable[1].lower().replace("__", ".") in leaves, span
        elif re.fullmatch(r"[a-z]+(_[a-z]+)+", span):
            assert span in known, f"there is no {span}"
    assert set(re.findall(r"headwater_\w+", README)) <= set(metrics())


def test_the_settings_shown_are_settings(tmp_path: Path) -> None:
    shown = [block.text for block in blocks(README) if block.language == "toml"]
    assert shown
    for number, text in enumerate(shown):
        config = tmp_path / f"{number}.toml"
        config.write_text(text)
        assert load(config, environ={"HOME": os.fspath(tmp_path)}).sources


def test_the_answer_shown_has_the_fields_of_an_answer() -> None:
    shown = "".join(block.text for block in blocks(README) if block.language == "json")
    if OPEN in shown:
        pytest.skip("the README shows no answer yet")
    keys = set(re.findall(r'"(\w+)":', shown))
    assert {"hits", "text", "uri", "age_s"} <= keys <= fields(schemas.SearchOut, schemas.HitOut)


def test_every_file_that_is_named_exists() -> None:
    if OPEN in README:
        pytest.skip("the README is not finished")
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if "://" not in link]
    spans = [span for span in code(README) if re.fullmatch(r"[a-z]+/[\w./-]*", span)]
    assert links
    for path in (*links, *spans):
        assert (ROOT / path).exists(), path
    for name in re.findall(r"BENCH=([a-z]\w*)", README):
        assert name == "name" or (ROOT / "tests" / "bench" / f"{name}.py").exists(), name
