"""Pre-copy rounds from a dirty history: by hand, and against sets of pages."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.analysis.histories import history_of, union

from eptreplay.analysis.history import Repeated
from eptreplay.analysis.migration import (
    MAX_ROUNDS,
    Guest,
    migrate,
    smallest_bandwidth,
)
from eptreplay.request.link import FASTEST
from eptreplay.units import PAGE_BYTES

PAGE_A_MILLISECOND = PAGE_BYTES * 8 * 1000  # bits a second
MS = 10**6  # nanoseconds


def guest(sets: list[set[int]], memory_pages: int, interval_ms: int = 1) -> Guest:
    span = Fraction(interval_ms * len(sets), 1000)
    return Guest(memory_pages * PAGE_BYTES, Repeated(history_of(sets)), span)


def pages(count: int) -> int:
    """Return the pages in a number of bytes, which has to be whole."""
    whole, rest = divmod(count, PAGE_BYTES)
    assert rest == 0
    return whole


def test_three_rounds_worked_out_by_hand() -> None:
    """A page takes a millisecond, an interval is two of them, and 8 pages of memory are all the guest has.

    Round 0 sends 8 pages from 0 to 8 ms: intervals 0 to 3 write pages 0, 1, 2, 3, 4 and 5, six of them.
    Round 1 sends 6 pages from 8 to 14 ms: intervals 4 to 6 write pages 0, 6 and 7, three of them.
    Round 2 sends 3 pages from 14 to 17 ms: intervals 7 and, overlapped by half, 8 write pages 6 and 1.
    Two pages fit into the allowed 2 ms, so the guest is paused at 17 ms and goes on at 19 ms.
    """
    sets = [{0, 1}, {1, 2}, {2, 3, 4}, {5}, {0}, {6, 7}, {6}, {6}, {1}, {2, 3, 4, 5}]
    found = migrate(guest(sets, 8, interval_ms=2), PAGE_A_MILLISECOND, 2 * MS)

    assert [pages(done.start_bytes) for done in found.rounds] == [0, 8, 14]
    assert [pages(done.sent_bytes) for done in found.rounds] == [8, 6, 3]
    assert [pages(done.dirtied_bytes) for done in found.rounds] == [6, 3, 2]
    assert found.converges
    assert pages(found.left_bytes) == 2
    assert pages(found.sent_bytes) == 19
    assert found.seconds(found.sent_bytes) == pytest.approx(0.019)
    assert found.seconds(found.left_bytes) == pytest.approx(0.002)
    # The link fails at 17 ms. Under way were pages 0, 6 and 7; written since 14 ms: 6 and 1. Lost without their
    # bits: 0 and 7. With them a second attempt sends 0, 1, 6 and 7.
    assert pages(found.lost_bytes) == 2
    assert pages(found.retry_bytes) == 4


def test_a_round_that_ends_where_an_interval_does_leaves_the_next_alone() -> None:
    sets = [{0}, {1}, {2}, {3}]
    found = migrate(guest(sets, 3), PAGE_A_MILLISECOND, 10 * MS)
    assert pages(found.left_bytes) == 3


def test_a_guest_that_writes_nothing_is_paused_for_no_time() -> None:
    found = migrate(guest([set(), set()], 100), PAGE_A_MILLISECOND, 1)
    assert found.converges
    assert len(found.rounds) == 1
    assert found.left_bytes == 0
    assert found.retry_bytes == found.lost_bytes == 100 * PAGE_BYTES


def test_a_guest_that_writes_faster_than_the_link_diverges() -> None:
    everything = set(range(50))
    found = migrate(guest([everything] * 3, 50), PAGE_A_MILLISECOND, 10 * MS)
    assert not found.converges
    assert len(found.rounds) == MAX_ROUNDS
    assert pages(found.left_bytes) == 50


SETS = st.lists(st.sets(st.integers(0, 19), max_size=12), min_size=1, max_size=9)


@given(SETS, st.integers(1, 8), st.integers(0, 8))
def test_rounds_are_those_of_the_sets_themselves(sets: list[set[int]], speed: int, allowed: int) -> None:
    """Migrate with real sets of pages: every round, and a second attempt that really has every page."""
    found = migrate(guest(sets, 20), speed * PAGE_A_MILLISECOND, allowed * MS)
    sending, start = set(range(20)), 0
    for done in found.rounds:
        assert (pages(done.start_bytes), pages(done.sent_bytes)) == (start, len(sending))
        end = start + len(sending)
        under_way, sending = sending, union(sets, start // speed, -(-end // speed))
        start = end
    assert pages(found.left_bytes) == len(sending)
    assert found.converges == (len(sending) <= allowed * speed)
    assert pages(found.lost_bytes) == len(under_way - sending)
    assert pages(found.retry_bytes) == len(under_way | sending)


@given(SETS, st.integers(1, 8))
def test_the_smallest_bandwidth_converges_and_the_one_below_it_does_not(
    sets: list[set[int]], allowed: int
) -> None:
    moving = guest(sets, 20)
    found = smallest_bandwidth(moving, allowed * MS)
    assert found is not None
    assert migrate(moving, found, allowed * MS).converges
    digits = len(str(found)) - 3
    assert found % 10**digits == 0
    if found > 10**6:
        below = found - 10 ** (digits if found > 10 ** (digits + 2) else digits - 1)
        assert not migrate(moving, below, allowed * MS).converges


def test_no_bandwidth_is_named_where_none_is_enough() -> None:
    everything = set(range(10**4))
    moving = guest([everything] * 2, 10**4)
    assert not migrate(moving, FASTEST, 1).converges
    assert smallest_bandwidth(moving, 1) is None


@given(SETS, st.integers(1, 9), st.integers(0, 200), st.integers(0, 200))
def test_joined_intervals_never_make_a_round_smaller(
    sets: list[set[int]], limit: int, start: int, length: int
) -> None:
    fine = guest(sets, 20)
    coarser = history_of(sets).coarser(limit)
    joined = Guest(20 * PAGE_BYTES, Repeated(coarser), Fraction(coarser.intervals * coarser.joined, 1000))
    begin = start % len(sets) * PAGE_BYTES
    end = min(begin + length * PAGE_BYTES, len(sets) * PAGE_BYTES)
    assert joined.dirtied(PAGE_A_MILLISECOND, begin, end) >= fine.dirtied(PAGE_A_MILLISECOND, begin, end)
