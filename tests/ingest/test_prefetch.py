from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from eptreplay.ingest.native.prefetch import one_ahead

if TYPE_CHECKING:
    from collections.abc import Generator


def threads() -> int:
    return sum(thread.name.startswith("eptreplay-ingest") for thread in threading.enumerate())


def test_items_come_in_order() -> None:
    assert list(one_ahead(i for i in range(100))) == list(range(100))
    assert threads() == 0


def test_items_that_are_none_or_false_are_items() -> None:
    assert list(one_ahead(i for i in (None, False, 0))) == [None, False, 0]


def test_one_item_is_made_while_one_is_in_use() -> None:
    made = []
    second = threading.Event()

    def items() -> Generator[int, None, None]:
        for i in range(10):
            made.append(i)
            if i == 1:
                second.set()
            yield i

    ahead = one_ahead(items())
    assert made == []
    assert next(iter(ahead)) == 0
    assert second.wait(10)
    assert made == [0, 1]


def test_an_error_is_raised_in_its_place() -> None:
    def items() -> Generator[int, None, None]:
        yield 1
        raise ValueError("broken")

    ahead = iter(one_ahead(items()))
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="broken"):
        next(ahead)
    assert threads() == 0


def test_thread_and_generator_end_when_the_caller_breaks() -> None:
    closed = []

    def items() -> Generator[int, None, None]:
        try:
            yield from range(10)
        finally:
            closed.append(True)

    for item in one_ahead(items()):
        if item == 2:
            break
    assert closed == [True]
    assert threads() == 0


def test_an_error_in_the_making_does_not_hide_that_the_caller_left() -> None:
    def items() -> Generator[int, None, None]:
        yield 1
        raise ValueError("never seen")

    for item in one_ahead(items()):
        assert item == 1
        break
    assert threads() == 0
