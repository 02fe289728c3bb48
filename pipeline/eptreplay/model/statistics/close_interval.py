"""The end of an interval: what it touched is entered in the books, in the order of addresses.

Each step goes over a list of pages and does one thing, without a branch that depends on a page: what an interval did
to a page cannot be foreseen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import entry_point, kernel
from eptreplay.model._numba.bits import BYTES, bytes_having, list_bits, lowest
from eptreplay.model.state.state import TOUCHED, Int, State, world
from eptreplay.model.statistics.intervals import (
    HISTORIES,
    OP_FETCH,
    OP_READ,
    OP_WRITE,
    OPEN_PAGES,
    PAGES_TOUCHED,
    PAGES_WRITTEN,
    REGIONS_WRITTEN,
    TOUCHED_AT_ALL,
    Books,
)

REGION_SHIFT = np.uint64(9)  # log2 of the pages of 2 MB
NEXT = np.uint64(1)
ONE = np.uint8(1)
TWO = np.uint8(2)


@entry_point
def close_interval(states: State, books: Books) -> None:
    """Enter the pages touched in the open interval in the books, in place of those of the one before, and open the next.

    Args:
        states: the worlds; State.quiet loses its TOUCHED bits.
        books: of all guests, updated.
    """
    guests = world(states, 0).guests
    for guest in range(len(guests)):
        begin, end = np.int64(guests[guest].begin), np.int64(guests[guest].end)
        _forget_interval(books, guest)
        touched = _list_touched(books, states.quiet, begin, end)
        _close_touched(books, guest, touched)
        written = _close_heat(books, states.quiet, guest, begin, touched)
        _close_written(books, guest, written)
        for vcpu in range(guests[guest].first_vcpu, guests[guest].first_vcpu + guests[guest].vcpus):
            books.first_writes[vcpu] = books.first_writing[vcpu]
            books.first_writing[vcpu] = 0
        books.tally[guest].touched = touched
        books.tally[guest].written = written
        books.tally[guest].interval += 1


@kernel
def _forget_interval(books: Books, guest: Int) -> None:
    """Empty the books of the interval that closed last."""
    for history in range(HISTORIES):
        for i in range(books.returned_count[guest, history]):
            books.returns[guest, history, books.returned[guest, history, i]] = 0
        books.returned_count[guest, history] = 0
    books.heat[guest, :, :] = 0
    books.tally[guest].regions = 0
    books.tally[guest].region_pages = 0


@kernel
def _list_touched(books: Books, quiet: NDArray[np.uint8], begin: Int, end: Int) -> Int:
    """List the flat pages [begin, end) that were touched, and close their blocks; return how many there are."""
    touched: Int = 0
    end_block = (end + OPEN_PAGES - 1) // OPEN_PAGES
    for first in range(begin // OPEN_PAGES, end_block, BYTES):
        blocks = bytes_having(books.open, first, end_block, ONE)
        while blocks != 0:
            block = first + np.int64(lowest(blocks))
            page = block * OPEN_PAGES
            books.open[block] = 0
            touched = list_bits(bytes_having(quiet, page, end, TOUCHED), page, books.listed, touched)
            blocks &= blocks - NEXT
    return touched


@kernel
def _close_touched(books: Books, guest: Int, touched: Int) -> None:
    """Enter when the listed pages were touched before."""
    now: Int = books.tally[guest].interval + 1
    for i in range(np.uint64(touched)):
        page = np.uint64(books.listed[i])
        _return(books, guest, PAGES_TOUCHED, np.uint64(books.touch[page].last_touch), 1)
        books.touch[page].last_touch = now


@kernel
def _close_heat(books: Books, quiet: NDArray[np.uint8], guest: Int, begin: Int, touched: Int) -> Int:
    """Enter what was done to the listed pages, which are not touched any more; keep those written, and return how many."""
    shift = np.uint64(books.heat_shift[guest])
    written = np.uint64(0)
    i = np.uint64(0)
    while i < np.uint64(touched):
        stretch = (np.uint64(books.listed[i]) - np.uint64(begin)) >> shift
        end = np.uint64(begin) + ((stretch + NEXT) << shift)
        # Added up in registers: adding in memory takes longer than all else here.
        reads, writes, fetches, pages = np.int32(0), np.int32(0), np.int32(0), np.int32(0)
        while i < np.uint64(touched) and np.uint64(books.listed[i]) < end:
            page = np.uint64(books.listed[i])
            state = quiet[page]
            reads += np.int32(state & ONE)
            writes += np.int32((state >> ONE) & ONE)
            fetches += np.int32((state >> TWO) & ONE)
            pages += np.int32(1)
            books.listed[written] = page
            written += np.uint64((state >> ONE) & ONE)
            quiet[page] = state & ~TOUCHED
            i += NEXT
        heat = books.heat[guest, stretch]
        heat[OP_READ], heat[OP_WRITE], heat[OP_FETCH], heat[TOUCHED_AT_ALL] = reads, writes, fetches, pages
    return np.int64(written)


@kernel
def _close_written(books: Books, guest: Int, written: Int) -> None:
    """Enter the listed pages, which were written, and their regions."""
    now: Int = books.tally[guest].interval + 1
    for i in range(np.uint64(written)):
        page = np.uint64(books.listed[i])
        touch = books.touch[page]
        _return(books, guest, PAGES_WRITTEN, np.uint64(touch.last_write), 1)
        if touch.first_write == 0:
            touch.first_write = now
        touch.last_write = now
        if books.region[page >> REGION_SHIFT].last_write != now:
            _close_region(books, guest, page >> REGION_SHIFT, now)


@kernel
def _close_region(books: Books, guest: Int, number: np.uint64, now: Int) -> None:
    """Enter a region of which a page was written."""
    tally = books.tally[guest]
    region = books.region[number]
    _return(books, guest, REGIONS_WRITTEN, np.uint64(region.last_write), np.int64(region.pages))
    if region.first_write == 0:
        region.first_write = now
    region.last_write = now
    tally.regions += 1
    tally.region_pages += region.pages


@kernel
def _return(books: Books, guest: Int, history: Int, before: np.uint64, pages: Int) -> None:
    """Enter pages that come up for the first time in the open interval, and `before` (1 + interval) for the last time."""
    if books.returns[guest, history, before] == 0:
        books.returned[guest, history, books.returned_count[guest, history]] = before
        books.returned_count[guest, history] += 1
    books.returns[guest, history, before] += pages
