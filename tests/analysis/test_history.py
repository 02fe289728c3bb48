"""Distinct pages of any stretch of time, from counts alone, are those of the sets themselves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.analysis.histories import history_of, union

from eptreplay.analysis.history import Repeated

SETS = st.lists(st.sets(st.integers(0, 9), max_size=6), min_size=1, max_size=12)


@given(SETS, st.data())
def test_windows_hold_the_distinct_pages_of_their_intervals(
    sets: list[set[int]], data: st.DataObject
) -> None:
    length = data.draw(st.integers(1, len(sets)))
    expected = [len(union(sets, begin, begin + length)) for begin in range(len(sets) - length + 1)]
    assert history_of(sets).windows(length).tolist() == expected


@given(SETS, st.integers(0, 30), st.integers(0, 30))
def test_a_repeated_history_goes_on_from_its_beginning(sets: list[set[int]], begin: int, length: int) -> None:
    expected = len(union(sets, begin, begin + length))
    assert Repeated(history_of(sets)).distinct(begin, begin + length) == expected


@given(SETS, st.integers(1, 12))
def test_joined_intervals_have_the_distinct_pages_of_both(sets: list[set[int]], limit: int) -> None:
    coarser = history_of(sets).coarser(limit)
    assert coarser.intervals <= limit
    joined = 1
    while -(-len(sets) // joined) > limit:
        joined *= 2
    expected = [
        len(union(sets, begin, min(begin + joined, len(sets)))) for begin in range(0, len(sets), joined)
    ]
    assert coarser.windows(1).tolist() == expected
    assert Repeated(coarser).distinct(0, coarser.intervals) == len(union(sets, 0, len(sets)))
