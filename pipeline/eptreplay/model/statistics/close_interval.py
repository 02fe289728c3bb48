"""The end of an interval: what it touched is entered in the interval statistics, in the order of addresses.

Each step goes through a list of pages and does one thing, without a branch that depends on a page: what an interval did to a
page cannot be predicted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import entry_point, kernel
from eptreplay.model._numba.bits import BYTES, bytes_having, list_bits, lowest
from eptreplay.model._numba.types import ONE, Int
from eptreplay.model.state.fast_path import TOUCHED
from eptreplay.model.state.guest_pages import page_at
from eptreplay.model.state.rows import OP_FETCH, OP_READ, OP_WRITE
from eptreplay.model.state.state import State, instance
from eptreplay.model.statistics.intervals import (
    HISTORIES,
    OPEN_PAGES,
    PAGES_TOUCHED,
    PAGES_WRITTEN,
    REGIONS_WRITTEN,
    TOUCHED_AT_ALL,
    IntervalStatistics,
)

REGION_SHIFT = np.uint64(9)  # log2 of the pages of 2 MB
ONE_BIT = np.uint8(1)
TWO_BITS = np.uint8(2)


@entry_point
def close_interval(states: State, statistics: IntervalStatistics) -> None:
    """Close the open interval: enter what it touched in the interval statistics, in place of the one before, and open the next.

    Args:
        states: the instances; State.fast_path loses its TOUCHED bits.
        statistics: of all guests, updated.
    """
    guests = instance(states, 0).guests
    for guest in range(len(guests)):
        begin, end = np.int64(guests[guest].begin), np.int64(guests[guest].end)
        _forget_interval(statistics, guest)
        touched = _list_touched(statistics, states.fast_path, begin, end)
        _close_touched(statistics, guest, touched)
        written = _close_heat(statistics, states.fast_path, guest, begin, touched)
        _close_written(statistics, guest, written)
        for vcpu in range(guests[guest].first_vcpu, guests[guest].first_vcpu + guests[guest].vcpus):
            statistics.first_writes[vcpu] = statistics.first_writing[vcpu]
            statistics.first_writing[vcpu] = 0
        statistics.tally[guest].touched = touched
        statistics.tally[guest].written = written
        statistics.tally[guest].interval += 1


@kernel
def _forget_interval(statistics: IntervalStatistics, guest: Int) -> None:
    """Empty the statistics of the interval that closed last."""
    for history in range(HISTORIES):
        for i in range(statistics.returned_count[guest, history]):
            statistics.returns[guest, history, statistics.returned[guest, history, i]] = 0
        statistics.returned_count[guest, history] = 0
    statistics.heat[guest, :, :] = 0
    statistics.tally[guest].regions = 0
    statistics.tally[guest].region_pages = 0


@kernel
def _list_touched(statistics: IntervalStatistics, fast_path: NDArray[np.uint8], begin: Int, end: Int) -> Int:
    """List the flat pages [begin, end) that were touched, and clear `open` of their blocks; return how many there are."""
    touched: Int = 0
    end_block = (end + OPEN_PAGES - 1) // OPEN_PAGES
    for first in range(begin // OPEN_PAGES, end_block, BYTES):
        blocks = bytes_having(statistics.open, first, end_block, ONE_BIT)
        while blocks != 0:
            block = first + np.int64(lowest(blocks))
            page = block * OPEN_PAGES
            statistics.open[block] = 0
            touched = list_bits(bytes_having(fast_path, page, end, TOUCHED), page, statistics.listed, touched)
            blocks &= blocks - ONE
    return touched


@kernel
def _close_touched(statistics: IntervalStatistics, guest: Int, touched: Int) -> None:
    """Enter in which interval the listed pages were touched before, and that they were touched now."""
    now: Int = statistics.tally[guest].interval + 1
    for i in range(np.uint64(touched)):
        page = np.uint64(statistics.listed[i])
        _return(statistics, guest, PAGES_TOUCHED, np.uint64(statistics.touch[page_at(page)].last_touch), 1)
        statistics.touch[page_at(page)].last_touch = now


@kernel
def _close_heat(
    statistics: IntervalStatistics, fast_path: NDArray[np.uint8], guest: Int, begin: Int, touched: Int
) -> Int:
    """Enter what was done to the listed pages and clear their TOUCHED bits; keep those written in the list, return how many."""
    shift = np.uint64(statistics.heat_shift[guest])
    written = np.uint64(0)
    i = np.uint64(0)
    while i < np.uint64(touched):
        stretch = (np.uint64(statistics.listed[i]) - np.uint64(begin)) >> shift
        end = np.uint64(begin) + ((stretch + ONE) << shift)
        # Added up in registers: adding in memory takes longer than all else here.
        reads, writes, fetches, pages = np.int32(0), np.int32(0), np.int32(0), np.int32(0)
        while i < np.uint64(touched) and np.uint64(statistics.listed[i]) < end:
            page = np.uint64(statistics.listed[i])
            state = fast_path[page_at(page)]
            reads += np.int32(state & ONE_BIT)
            writes += np.int32((state >> ONE_BIT) & ONE_BIT)
            fetches += np.int32((state >> TWO_BITS) & ONE_BIT)
            pages += np.int32(1)
            statistics.listed[written] = page
            written += np.uint64((state >> ONE_BIT) & ONE_BIT)
            fast_path[page_at(page)] = state & ~TOUCHED
            i += ONE
        heat = statistics.heat[guest, stretch]
        heat[OP_READ], heat[OP_WRITE], heat[OP_FETCH], heat[TOUCHED_AT_ALL] = reads, writes, fetches, pages
    return np.int64(written)


@kernel
def _close_written(statistics: IntervalStatistics, guest: Int, written: Int) -> None:
    """Enter the listed pages, which were written, and their regions."""
    now: Int = statistics.tally[guest].interval + 1
    for i in range(np.uint64(written)):
        page = np.uint64(statistics.listed[i])
        touch = statistics.touch[page_at(page)]
        _return(statistics, guest, PAGES_WRITTEN, np.uint64(touch.last_write), 1)
        if touch.first_write == 0:
            touch.first_write = now
        touch.last_write = now
        if statistics.region[page >> REGION_SHIFT].last_write != now:
            _close_region(statistics, guest, page >> REGION_SHIFT, now)


@kernel
def _close_region(statistics: IntervalStatistics, guest: Int, number: np.uint64, now: Int) -> None:
    """Enter a region of which a page was written."""
    tally = statistics.tally[guest]
    region = statistics.region[number]
    _return(statistics, guest, REGIONS_WRITTEN, np.uint64(region.last_write), np.int64(region.pages))
    if region.first_write == 0:
        region.first_write = now
    region.last_write = now
    tally.regions += 1
    tally.region_pages += region.pages


@kernel
def _return(statistics: IntervalStatistics, guest: Int, history: Int, before: np.uint64, pages: Int) -> None:
    """Enter pages that come up for the first time in the open interval; the last time was in `before` (1 + interval, 0: never)."""
    if statistics.returns[guest, history, before] == 0:
        statistics.returned[guest, history, statistics.returned_count[guest, history]] = before
        statistics.returned_count[guest, history] += 1
    statistics.returns[guest, history, before] += pages
