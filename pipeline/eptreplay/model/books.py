"""The books: what the trace itself touched and wrote, interval by interval, whatever a CPU can record of it.

They are kept on the slow path alone: the access loop comes here with the first access of each kind to a page
in an interval, and otherwise only counts.

What is asked of the books later is mostly "how many distinct pages in this stretch of time?", for stretches
nobody knows yet.  It takes no lists of pages to answer that.  A page counts in intervals [a, b) once, at
its first touch in them, and that is the one whose touch before lies before a.  So it is enough to know of every
interval how many of its pages were touched last in interval 0, in 1, in 2 ... or never: `returns`.  The same is
kept for pages written and for 2 MB regions written.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.model import pte
from eptreplay.model._jit import entry_point, kernel
from eptreplay.model.state import Int, Record, Records, records

NPTEPG = pte.NPTEPG

# Codes of the column `op`.
OP_READ = 0
OP_WRITE = 1
OP_FETCH = 2
KINDS = 3
TOUCHED = 3  # beside the three kinds in Books.heat: a page touched in whatever way

KIND_BITS = np.uint8(0b111)
WRITTEN_SINCE_HARVEST = np.uint8(0b1000)

# What the trace did to a guest page.
TOUCH = np.dtype(
    [
        ("first_row", np.int64),  # 1 + row of the first access, 0: never touched
        ("last_touch", np.int32),  # 1 + interval of the last access, 0: never touched
        ("first_write", np.int32),  # 1 + interval of the first write, 0: never written
        ("last_write", np.int32),  # 1 + interval of the last write, 0: never written
        (
            "marks",
            np.uint8,
        ),  # bits 0 to 2: read, written, fetched in the interval `last_touch`; WRITTEN_SINCE_HARVEST
    ],
    align=True,
)

# What it did to a 2 MB region.
REGION = np.dtype(
    [
        ("first_write", np.int32),  # 1 + interval of the first write, 0: never written
        ("last_write", np.int32),  # 1 + interval of the last write, 0: never written
        ("pages", np.int32),  # pages of the region that are memory
    ],
    align=True,
)

# What it did in all, and in the interval that is open.
TALLY = np.dtype(
    [
        ("reads", np.int64),  # accesses to memory, by kind
        ("writes", np.int64),
        ("fetches", np.int64),
        ("unbacked", np.int64),  # rows whose page is not memory
        ("unharvested", np.int64),  # distinct pages written since the last harvest
        ("harvest_written", np.int64),  # what that was at every harvest, summed
        ("interval", np.int32),  # number of the open interval
        ("touched", np.int32),  # distinct pages touched in it
        ("written", np.int32),  # distinct pages written in it
        ("regions", np.int32),  # distinct 2 MB regions written in it
        ("region_pages", np.int32),  # pages of those regions
    ],
    align=True,
)

# The first index of Books.returns.
PAGES_TOUCHED = 0
PAGES_WRITTEN = 1
REGIONS_WRITTEN = 2
HISTORIES = 3


class Books(NamedTuple):
    """The books of one trace.  The arrays are shared, not copied, when the tuple is."""

    touch: Records  # TOUCH [guest pages]
    region: Records  # REGION [2 MB regions]
    tally: Records  # TALLY [1]
    opened: NDArray[np.int32]  # [guest pages]: pages touched in the open interval, the first `tally.touched`
    heat: NDArray[
        np.int32
    ]  # [stretches, 4]: distinct pages of each stretch of addresses that the open interval
    # read, wrote, fetched from, and touched in whatever way
    heat_shift: NDArray[np.int64]  # [1]: log2 of the pages of a stretch
    first_writes: NDArray[np.int64]  # [vCPUs]: pages of which each made the open interval's first write
    returns: NDArray[
        np.int32
    ]  # [HISTORIES, intervals + 2]: pages of the open interval by 1 + the interval of
    # the touch (or write) before, 0: none before; a region counts as its pages
    returned: NDArray[np.int32]  # [as returns]: which of those are not 0, in order of appearance
    returned_count: NDArray[np.int32]  # [HISTORIES]: how many


def new_books(ram_pages: NDArray[np.int64], vcpus: int, intervals: int, stretches: int) -> Books:
    """Return the books of a trace of which nothing has been replayed.

    Args:
        ram_pages: shape [ranges, 2]: guest pages [begin, end) that are memory, ascending.
        vcpus: virtual CPUs.
        intervals: the most intervals there will be.
        stretches: the most stretches of addresses that heat is kept of; each is a power of two of pages.
    """
    pages = int(ram_pages[-1, 1])
    shift = max(0, (-(-pages // stretches) - 1).bit_length())
    region = records(-(-pages // NPTEPG), REGION)
    for begin, end in ram_pages:
        for number in range(begin // NPTEPG, -(-end // NPTEPG)):
            region[number].pages += min(end, (number + 1) * NPTEPG) - max(begin, number * NPTEPG)
    return Books(
        touch=records(pages, TOUCH),
        region=region,
        tally=records(1, TALLY),
        opened=np.zeros(pages, np.int32),
        heat=np.zeros(((pages >> shift) + 1, KINDS + 1), np.int32),
        heat_shift=np.array([shift], np.int64),
        first_writes=np.zeros(vcpus, np.int64),
        returns=np.zeros((HISTORIES, intervals + 2), np.int32),
        returned=np.zeros((HISTORIES, intervals + 2), np.int32),
        returned_count=np.zeros(HISTORIES, np.int32),
    )


@kernel
def note_access(books: Books, page: Int, op: Int, vcpu: Int, row: Int) -> None:
    """Enter an access to a page of memory: what it is the first of, in the trace and in the open interval.

    Args:
        books: the books.
        page: the guest page.
        op: OP_READ, OP_WRITE or OP_FETCH.
        vcpu: the vCPU that made it.
        row: number of its row in the trace.
    """
    touch = books.touch[page]
    tally = books.tally[0]
    stretch = page >> books.heat_shift[0]
    now = tally.interval + 1
    if touch.first_row == 0:
        touch.first_row = row + 1
    if touch.last_touch != now:
        _return(books, PAGES_TOUCHED, touch.last_touch, 1)
        touch.last_touch = now
        touch.marks &= ~KIND_BITS
        books.opened[tally.touched] = page
        tally.touched += 1
        books.heat[stretch, TOUCHED] += 1
    if not (touch.marks >> op) & 1:
        touch.marks |= np.uint8(1 << op)
        books.heat[stretch, op] += 1
        if op == OP_WRITE:
            _note_write(books, touch, tally, page, vcpu)
    if op == OP_WRITE and (touch.marks & WRITTEN_SINCE_HARVEST) == 0:
        touch.marks |= WRITTEN_SINCE_HARVEST
        tally.unharvested += 1


@kernel
def _note_write(books: Books, touch: Record, tally: Record, page: Int, vcpu: Int) -> None:
    """Enter the open interval's first write to a page."""
    now = tally.interval + 1
    _return(books, PAGES_WRITTEN, touch.last_write, 1)
    if touch.first_write == 0:
        touch.first_write = now
    touch.last_write = now
    tally.written += 1
    books.first_writes[vcpu] += 1
    region = books.region[page // NPTEPG]
    if region.last_write != now:
        _return(books, REGIONS_WRITTEN, region.last_write, region.pages)
        if region.first_write == 0:
            region.first_write = now
        region.last_write = now
        tally.regions += 1
        tally.region_pages += region.pages


@kernel
def _return(books: Books, history: Int, before: Int, pages: Int) -> None:
    """Enter pages that come up for the first time in the open interval, and `before` (1 + interval) for the last time."""
    if books.returns[history, before] == 0:
        books.returned[history, books.returned_count[history]] = before
        books.returned_count[history] += 1
    books.returns[history, before] += pages


@entry_point
def close_books(books: Books) -> None:
    """Begin a new interval."""
    for history in range(HISTORIES):
        for i in range(books.returned_count[history]):
            books.returns[history, books.returned[history, i]] = 0
        books.returned_count[history] = 0
    books.heat[:] = 0
    books.first_writes[:] = 0
    tally = books.tally[0]
    tally.touched = 0
    tally.written = 0
    tally.regions = 0
    tally.region_pages = 0
    tally.interval += 1


@kernel
def note_harvest(books: Books) -> None:
    """Enter a harvest: from now on pages count as written since it."""
    for number in range(len(books.region)):
        if books.region[number].last_write != 0:
            for page in range(number * NPTEPG, min((number + 1) * NPTEPG, len(books.touch))):
                books.touch[page].marks &= ~WRITTEN_SINCE_HARVEST
    books.tally[0].harvest_written += books.tally[0].unharvested
    books.tally[0].unharvested = 0
