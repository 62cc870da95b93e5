"""kill -9 of the program while an endpoint embeds for it: what is paid for twice, and what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from retrieval.embedding.remote.endpoint import PROBE
from tests.acceptance.program import Program
from tests.endpoint import KEY, Asked, Endpoint, Said, endpoint

AT_ONCE = 2
BATCH_TEXTS = 4
WORKERS = 2 * AT_ONCE  # of bulk work: as many as calls, and as many to read, parse and write meanwhile
SMALL = 41
SECTIONS = 41
CALL_S = 0.1
QUESTIONS = (
    "passage 7 of small 7",
    "passage 40 of small 40",
    "part 3 of the large one",
    "part 31 of the large one",
)


@pytest.fixture
def one() -> Iterator[Endpoint]:
    with endpoint() as started:

        def slow(asked: Asked) -> Said:
            return replace(started.right(asked), wait_s=CALL_S)

        started.script = slow
        yield started


def program(data: Path, notes: Path, one: Endpoint) -> Program:
    made = Program(data, notes, model="model-1")
    made.environment |= {
        "HEADWATER_EMBEDDING__RUNTIME": "openai",
        "HEADWATER_EMBEDDING__URL": one.url,
        "HEADWATER_EMBEDDING__API_KEY": KEY,
        "HEADWATER_EMBEDDING__CONCURRENCY": str(AT_ONCE),
        "HEADWATER_EMBEDDING__BATCH_TEXTS": str(BATCH_TEXTS),
        "XDG_CACHE_HOME": str(data.parent / "cache"),
    }
    return made


def write(notes: Path) -> None:
    """Documents of one chunk, and one of as many chunks again."""
    for number in range(SMALL):
        (notes / f"{number}.md").write_text(
            f"# Small {number}\n\nThis is passage {number} of small {number}.\n"
        )
    parts = [f"## Part {part}\n\nThis is part {part} of the large one.\n" for part in range(SECTIONS)]
    (notes / "large.md").write_text("# Large\n\n" + "\n".join(parts))


def sent(one: Endpoint) -> list[str]:
    with one.lock:
        return [text for text in one.texts() if text != PROBE]


def answers(asked: Program) -> list[object]:
    """The best hits: those behind them may be equally good."""
    hits = [asked.search(question, top_k=1)[0] for question in QUESTIONS]
    return [(hit["uri"], hit["start"], hit["end"], hit["text"], round(hit["score"], 6)) for hit in hits]


def test_a_killed_program_has_at_most_a_batch_a_worker_embedded_twice(
    tmp_path: Path, notes: Path, one: Endpoint
) -> None:
    write(notes)
    with program(tmp_path / "undisturbed", notes, one) as undisturbed:
        undisturbed.start().ready()
        total = len(sent(one))
        assert len(set(sent(one))) == total
        wanted, found = undisturbed.passages(), answers(undisturbed)
        undisturbed.stop()
    assert total == len(wanted) >= SMALL + SECTIONS
    one.asked.clear()
    with program(tmp_path / "killed", notes, one) as killed:
        for kills, share in enumerate((0.3, 0.7), start=1):
            killed.start().until(lambda share=share: len(set(sent(one))) >= share * total)  # type: ignore[misc]
            killed.kill()
            assert len(set(sent(one))) < total
            assert len(sent(one)) - len(set(sent(one))) <= (kills - 1) * WORKERS * BATCH_TEXTS
        killed.start().ready()
        assert len(set(sent(one))) == total
        assert len(sent(one)) - total <= 2 * WORKERS * BATCH_TEXTS
        assert killed.passages() == wanted
        assert answers(killed) == found
        killed.stop()
