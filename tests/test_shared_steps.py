"""An iterator that several threads read: every item once for each, in order, and no thread too far ahead."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from eptreplay.errors import TraceError
from eptreplay.replay.shares.shared_steps import STEPS_AHEAD, SharedSteps

if TYPE_CHECKING:
    from collections.abc import Iterator


def read_all(shared: SharedSteps[int], readers: int, pause: float) -> list[list[int]]:
    """Let several threads read, the first of them slowly."""
    found: list[list[int]] = [[] for _ in range(readers)]

    def read(reader: int) -> None:
        for item in shared.read(reader):
            found[reader].append(item)
            if reader == 0 and pause:
                time.sleep(pause)

    threads = [threading.Thread(target=read, args=(reader,)) for reader in range(readers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return found


@pytest.mark.parametrize("count", [0, 1, STEPS_AHEAD, 5 * STEPS_AHEAD])
@pytest.mark.parametrize("readers", [1, 2, 4])
def test_every_reader_gets_every_item_in_order_and_each_is_made_once(count: int, readers: int) -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(count):
            made.append(number)
            yield number

    found = read_all(SharedSteps(items(), readers), readers, 0)
    assert found == [list(range(count))] * readers
    assert made == list(range(count))


def test_a_slow_reader_holds_the_others_back() -> None:
    slow = 0
    most = 0

    def items() -> Iterator[int]:
        nonlocal most
        for number in range(40):
            most = max(most, number - slow)
            yield number

    shared = SharedSteps(items(), 2)
    fast: list[int] = []
    thread = threading.Thread(target=lambda: fast.extend(shared.read(1)))
    thread.start()
    for item in shared.read(0):
        slow = item
        time.sleep(0.001)
    thread.join(30)
    assert fast == list(range(40))
    assert 0 < most <= STEPS_AHEAD + 1


def test_an_error_ends_all_readers() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise TraceError("g.parquet", "it is damaged")

    shared = SharedSteps(items(), 2)
    for reader in (0, 1):
        with pytest.raises(TraceError, match="damaged"):
            list(shared.read(reader))
    other = SharedSteps(iter(range(100)), 2)
    other.fail(TraceError("g.parquet", "another thread failed"))
    with pytest.raises(TraceError, match="another thread"):
        list(other.read(0))


@pytest.fixture
def impatient_threads() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("impatient_threads")
def test_readers_that_run_out_of_items_at_once_make_the_next_once() -> None:
    for _ in range(5):
        assert read_all(SharedSteps(iter(range(10_000)), 3), 3, 0) == [list(range(10_000))] * 3
