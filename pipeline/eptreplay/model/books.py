"""The books: what the trace itself touched and wrote, interval by interval, whatever a CPU can record of it.

While an interval is open, the access loop only marks in a page's byte of `State.quiet` which kinds of access it
has seen, and lists a page at its first one.  The books are worked out from that list when the interval closes.

What is asked of the books later is mostly "how many distinct pages in this stretch of time?", for stretches
nobody knows yet.  It takes no lists of pages to answer that.  A page counts in intervals [a, b) once, at
its first touch in them, and that is the one whose touch before lies before a.  So it is enough to know of every
interval how many of its pages were touched last in interval 0, in 1, in 2 ... or never: `returns`.  The same is
kept for pages written and for 2 MB regions written.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.model import pte
from eptreplay.model._jit import entry_point, kernel
from eptreplay.model._prefetch import prefetch
from eptreplay.model.state import NO_MEMORY, SETTLED, TOUCHED, UNHARVESTED, Int, Record, Records, records

NPTEPG = pte.NPTEPG
PAGE_MASK = pte.PAGE_MASK
PAGE_SHIFT = pte.PAGE_SHIFT
PAGE_SIZE = pte.PAGE_SIZE

NEXT = np.uint64(1)
ONE = np.uint8(1)

# Codes of the column `op`.
OP_READ = 0
OP_WRITE = 1
OP_FETCH = 2
KINDS = 3
TOUCHED_AT_ALL = 3  # beside the three kinds in Books.heat: a page touched in whatever way

CHUNK_ROWS = 4096  # rows that the access loop looks at before it makes those that may change something
AHEAD = 16  # pages of a list whose memory is on its way

# When the trace touched a guest page; entered when an interval closes.
TOUCH = np.dtype(
    [
        ("last_touch", np.int32),  # 1 + interval of the last access, 0: never touched
        ("first_write", np.int32),  # 1 + interval of the first write, 0: never written
        ("last_write", np.int32),  # 1 + interval of the last write, 0: never written
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

# What it did in all, and in the interval that closed last.
TALLY = np.dtype(
    [
        ("reads", np.int64),  # accesses to memory, by kind
        ("writes", np.int64),
        ("fetches", np.int64),
        ("unbacked", np.int64),  # rows whose page is not memory
        (
            "opened",
            np.int64,
        ),  # pages touched in the open interval so far, by any guest (guest 0's tally alone)
        ("harvest_written", np.int64),  # distinct pages written between harvests, at every harvest, summed
        ("interval", np.int32),  # number of the open interval
        ("touched", np.int32),  # distinct pages touched in the one before
        ("written", np.int32),  # distinct pages written in it
        ("regions", np.int32),  # distinct 2 MB regions written in it
        ("region_pages", np.int32),  # pages of those regions
        ("settles", np.uint8),  # SETTLED bits that may be set; 0: every access is made by the models
        ("light", np.uint8),  # SETTLED bits of accesses that may be made by marks (marks.py); 0: none
        ("marks", np.uint8),  # 1: there may be marks
    ],
    align=True,
)

# The first index of Books.returns.
PAGES_TOUCHED = 0
PAGES_WRITTEN = 1
REGIONS_WRITTEN = 2
HISTORIES = 3


class Books(NamedTuple):
    """The books of a trace, of all of it and of the interval that closed last.

    The books of all guests of a host are held together (new_books): pages, regions and vCPUs in flat numbers
    (worlds.py), what is worked out by interval with the guest as the first index.  guest_books takes one
    guest's out.  The arrays are shared, not copied, when the tuple is.
    """

    first_row: NDArray[np.int64]  # [guest pages]: 1 + row of the first access, 0: never touched
    touch: Records  # TOUCH [guest pages]
    region: Records  # REGION [2 MB regions]
    tally: Records  # TALLY [1]
    opened: NDArray[
        np.int32
    ]  # [guest pages + 1]: pages touched in the open interval by any guest, as many as guest 0's tally says
    cold: NDArray[np.uint8]  # [guest pages]: what is known of a page since the last aging sweep (marks.py)
    rows: NDArray[np.int32]  # [CHUNK_ROWS]: rows of a chunk that there is something to do for
    heat: NDArray[np.int32]  # [stretches, 4]: distinct pages of each stretch of addresses that the interval
    # read, wrote, fetched from, and touched in whatever way
    heat_shift: NDArray[np.int64]  # [1]: log2 of the pages of a stretch
    first_writes: NDArray[np.int64]  # [vCPUs]: pages of which each made the interval's first write
    first_writing: NDArray[np.int64]  # [vCPUs]: the same for the open interval
    returns: NDArray[np.int32]  # [HISTORIES, intervals + 2]: pages of the interval by 1 + the interval of
    # the touch (or write) before, 0: none before; a region counts as its pages
    returned: NDArray[np.int32]  # [as returns]: which of those are not 0, in order of appearance
    returned_count: NDArray[np.int32]  # [HISTORIES]: how many


def new_books(
    guests: Records,
    ram_pages: NDArray[np.int64],
    intervals: int,
    stretches: int,
    *,
    slow_path: bool = False,
    marks: bool = False,
) -> Books:
    """Return the books of traces of which nothing has been replayed, all guests together.

    Args:
        guests: GUEST [guests].
        ram_pages: shape [ranges, 2]: flat guest pages [begin, end) that are memory, ascending.
        intervals: the most intervals there will be.
        stretches: the most stretches of addresses of a guest that heat is kept of; each is a power of two of pages.
        slow_path: whether the models make every access, also those known to change nothing.
        marks: whether marks may stand for accessed bits: nothing but accesses and sweeps looks at entries unannounced.
    """
    count = len(guests)
    sizes = [int(guest.end - guest.begin) for guest in guests]
    shifts = [max(0, (-(-size // stretches) - 1).bit_length()) for size in sizes]
    pages = int(guests[-1].end)
    vcpus = int(guests[-1].first_vcpu + guests[-1].vcpus)
    region = records(-(-pages // NPTEPG), REGION)
    for begin, end in ram_pages:
        for number in range(begin // NPTEPG, -(-end // NPTEPG)):
            region[number].pages += min(end, (number + 1) * NPTEPG) - max(begin, number * NPTEPG)
    tally = records(count, TALLY)
    tally.settles = 0 if slow_path else SETTLED
    tally.light = SETTLED if marks and not slow_path else 0
    rows = max((size >> shift) + 1 for size, shift in zip(sizes, shifts, strict=True))
    return Books(
        first_row=np.zeros(pages, np.int64),
        touch=records(pages, TOUCH),
        region=region,
        tally=tally,
        opened=np.zeros(pages + 1, np.int32),
        cold=np.zeros(pages, np.uint8),
        rows=np.zeros(CHUNK_ROWS, np.int32),
        heat=np.zeros((count, rows, KINDS + 1), np.int32),
        heat_shift=np.array(shifts, np.int64),
        first_writes=np.zeros(vcpus, np.int64),
        first_writing=np.zeros(vcpus, np.int64),
        returns=np.zeros((count, HISTORIES, intervals + 2), np.int32),
        returned=np.zeros((count, HISTORIES, intervals + 2), np.int32),
        returned_count=np.zeros((count, HISTORIES), np.int32),
    )


def books_of(books: Books, guests: Records, guest: Int) -> Books:
    """Return the books of one guest, whose pages and vCPUs count from its own 0, as views of the same memory.

    The lists of the access loop stay those of all guests.
    """
    known = guests[guest]
    begin, end = known.begin, known.end
    first_vcpu, end_vcpu = known.first_vcpu, known.first_vcpu + known.vcpus
    touch: Any = books.touch[begin:end]
    region: Any = books.region[begin // NPTEPG : (end + NPTEPG - 1) // NPTEPG]
    tally: Any = books.tally[guest : guest + 1]
    return Books(
        books.first_row[begin:end],
        touch,
        region,
        tally,
        books.opened,
        books.cold[begin:end],
        books.rows,
        books.heat[guest],
        books.heat_shift[guest : guest + 1],
        books.first_writes[first_vcpu:end_vcpu],
        books.first_writing[first_vcpu:end_vcpu],
        books.returns[guest],
        books.returned[guest],
        books.returned_count[guest],
    )


guest_books = kernel(books_of)


@entry_point
def close_interval(books: Books, guests: Records, quiet: NDArray[np.uint8]) -> None:
    """Enter the pages touched in the open interval in the books, in place of those of the one before, and open the next.

    Args:
        books: of all guests, updated.
        guests: GUEST [guests].
        quiet: shape [flat guest pages + 1], State.quiet; loses its TOUCHED bits.
    """
    opened = books.tally[0].opened
    for guest in range(len(guests)):
        begin, end = guests[guest].begin, guests[guest].end
        mine = guest_books(books, guests, guest)
        _close_guest(mine, quiet[begin:end], begin, opened)
    books.tally[0].opened = 0


@kernel
def _close_guest(books: Books, quiet: NDArray[np.uint8], begin: Int, opened: Int) -> None:
    """Enter what one guest, whose page 0 has the flat number `begin`, touched; `opened` pages are listed in all."""
    _forget_interval(books)
    tally = books.tally[0]
    touched: Int = 0
    for i in range(opened):
        ahead = books.opened[min(i + AHEAD, opened - 1)] - begin
        prefetch(books.touch, max(0, min(ahead, len(books.touch) - 1)))
        page = np.int64(books.opened[i]) - begin
        if 0 <= page < len(quiet):
            _close_page(books, tally, page, quiet[page])
            quiet[page] &= ~TOUCHED
            touched += 1
    for vcpu in range(len(books.first_writes)):
        books.first_writes[vcpu] = books.first_writing[vcpu]
        books.first_writing[vcpu] = 0
    tally.touched = touched
    tally.interval += 1


@kernel
def _forget_interval(books: Books) -> None:
    """Empty the books of the interval that closed last."""
    for history in range(HISTORIES):
        for i in range(books.returned_count[history]):
            books.returns[history, books.returned[history, i]] = 0
        books.returned_count[history] = 0
    books.heat[:] = 0
    tally = books.tally[0]
    tally.written = 0
    tally.regions = 0
    tally.region_pages = 0


@kernel
def _close_page(books: Books, tally: Record, page: Int, state: np.uint8) -> None:
    """Enter a page that was touched; `state` is its byte of State.quiet."""
    touch = books.touch[page]
    stretch = page >> books.heat_shift[0]
    _return(books, PAGES_TOUCHED, touch.last_touch, 1)
    touch.last_touch = tally.interval + 1
    books.heat[stretch, TOUCHED_AT_ALL] += 1
    for op in range(KINDS):
        books.heat[stretch, op] += np.int32((state >> np.uint8(op)) & ONE)
    if (state >> np.uint8(OP_WRITE)) & ONE != 0:
        _close_written_page(books, touch, tally, page)


@kernel
def _close_written_page(books: Books, touch: Record, tally: Record, page: Int) -> None:
    """Enter a page that was written."""
    now = tally.interval + 1
    _return(books, PAGES_WRITTEN, touch.last_write, 1)
    if touch.first_write == 0:
        touch.first_write = now
    touch.last_write = now
    tally.written += 1
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


@kernel
def note_harvest(books: Books, quiet: NDArray[np.uint8]) -> None:
    """Enter a harvest of one guest: the pages written since the one before; from now on pages count as written since this one."""
    written: Int = 0
    for page in range(len(quiet)):
        written += np.int64((quiet[page] & (UNHARVESTED | NO_MEMORY)) == UNHARVESTED)
        quiet[page] &= ~UNHARVESTED
    books.tally[0].harvest_written += written


@kernel
def known_page(page: np.uint64, beyond: np.uint64) -> np.uint64:
    """Return a page, or the one beyond the last that stands for all after it."""
    return min(page, beyond)


@kernel
def crosses(gpa: np.uint64, size: NDArray[np.uint8 | np.uint16], row: Int) -> bool:
    """Return whether the access of a row goes on in the next page; no row does where there are no sizes."""
    return len(size) != 0 and bool((gpa & PAGE_MASK) + np.uint64(size[row]) > PAGE_SIZE)


@kernel
def vcpu_of(vcpu: NDArray[np.uint16], row: Int) -> Int:
    """Return the vCPU that made the access of a row."""
    return np.int64(vcpu[row if len(vcpu) > 1 else 0])


@kernel
def add_accesses(tally: Record, op: Int, accesses: Int) -> None:
    """Add accesses of a kind to the tally."""
    if op == OP_READ:
        tally.reads += accesses
    elif op == OP_WRITE:
        tally.writes += accesses
    else:
        tally.fetches += accesses


@entry_point
def may_cross(gpa: NDArray[np.uint64], size: NDArray[np.uint8 | np.uint16]) -> bool:
    """Return whether any row crosses a page; `gpa` and `size` in bytes, shape [rows]."""
    crossing: Int = 0
    for i in range(len(gpa)):
        crossing += np.int64(crosses(gpa[i], size, i))
    return crossing != 0


@entry_point
def count_merged_accesses(
    tallies: Records,
    rows: NDArray[np.int64],
    guest: NDArray[np.uint8],
    gpa: NDArray[np.uint64],
    op: NDArray[np.uint8],
    size: NDArray[np.uint16],
    count: NDArray[np.uint32],
) -> None:
    """Add rows of several guests, and the accesses they stand for, to `rows` [guests] and to the guests' tallies."""
    for i in range(len(op)):
        accesses = np.int64(count[i]) if len(count) != 0 else 1
        accesses += np.int64(crosses(gpa[i], size, i))
        rows[guest[i]] += 1
        add_accesses(tallies[guest[i]], np.int64(op[i]), accesses)


