"""Of rows whose times are out of order the fewest go, whatever blocks they come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eptreplay.ingest.native.order import fewest_left_out, in_order

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMES = st.lists(st.integers(0, 30) | st.sampled_from([2**63, 2**64 - 1]), max_size=60)


def kept(times: Sequence[int], parts: Sequence[int], block_rows: int) -> list[int]:
    """Return the times that stay of a trace in parts, which end at these rows."""
    array = np.array(times, np.uint64)
    split = np.split(array, sorted(parts))
    found = list(in_order(zip(range(len(split)), split, strict=True), block_rows))
    return [int(time) for number, keep in found for time in split[number][keep]]


def longest(times: Sequence[int]) -> int:
    """Return the length of the longest part of a list that never descends, by its definition."""
    best: list[int] = []
    for at, time in enumerate(times):
        best.append(1 + max((best[i] for i in range(at) if times[i] <= time), default=0))
    return max(best, default=0)


@given(TIMES, st.lists(st.integers(0, 60), max_size=5), st.integers(1, 100))
def test_what_stays_never_goes_back_and_nothing_is_made_up(
    times: list[int], parts: list[int], block_rows: int
) -> None:
    found = kept(times, parts, block_rows)
    assert found == sorted(found)
    rest = iter(times)
    assert all(time in rest for time in found)  # a part of the list, in its order


@given(TIMES, st.lists(st.integers(0, 60), max_size=5))
def test_as_many_stay_as_can_where_all_are_seen_at_once(times: list[int], parts: list[int]) -> None:
    assert len(kept(times, parts, 60)) == longest(times)


@given(st.lists(st.integers(5, 40), min_size=3, max_size=60), st.data())
def test_one_wrong_stamp_costs_one_row_whatever_its_place(times: list[int], data: st.DataObject) -> None:
    times.sort()
    at = data.draw(st.integers(0, len(times) - 1))
    wrong = [*times]
    wrong[at] = data.draw(st.integers(0, 2**64 - 1))
    parts = data.draw(st.lists(st.integers(0, len(times)), max_size=6))
    found = kept(wrong, parts, data.draw(st.integers(2, 70)))
    disordered = wrong != sorted(wrong)
    assert len(found) == len(wrong) - disordered


def test_a_row_that_is_left_out_holds_back_no_later_one() -> None:
    assert kept([10, 10**15, 12, 13], [2], 2) == [10, 12, 13]


def test_of_equally_few_the_later_rows_go() -> None:
    assert fewest_left_out(np.array([2, 1], np.uint64), 0).tolist() == [True, False]


def test_rows_before_what_came_already_go() -> None:
    assert fewest_left_out(np.array([9, 8, 10], np.uint64), 9).tolist() == [True, False, True]


@pytest.mark.parametrize("block_rows", [1, 7, 1000])
def test_all_rows_of_an_ordered_trace_stay(block_rows: int) -> None:
    times = sorted(range(0, 500, 3)) + [2**64 - 1] * 3
    assert kept(times, [0, 0, 5, 100, 100], block_rows) == times
