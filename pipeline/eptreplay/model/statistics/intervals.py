"""Interval statistics: what the trace itself touched and wrote, interval by interval, whatever a CPU records of it.

While an interval is open, the access loop only sets TOUCHED bits in the fast-path byte of a page, and marks the block of 64
pages, a cache line of such bytes, as open.  The interval statistics are made from the bytes of open blocks when the interval
closes (close_interval.py), in the order of addresses, so memory is read in order, however accesses were scattered.

The question that interval statistics mostly answer later is "how many distinct pages in this stretch of time?", for stretches
that are not known yet.  No lists of pages are needed for that.  A page counts once in intervals [a, b), at its first touch in
them, which is the touch whose previous one is before a.  So it is enough to know of every interval how many of its pages were
touched last in interval 0, in 1, in 2 ... or never: `returns`.  The same is kept for pages written and for 2 MB regions written.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import entry_point, kernel
from eptreplay.model._numba.arrays import (
    Field,
    allocated,
    array,
    assembled,
    record_type,
    records,
    structure_of_arrays,
)
from eptreplay.model._numba.types import ONE, Int, Record, Records
from eptreplay.model.state.fast_path import NO_MEMORY, NO_OP
from eptreplay.model.state.guest_pages import page_at
from eptreplay.model.state.pte import NPTEPG, PAGE_SHIFT
from eptreplay.model.state.rows import KINDS, OP_FETCH, OP_READ, OP_WRITE, Rows, accesses_of, crosses

TOUCHED_AT_ALL = 3  # in IntervalStatistics.heat, after the three kinds of access: pages touched in any way

CHUNK_ROWS = 2048  # rows that the access loop scans at once
OPEN_SHIFT = np.uint64(6)  # log2 of the pages of a block of IntervalStatistics.open
OPEN_PAGES = 1 << 6  # the pages of such a block

# When the trace touched a guest page; entered when an interval closes.
# fmt: off
TOUCH_FIELDS = (
    #     name           type      unit          owner                        meaning
    Field("last_touch",  np.int32, "number + 1", "statistics/close_interval", "1 + interval of the last access, 0: never touched"),
    Field("first_write", np.int32, "number + 1", "statistics/close_interval", "1 + interval of the first write, 0: never written"),
    Field("last_write",  np.int32, "number + 1", "statistics/close_interval", "1 + interval of the last write, 0: never written"),
)
# fmt: on
TOUCH = record_type(TOUCH_FIELDS)

# When the trace wrote a 2 MB region.
# fmt: off
REGION_FIELDS = (
    #     name           type      unit          owner                        meaning
    Field("first_write", np.int32, "number + 1", "statistics/close_interval", "1 + interval of the first write, 0: never written"),
    Field("last_write",  np.int32, "number + 1", "statistics/close_interval", "1 + interval of the last write, 0: never written"),
    Field("pages",       np.int32, "pages",      "statistics/intervals",      "pages of the region that are memory"),
)
# fmt: on
REGION = record_type(REGION_FIELDS)

# What the trace did to a guest in all, and in the interval that closed last.
# fmt: off
TALLY_FIELDS = (
    #     name               type      unit        owner                                              meaning
    Field("reads",           np.int64, "",         "statistics/intervals",                            "accesses to memory, by kind"),
    Field("writes",          np.int64, "",         "statistics/intervals",                            "likewise"),
    Field("fetches",         np.int64, "",         "statistics/intervals",                            "likewise"),
    Field("unbacked",        np.int64, "accesses", "statistics/intervals",                            "accesses to what is neither memory nor a BAR"),
    Field("unbacked_rows",   np.int64, "rows",     "statistics/intervals",                            "rows that made them"),
    Field("unbacked_low",    np.int64, "bytes",    "statistics/intervals",                            "the lowest address of those; 0 while there are none"),
    Field("unbacked_high",   np.int64, "bytes",    "statistics/intervals",                            "the highest"),
    Field("harvest_written", np.int64, "pages",    "statistics/intervals",                            "distinct pages written between harvests, at every harvest, summed"),
    Field("interval",        np.int32, "",         "statistics/close_interval",                       "number of the open interval"),
    Field("touched",         np.int32, "pages",    "statistics/close_interval",                       "distinct pages touched in the one before"),
    Field("written",         np.int32, "pages",    "statistics/close_interval",                       "distinct pages written in it"),
    Field("regions",         np.int32, "",         "statistics/close_interval",                       "distinct 2 MB regions written in it"),
    Field("region_pages",    np.int32, "pages",    "statistics/close_interval",                       "pages of those regions"),
    Field("no_ops",          np.uint8, "",         "statistics/intervals",                            "NO_OP bits that may be set; 0: every access is made by the models"),
    Field("deferrable",      np.uint8, "",         "statistics/intervals",                            "NO_OP bits of accesses whose accessed bits may be deferred; 0: none may be"),
    Field("deferring",       np.uint8, "flag",     "access_loop/deferred_accessed access_loop/sweep", "1: there may be deferred accessed bits"),
)
# fmt: on
TALLY = record_type(TALLY_FIELDS)

# IntervalStatistics.unharvested, a bit each; a write sets both.
UNHARVESTED = np.uint8(1)  # written since the last harvest
WRITTEN_AGAIN = np.uint8(2)  # written since the page was given back last (given_back.py)
JUST_WRITTEN = UNHARVESTED | WRITTEN_AGAIN

# The first index of IntervalStatistics.returns.
PAGES_TOUCHED = 0
PAGES_WRITTEN = 1
REGIONS_WRITTEN = 2
HISTORIES = 3


# fmt: off
@structure_of_arrays
class IntervalStatistics:
    """What a trace did, in all and in the interval that closed last.

    It has the statistics of all guests of a host: pages, regions and vCPUs by flat numbers (instances.py), what is made at the
    end of an interval with the guest as the first index.
    """

    first_row: NDArray[np.int64] = array(
        np.int64, "guest_pages", unit="number + 1", owner="access_loop/slow_path statistics/other_accesses",
        meaning="1 + row of the first access, 0: never touched",
    )
    touch: Records = array(TOUCH, "guest_pages", meaning="when each page was touched")
    region: Records = array(REGION, "regions", meaning="2 MB regions")
    tally: Records = array(TALLY, "guests", meaning="what is one number per guest")
    open: NDArray[np.uint8] = array(
        np.uint8, "page_blocks", unit="flag", owner="access_loop/fast_path statistics/close_interval statistics/other_accesses",
        meaning="1: the open interval may have touched one of these 64 pages",
    )
    unharvested: NDArray[np.uint8] = array(
        np.uint8, "guest_pages", unit="flags", owner="access_loop/slow_path statistics/intervals",
        meaning="since when it was written: UNHARVESTED, WRITTEN_AGAIN",
    )
    deferred: NDArray[np.uint8] = array(
        np.uint8, "guest_pages", unit="flags", owner="access_loop/*",
        meaning="what is known of a page's accessed bits since the last aging sweep (deferred_accessed.py)",
    )
    unfinished: NDArray[np.uint8] = array(
        np.uint8, "chunk", unit="flags", owner="access_loop/fast_path",
        meaning="not 0: there is something to do for that row of the chunk",
    )
    rows: NDArray[np.int32] = array(
        np.int32, "chunk", unit="row", owner="access_loop/fast_path", meaning="rows of a chunk for which there is something to do"
    )
    listed: NDArray[np.int32] = array(
        np.int32, "guest_pages", unit="page", owner="_numba/bits statistics/close_interval",
        meaning="scratch: pages that the end of an interval, or a sweep, goes through",
    )
    heat: NDArray[np.int32] = array(
        np.int32, "guests", "stretches", "kinds", unit="pages", owner="statistics/close_interval",
        meaning="distinct pages of each stretch of addresses that the interval read, wrote, fetched from, touched in any way",
    )
    heat_shift: NDArray[np.int64] = array(
        np.int64, "guests", unit="log2 pages", owner="statistics/intervals", meaning="how long a stretch is"
    )
    first_writes: NDArray[np.int64] = array(
        np.int64, "vcpus", unit="pages", owner="statistics/close_interval",
        meaning="pages of which each vCPU made the interval's first write",
    )
    first_writing: NDArray[np.int64] = array(
        np.int64, "vcpus", unit="pages", owner="access_loop/fast_path statistics/close_interval",
        meaning="the same for the open interval",
    )
    returns: NDArray[np.int32] = array(
        np.int32, "guests", "histories", "interval_places", unit="pages", owner="statistics/close_interval",
        meaning="pages of the interval by 1 + the interval of the touch (or write) before, 0: none; a region counts as its pages",
    )
    returned: NDArray[np.int32] = array(
        np.int32, "guests", "histories", "interval_places", unit="interval", owner="statistics/close_interval",
        meaning="which of those are not 0, in order of appearance",
    )
    returned_count: NDArray[np.int32] = array(
        np.int32, "guests", "histories", owner="statistics/close_interval", meaning="how many of those there are"
    )
    places: NDArray[np.int64]
# fmt: on


def new_interval_statistics(
    guests: Records,
    ram_pages: NDArray[np.int64],
    intervals: int,
    stretches: int,
    *,
    slow_path: bool = False,
    deferring: bool = False,
) -> IntervalStatistics:
    """Return the interval statistics of the traces of all guests, of which nothing has been replayed.

    Args:
        guests: GUEST [guests].
        ram_pages: shape [ranges, 2]: flat guest pages [begin, end) that are memory, ascending.
        intervals: the most intervals there will be.
        stretches: the most stretches of addresses of a guest that heat is kept of; each is a power of two of pages.
        slow_path: whether the models make every access, also those known to change nothing.
        deferring: whether accessed bits may be deferred: everybody but accesses and aging sweeps has them written to the
            entries before looking at those (deferred_accessed.py).
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
    tally.no_ops = 0 if slow_path else NO_OP
    tally.deferrable = NO_OP if deferring and not slow_path else 0
    rows = max((size >> shift) + 1 for size, shift in zip(sizes, shifts, strict=True))
    lengths = {
        "guests": count,
        "guest_pages": pages,
        "regions": len(region),
        "page_blocks": (pages >> int(OPEN_SHIFT)) + 1,
        "chunk": CHUNK_ROWS,
        "stretches": rows,
        "kinds": KINDS + 1,
        "vcpus": vcpus,
        "histories": HISTORIES,
        "interval_places": intervals + 2,
    }
    given = {"region": region, "tally": tally, "heat_shift": np.array(shifts, np.int64)}
    return assembled(IntervalStatistics, allocated(IntervalStatistics, lengths, given))