@entry_point
def count_accesses(
    tallies: Records,
    gpa: NDArray[np.uint64],
    op: NDArray[np.uint8],
    size: NDArray[np.uint16],
    count: NDArray[np.uint32],
) -> None:
    """Add the accesses that rows of the only guest stand for to its tally; see replay_rows for the arrays."""
    tally = tallies[0]
    total: Int = 0
    writes: Int = 0
    fetches: Int = 0
    if len(count) == 0:
        total = len(op)
        for i in range(len(op)):
            writes += np.int64(op[i] == OP_WRITE)
            fetches += np.int64(op[i] == OP_FETCH)
    else:
        for i in range(len(op)):
            total += np.int64(count[i])
            writes += np.int64(count[i]) * np.int64(op[i] == OP_WRITE)
            fetches += np.int64(count[i]) * np.int64(op[i] == OP_FETCH)
    # The part on the next page is an access of its own.
    for i in range(len(size)):
        crossing = np.int64(crosses(gpa[i], size, i))
        total += crossing
        writes += crossing * np.int64(op[i] == OP_WRITE)
        fetches += crossing * np.int64(op[i] == OP_FETCH)
    tally.reads += total - writes - fetches
    tally.writes += writes
    tally.fetches += fetches


@entry_point
def count_page_accesses(
    gpa: NDArray[np.uint64],
    op: NDArray[np.uint8],
    size: NDArray[np.uint16],
    count: NDArray[np.uint32],
    page_accesses: NDArray[np.int64],
) -> None:
    """Add the accesses of rows to the exact counts of their pages.

    Args:
        gpa: shape [rows]: guest-physical byte addresses.
        op: shape [rows]: codes.
        size: shape [rows]: bytes; shape [0] when no row crosses a page (may_cross).
        count: shape [rows]: accesses a row stands for; shape [0]: one each.
        page_accesses: shape [guest pages, 4]: reads, writes, fetches of each page, updated; the fourth is unused.
    """
    pages = np.uint64(len(page_accesses))
    for i in range(len(gpa)):
        page = gpa[i] >> PAGE_SHIFT
        if page < pages:
            page_accesses[page, op[i]] += np.int64(count[i]) if len(count) != 0 else 1
        if page + NEXT < pages and crosses(gpa[i], size, i):
            page_accesses[page + NEXT, op[i]] += 1
