"""What refusals, failures and answers teach of how many texts a request may hold."""

from __future__ import annotations

from retrieval.embedding.remote.batch_size import FAILED_BATCHES, FIRST_ANSWERS, BatchSize


def answers_until_raised(size: BatchSize) -> int:
    answers = 1
    while not size.answered(size.texts):
        answers += 1
        assert answers < 10_000
    return answers


def test_refused_again_and_again_it_is_tried_ever_more_seldom() -> None:
    size = BatchSize(8)
    waited = []
    for _ in range(3):
        assert size.too_large(4)
        waited.append(answers_until_raised(size))
    assert waited == [FIRST_ANSWERS, 2 * FIRST_ANSWERS, 4 * FIRST_ANSWERS]


def test_once_a_raised_size_has_held_it_is_tried_sooner_again() -> None:
    size = BatchSize(8)
    for _ in range(5):
        size.too_large(4)
        waited = answers_until_raised(size)
    for _ in range(4 * FIRST_ANSWERS):
        size.answered(8)
    size.too_large(4)
    assert answers_until_raised(size) == waited // 8


def test_failures_of_one_size_in_a_row_are_no_chance() -> None:
    size = BatchSize(8)
    assert not any(size.failed(8, 4) for _ in range(FAILED_BATCHES - 1))
    size.answered(7)  # says nothing of eight
    assert size.failed(8, 4)
    assert size.texts == 4


def test_an_answer_of_that_size_or_more_between_failures_makes_them_chance() -> None:
    for answered in (8, 9):
        size = BatchSize(9)
        for _ in range(10):
            assert not any(size.failed(8, 4) for _ in range(FAILED_BATCHES - 1))
            size.answered(answered)
        assert size.texts == 9


def test_failures_of_other_sizes_do_not_add_up() -> None:
    size = BatchSize(8)
    assert not any(size.failed(texts, 2) for texts in (8, 7, 6, 5))
