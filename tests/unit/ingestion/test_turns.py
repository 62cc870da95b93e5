from __future__ import annotations

import threading
import time

import pytest

from ingestion.turns import Turns


def test_turns_come_in_the_order_of_asking() -> None:
    turns = Turns()
    order: list[int] = []
    threads = [threading.Thread(target=lambda n=n: _take(turns, order, n)) for n in range(8)]
    with turns.turn():
        for number, thread in enumerate(threads):
            thread.start()
            _until(lambda number=number: _waiting(turns) == number + 1)
    for thread in threads:
        thread.join()
    assert order == list(range(8))


def test_one_that_asks_again_at_once_comes_after_those_who_wait() -> None:
    turns = Turns()
    order: list[int] = []
    with turns.turn():
        waiting = threading.Thread(target=_take, args=(turns, order, 1))
        waiting.start()
        _until(lambda: _waiting(turns) == 1)
    with turns.turn():
        order.append(2)
    waiting.join()
    assert order == [1, 2]


def test_a_turn_within_a_turn_is_refused_and_the_first_goes_on() -> None:
    turns = Turns()
    with turns.turn(), pytest.raises(RuntimeError, match="within a transaction"), turns.turn():
        pass
    with turns.turn():
        pass


def test_a_turn_that_raises_is_handed_on() -> None:
    turns = Turns()
    with pytest.raises(KeyError), turns.turn():
        raise KeyError
    with turns.turn():
        pass


def test_never_two_at_once() -> None:
    turns = Turns()
    inside = 0
    most = 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(200):
            with turns.turn():
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def _take(turns: Turns, order: list[int], number: int) -> None:
    with turns.turn():
        order.append(number)


def _waiting(turns: Turns) -> int:
    return len(turns._waiting)


def _until(holds: object) -> None:
    assert callable(holds)
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)
