"""`headwater rebuild`: another index beside the live one, a switch that nobody notices, and back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.program import Json, Program, expected, running
from tests.acceptance.test_reader import PAGES, TOP_K, WORD, Reader, Whole, page, revisions

OTHER = "hashing-96"
FILES = 5  # all passages together are no more than are asked for


def editions(program: Program) -> Json:
    report: Json = program.status()["editions"]
    return report


def fill(notes: Path) -> None:
    for number in range(PAGES):
        (notes / f"page-{number}.md").write_text(page(f"page {number}", 0))
    for number in range(FILES):
        (notes / f"other-{number}.md").write_text(f"# Other {number}\n\nNote {number} is about {number}.\n")


def found(program: Program, question: str) -> str:
    """URI of the best passage."""
    return str(program.search(question, top_k=1)[0]["uri"])


def rebuilt(program: Program, *words: str) -> Json:
    done = program.command("rebuild", *words, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report: Json = json.loads(done.stdout)
    return report


class WholePages(Whole):
    """Judges the pages, whatever else is found beside them."""

    def __call__(self, began: float, hits: list[Json]) -> Iterator[str]:
        yield from super().__call__(began, [hit for hit in hits if hit["uri"].startswith("page-")])


@contextmanager
def writing(notes: Path) -> Iterator[dict[str, int]]:
    """Edits every page in turn, until the block ends; says which revision each page has."""
    newest = dict.fromkeys((f"page-{number}.md" for number in range(PAGES)), 0)
    stop = threading.Event()

    def write() -> None:
        revision = 0
        while not stop.is_set():
            revision += 1
            name = f"page-{revision % PAGES}.md"
            written = notes / ".being-written"
            written.write_text(page(name.removesuffix(".md").replace("-", " "), revision))
            written.replace(notes / name)
            newest[name] = revision
            stop.wait(0.3)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield newest
    finally:
        stop.set()
        thread.join()


def test_a_rebuild_under_readers_and_writers_and_back(tmp_path: Path, notes: Path) -> None:
    """Queries without a pause from before the wish until after going back: no empty answer, no mixed one,
    nothing that goes back in time."""
    fill(notes)
    with running(tmp_path / "data", notes) as program:
        first = editions(program)["live"]["name"]
        with Reader(program, WholePages()).reading() as reader:
            with writing(notes):
                report = rebuilt(program, "--model", OTHER, "--wait")
                second = report["live"]["name"]
                assert second != first
                assert report["kept"]["name"] == first
                (notes / "new.md").write_text("# New\n\nWritten after the switch.\n")
                program.until(lambda: found(program, "written after the switch") == "new.md")
            program.settles(notes)
            answers = reader.answers
            report = rebuilt(program, "--back")
            assert report["live"]["name"] == first
            assert report["kept"]["name"] == second
            program.until(lambda: reader.faults or reader.answers > answers + 20)
        assert program.search("written after the switch", top_k=1)[0]["uri"] == "new.md"
        assert program.passages() == expected(notes)
        assert program.metric("headwater_pending") == 0
        shown = revisions(program.search(WORD, top_k=TOP_K))
        assert sum(map(bool, shown.values())) == PAGES


def test_after_a_switch_the_live_edition_wins_over_the_settings(tmp_path: Path, notes: Path) -> None:
    """A start with the old model in the settings serves what was switched to, and says so."""
    fill(notes)
    with running(tmp_path / "data", notes) as program:
        rebuilt(program, "--model", OTHER, "--wait", "--keep", "0")
        assert "Set embedding.model" in program.command("rebuild", "--status").stdout
        program.stop()
        program.start().ready()
        assert "headwater rebuild makes one with the settings' model" in program.said()
        assert editions(program)["live"]["model"] == OTHER
        (notes / "new.md").write_text("# New\n\nWritten after the start.\n")
        program.settles(notes)
        assert found(program, "written after the start") == "new.md"
        program.stop()
        program.environment["HEADWATER_EMBEDDING__MODEL"] = OTHER
        program.start().ready()
        assert "headwater rebuild makes" not in program.said()


def test_without_a_daemon_it_is_done_here(tmp_path: Path, notes: Path) -> None:
    fill(notes)
    with running(tmp_path / "data", notes) as program:
        program.stop()
        report = rebuilt(program, "--model", OTHER)
        assert report["live"]["model"] == OTHER
        answer = json.loads(program.command("search", "note 4 is about 4", "-k", "1", "--json").stdout)
        assert (answer["mode"], answer["hits"][0]["uri"]) == ("hybrid", "other-4.md")
        assert rebuilt(program, "--back")["live"]["model"] == "hashing"
        assert program.command("rebuild", "--cancel").returncode == 1


def test_a_gate_below_which_searches_stay(tmp_path: Path, notes: Path) -> None:
    fill(notes)
    queries = tmp_path / "queries.jsonl"
    queries.write_text('{"query": "note 4 is about 4", "expected": ["notes/nowhere.md"]}\n')
    with running(tmp_path / "data", notes) as program:
        first = editions(program)["live"]["name"]
        refused = program.command(
            "rebuild", "--model", OTHER, "--wait", "--min-recall", "0.9", "--queries", queries
        )
        assert refused.returncode == 1
        assert "below 0.9" in refused.stdout
        assert editions(program)["live"]["name"] == first
        queries.write_text('{"query": "note 4 is about 4", "expected": ["notes/other-4.md"]}\n')
        done = program.command("rebuild", "--resume", "--wait", "--min-recall", "0.9", "--queries", queries)
        assert done.returncode == 0, done.stdout + done.stderr
        assert editions(program)["live"]["model"] == OTHER


def test_a_kill_in_the_middle_of_a_build_and_cancel(tmp_path: Path, notes: Path) -> None:
    fill(notes)
    with running(tmp_path / "data", notes) as program:
        live = editions(program)["live"]["name"]
        rebuilt(program, "--model", OTHER)
        program.kill()
        (notes / "later.md").write_text("# Later\n\nWritten after the kill.\n")
        program.start().ready()
        program.until(lambda: editions(program)["live"]["name"] != live, what="the build went on by itself")
        assert program.passages() == expected(notes)
        assert found(program, "written after the kill") == "later.md"
        refused = program.command("rebuild")  # with the settings' model: it is kept, nothing is to be built
        assert refused.returncode == 1
        assert "headwater rebuild --back" in refused.stderr