class GuestStatistics(NamedTuple):
    """What the statistics of all intervals say of one guest: views of the same memory, in which pages count from its own page 0.

    Args:
        first_row: shape [guest pages]: see IntervalStatistics, likewise the others.
        touch: TOUCH [guest pages].
        region: REGION [2 MB regions].
    """

    first_row: NDArray[np.int64]
    touch: Records
    region: Records


def statistics_of(statistics: IntervalStatistics, known: Record) -> GuestStatistics:
    """Return the interval statistics of one guest; `known` is its GUEST record."""
    begin, end = int(known.begin), int(known.end)
    touch: Any = statistics.touch[begin:end]
    region: Any = statistics.region[begin // NPTEPG : -(-end // NPTEPG)]
    return GuestStatistics(statistics.first_row[begin:end], touch, region)


@kernel
def note_harvest(
    statistics: IntervalStatistics, fast_path: NDArray[np.uint8], guest: Int, begin: Int, end: Int
) -> None:
    """Enter a harvest of a guest's flat pages [begin, end): count those written since the harvest before, and begin anew."""
    written: Int = 0
    for page in range(begin, end):
        written += np.int64(
            statistics.unharvested[page_at(page)]
            & UNHARVESTED
            & np.uint8(fast_path[page_at(page)] & NO_MEMORY == 0)
        )
        statistics.unharvested[page_at(page)] &= WRITTEN_AGAIN
    statistics.tally[guest].harvest_written += written


@kernel
def note_unbacked(tally: Record, gpa: Int, accesses: Int, rows: Int) -> None:
    """Add accesses to an address that is neither memory nor a BAR to the tally, and the rows they are counted as, 0 or 1."""
    tally.unbacked_low = gpa if tally.unbacked == 0 else min(np.int64(tally.unbacked_low), gpa)
    tally.unbacked_high = max(np.int64(tally.unbacked_high), gpa)
    tally.unbacked += accesses
    tally.unbacked_rows += rows


@kernel
def add_accesses(tally: Record, op: Int, accesses: Int) -> None:
    """Add accesses of a kind to the tally."""
    if op == OP_READ:
        tally.reads += accesses
    elif op == OP_WRITE:
        tally.writes += accesses
    else:
        tally.fetches += accesses


@kernel
def count_accesses(statistics: IntervalStatistics, rows: Rows, begin: Int, end: Int) -> None:
    """Add the accesses that the rows [begin, end) stand for to the tallies of their guests.

    The part of an access on the next page is an access of its own.
    """
    if len(rows.count) == 0 and len(rows.size) == 0 and len(rows.guest) == 0:
        _count_rows(statistics.tally[0], rows.op[begin:end])
        return
    for i in range(begin, end):
        accesses = accesses_of(rows, i) + np.int64(crosses(rows, i))
        guest = rows.guest[i] if len(rows.guest) != 0 else 0
        add_accesses(statistics.tally[guest], np.int64(rows.op[i]), accesses)


@kernel
def _count_rows(tally: Record, op: NDArray[np.uint8]) -> None:
    """Add rows of one access each to a tally."""
    writes: Int = 0
    fetches: Int = 0
    for i in range(len(op)):
        writes += np.int64(op[i] == OP_WRITE)
        fetches += np.int64(op[i] == OP_FETCH)
    tally.reads += len(op) - writes - fetches
    tally.writes += writes
    tally.fetches += fetches


@entry_point
def count_page_accesses(rows: Rows, begin: Int, end: Int, page_accesses: NDArray[np.int64]) -> None:
    """Add the accesses of the rows [begin, end) to the exact counts of their pages.

    Args:
        rows: the rows.
        begin: the first one.
        end: the one after the last.
        page_accesses: shape [guest pages, 4]: reads, writes, fetches of each page, updated; the fourth is unused.
    """
    pages = np.uint64(len(page_accesses))
    for i in range(begin, end):
        page = rows.gpa[i] >> PAGE_SHIFT
        if page < pages:
            page_accesses[page, rows.op[i]] += accesses_of(rows, i)
        if page + ONE < pages and crosses(rows, i):
            page_accesses[page + ONE, rows.op[i]] += 1
