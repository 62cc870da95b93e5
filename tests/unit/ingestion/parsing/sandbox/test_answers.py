"""Answers of children: what is well comes through as it was, and whatever is not is refused."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from ingestion.errors import DocumentUnparsable, NotIndexable
from ingestion.parsing.sandbox import answers
from ingestion.parsing.sandbox.answers import Nonsense, from_answer, refusal_of, to_answer
from ingestion.records import Block, BlockKind, Mark, Parsed

PATHS = (("A",), ("A", "B"), ("A", "C"), ())
GOOD: dict[str, Any] = {"paths": [0, "A"], "blocks": [1, 0, 2, 1], "marks": [0, "", "row", 1]}


def whole() -> Parsed:
    text = "größer \U0001f600 zwei"
    blocks = [Block(list(BlockKind)[at], 3 * at, 3 * at + 2, PATHS[at]) for at in range(4)]
    return Parsed(text, blocks, marks=[Mark(0, "sheet A", "row", 2), Mark(3, "", "page", 3)])


def changed(**parts: Any) -> bytes:
    return json.dumps(GOOD | parts).encode()


def test_what_is_well_comes_through_as_it_was() -> None:
    assert from_answer(*to_answer(whole())) == whole()
    assert from_answer(*to_answer(Parsed("", [], marks=[]))) == Parsed("", [], marks=[])


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        *(
            (answer, b"ab")
            for answer in (
                b"",
                b"[]",
                b"null",
                b"\xff",
                b"[" * 10**6,
                b'{"paths": ' * 10_000,
                b'{"paths": [0, "A"]}',
                changed(more=1),
                changed(paths=1),
                changed(paths=[0]),
                changed(paths=[[0, "A"]]),
                changed(paths=[1, "A"]),
                changed(paths=[-1, "A"]),
                changed(paths=[0, 1]),
                changed(paths=[0, "A\0"]),
                changed(paths=[0, "\x1fpage 1"]),
                changed(paths=[0, "\ud800"]),
                changed(paths=[0, "A" * 501]),
                changed(paths=[value for depth in range(65) for value in (depth, "A")]),
                changed(blocks=[9, 0, 2, 0]),
                changed(blocks=[-1, 0, 2, 0]),
                changed(blocks=[1, 0, 2, 2]),
                changed(blocks=[1, 0, 2, -1]),
                changed(blocks=[1, 1, 1, 0]),
                changed(blocks=[1, -1, 1, 0]),
                changed(blocks=[1, 0, 3, 0]),
                changed(blocks=[1, 0, True, 0]),
                changed(blocks=[1, 0, 2.0, 0]),
                changed(blocks=[1, 0, float("nan"), 0]),
                changed(blocks=[1, 0, 10**30, 0]),
                changed(blocks=[1, 1, 2, 0, 1, 0, 1, 0]),
                changed(blocks=[1, 0, 1]),
                changed(blocks=[[1, 0, 1, 0]]),
                changed(marks=[2, "", "row", 1, 1, "", "row", 2]),
                changed(marks=[3, "", "row", 1]),
                changed(marks=[1, "", "row"]),
                changed(marks=[1, "x" * 301, "row", 1]),
                changed(marks=[1, "a\nb", "row", 1]),
                changed(marks=[1, "", "\u202erow", 1]),
                changed(marks=[1, "", "row", 2**31]),
                changed(marks=[1, "", "row", float("inf")]),
                b'{"paths": [], "blocks": [1, 0, ' + b"9" * 5000 + b', 0], "marks": []}',
            )
        ),
        (changed(), b"a\0"),
        (changed(), b"a\xff"),
        (changed(), b"a\xed\xa0\x80"),
        (changed(), b" \n"),
        (b'{"skipped": 1}', b""),
        (b'{"skipped": "a\\u0000"}', b""),
        (b'{"skipped": "a\\nb"}', b""),
        (b'{"failed": "\\ud800"}', b""),
        (json.dumps({"failed": "x" * 301}).encode(), b""),
        (b'{"failed": "a", "skipped": "b"}', b""),
        (b'{"skipped": "a"}', b"text"),
        (b'{"memory": 1}', b""),
        (b'{"anything": "a"}', b""),
        (b"{}", b""),
    ],
)
def test_an_answer_is_checked_in_every_part(answer: bytes, text: bytes) -> None:
    from_answer(changed(), b"ab")
    with pytest.raises(Nonsense):
        from_answer(answer, text)


@pytest.mark.parametrize("most", ["MAX_BLOCKS", "MAX_MARKS", "MAX_JSON_BYTES"])
def test_more_than_may_be_is_refused_on_both_sides(most: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = to_answer(whole())
    monkeypatch.setattr(answers, most, 1)
    with pytest.raises(Nonsense):
        from_answer(*answer)
    with pytest.raises(DocumentUnparsable, match="parts"):
        to_answer(whole())


def test_lists_in_lists_are_refused_before_they_are_read() -> None:
    """Each of these takes the reader many times its size."""
    for thing in (b"[],", b'{"a":1},'):
        with pytest.raises(Nonsense):
            from_answer(b'{"paths":[' + thing * 200_000 + b'0],"blocks":[],"marks":[]}', b"")


def test_what_a_document_put_into_a_reason_or_a_title_stands_in_one_line() -> None:
    with pytest.raises(DocumentUnparsable) as failed:
        from_answer(*refusal_of(DocumentUnparsable("its part a\0b\nc\x1b[31m\ud800 " + "x" * 900)))
    assert failed.value.message.startswith("its part ab c[31m x")
    assert len(failed.value.message) == 300
    with pytest.raises(NotIndexable, match=r"^turned\ufffdround$"):
        from_answer(*refusal_of(NotIndexable("turned\u202eround")))
    odd = Parsed("ab", [Block(BlockKind.TABLE, 0, 2, ("a\x1fb",))], marks=[Mark(0, "sheet a\x07", "row", 1)])
    came = from_answer(*to_answer(odd))
    assert came.blocks[0].heading_path == ("ab",)
    assert came.marks[0].within == "sheet a"


def test_whatever_is_done_to_an_answer_is_sense_or_nonsense() -> None:
    pick = random.Random(3)
    answer, text = to_answer(whole())
    pieces = (b"[", b"]", b"{", b'"', b",", b"-1", b"1e999", b"NaN", b"null", b"\\ud800", b"\0", b"9" * 30)
    made = 0
    for _ in range(3_000):
        spoilt = bytearray(pick.choice((answer, text)))
        of_text = spoilt == text
        for _ in range(pick.randint(1, 4)):
            at = pick.randrange(len(spoilt) + 1)
            spoilt[at : at + pick.randint(0, 3)] = pick.choice((*pieces, pick.randbytes(2)))
        try:
            found = from_answer(answer if of_text else bytes(spoilt), bytes(spoilt) if of_text else text)
        except (Nonsense, NotIndexable, DocumentUnparsable):
            continue
        made += 1
        assert "\0" not in found.text
        found.text.encode()
        assert all(found.text[one.start : one.end].strip() for one in found.blocks)
        assert all(title.isprintable() for one in found.blocks for title in one.heading_path)
    assert made > 20
