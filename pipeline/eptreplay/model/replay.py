"""The access loop: rows of a trace, in order, through one guest under several CPU profiles at once.

For almost every access of a trace nothing changes: the page is mapped, its accessed bit is set, and on a
write its dirty bit too, under every profile, and it is not the first of its kind to the page in the open
interval.  One byte a guest page says so (`State.quiet`), and such an access is only counted:

* bits 0 to 2 (QUIET, for reads, writes and fetches): nothing changes, neither in a model nor in the books;
* bits 3 to 5 (SETTLED, likewise): nothing changes in any model.

The bits are set when all models have taken an access.  All are cleared when any model takes something away
from the page's entry (entry.py); the end of an interval clears QUIET alone, so that the first access of a
kind to a page in an interval is entered in the books without asking the models again.

Worlds: the states of all profiles are stacked along a leading axis and share `quiet`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.model import pte
from eptreplay.model._jit import entry_point, kernel
from eptreplay.model.books import OP_FETCH, OP_READ, OP_WRITE, Books, close_books, note_access
from eptreplay.model.dirty_log import DirtyLog, logged_access
from eptreplay.model.pmap import leaf_of, pmap_pinit_type
from eptreplay.model.pmap_page import pmap_is_modified, pmap_is_referenced, pmap_ts_referenced
from eptreplay.model.state import PGA_REFERENCED, Int, Record, State, new_states, world

NPTEPG = pte.NPTEPG
PAGE_MASK = pte.PAGE_MASK
PAGE_SHIFT = pte.PAGE_SHIFT
PAGE_SIZE = pte.PAGE_SIZE

NEXT = np.uint64(1)
SUPERPAGE_LEVEL = 2

SETTLED_SHIFT = 3
SETTLED = np.uint8(0b111000)
QUIET_AND_SETTLED = 0b001001


def new_worlds(
    pmap_types: NDArray[np.int64],
    pmap_flags: NDArray[np.int64],
    ram_pages: NDArray[np.int64],
    vcpus: int,
    pbase: int,
) -> State:
    """Return one state a profile, each with an empty guest of its own, stacked and ready to replay.

    Page g of guest memory will be physical page g: the host has a frame for all of it.

    Args:
        pmap_types: shape [profiles]: PT_X86 or PT_EPT.
        pmap_flags: shape [profiles]: PMAP_* flags.
        ram_pages: shape [ranges, 2]: guest pages [begin, end) that are memory, ascending.
        vcpus: virtual CPUs; all of them count as running.
        pbase: physical address of guest page 0, bytes, a multiple of 2 MB.
    """
    pages = int(ram_pages[-1, 1])
    blocks = sum(int(-(-end // NPTEPG) - begin // NPTEPG) for begin, end in ram_pages)
    tables = 1 + blocks + 2 * (2 + pages // NPTEPG**2)
    states = new_states(
        len(pmap_types),
        pmaps=1,
        pages=pages,
        mappings=int((ram_pages[:, 1] - ram_pages[:, 0]).sum()),
        tables=tables,
        quiet=np.zeros(pages, np.uint8),
        pbase=pbase,
    )
    states.pmap.pm_quiet_pages = pages
    states.pmap.pm_active = vcpus
    init_guests(states, pmap_types, pmap_flags)
    return states


@entry_point
def init_guests(states: State, pmap_types: NDArray[np.int64], pmap_flags: NDArray[np.int64]) -> None:
    """Make pmap 0 of every world, of the given types and flags; the pmap's address hashes to 0."""
    for number in range(len(pmap_types)):
        pmap_pinit_type(world(states, number), 0, pmap_types[number], pmap_flags[number], 0)


@kernel
def is_ram(ram_pages: NDArray[np.int64], page: Int) -> bool:
    """Return whether a guest page is memory."""
    inside = False
    for i in range(len(ram_pages)):
        inside |= ram_pages[i, 0] <= page < ram_pages[i, 1]
    return inside


@entry_point
def replay_rows(
    states: State,
    books: Books,
    log: DirtyLog,
    ram_pages: NDArray[np.int64],
    gpa: NDArray[np.uint64],
    op: NDArray[np.uint8],
    vcpu: NDArray[np.uint16],
    size: NDArray[np.uint16],
    count: NDArray[np.uint32],
    first_row: Int,
) -> None:
    """Replay consecutive rows; one that crosses a page touches the next page once, too.

    Args:
        states: the worlds.
        books: what the trace did, updated.
        log: what dirty tracking saw, updated.
        ram_pages: shape [ranges, 2]: guest pages that are memory.
        gpa: shape [rows]: guest-physical byte addresses.
        op: shape [rows]: OP_READ, OP_WRITE or OP_FETCH; the caller has checked that.
        vcpu: shape [rows]: vCPUs, checked likewise; shape [1]: one for all rows.
        size: shape [rows]: bytes; shape [0] when no row crosses a page (may_cross).
        count: shape [rows]: accesses a row stands for; shape [0]: one each.
        first_row: number of the first of these rows in the trace.
    """
    _count_accesses(books.tally[0], op, count)
    quiet = states.quiet
    pages = np.uint64(len(quiet))
    sizes = len(size)
    step = np.int64(len(vcpu) > 1)
    for i in range(len(gpa)):
        page = gpa[i] >> PAGE_SHIFT
        if page >= pages or not (quiet[page] >> op[i]) & 1:
            accesses = np.int64(count[i]) if len(count) != 0 else 1
            who = np.int64(vcpu[i * step])
            _replay_row(states, books, log, ram_pages, gpa[i], np.int64(op[i]), who, accesses, first_row + i)
        if sizes != 0 and (gpa[i] & PAGE_MASK) + np.uint64(size[i]) > PAGE_SIZE:
            # The part on the next page is an access of its own.
            _add_accesses(books.tally[0], np.int64(op[i]), 1)
            if page + NEXT >= pages or not (quiet[page + NEXT] >> op[i]) & 1:
                gpa_next = (page + NEXT) << PAGE_SHIFT
                who = np.int64(vcpu[i * step])
                _replay_row(states, books, log, ram_pages, gpa_next, np.int64(op[i]), who, 1, first_row + i)


@kernel
def _replay_row(
    states: State,
    books: Books,
    log: DirtyLog,
    ram_pages: NDArray[np.int64],
    gpa: np.uint64,
    op: Int,
    vcpu: Int,
    accesses: Int,
    row: Int,
) -> None:
    """Make an access that may change something, in every world; outside memory it counts as unbacked only."""
    page = np.int64(gpa >> PAGE_SHIFT)
    if not is_ram(ram_pages, page):
        books.tally[0].unbacked += 1
        _add_accesses(books.tally[0], op, -accesses)
        return
    note_access(books, page, op, vcpu, row)
    if not (states.quiet[page] >> (op + SETTLED_SHIFT)) & 1:
        for number in range(len(states.page)):
            logged_access(world(states, number), log, number, gpa, op, vcpu, page)
    states.quiet[page] |= np.uint8(QUIET_AND_SETTLED << op)


@kernel
def _add_accesses(tally: Record, op: Int, accesses: Int) -> None:
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
        crossing += np.int64((gpa[i] & PAGE_MASK) + np.uint64(size[i]) > PAGE_SIZE)
    return crossing != 0


@entry_point
def close_interval(states: State, books: Books) -> None:
    """Begin a new interval: every page touched in the old one is looked at again at its next access."""
    for i in range(books.tally[0].touched):
        states.quiet[books.opened[i]] &= SETTLED
    close_books(books)


@kernel
def _count_accesses(tally: Record, op: NDArray[np.uint8], count: NDArray[np.uint32]) -> None:
    """Add the accesses that rows stand for to the tally; see replay_rows for the arrays."""
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
        if len(size) != 0 and page + NEXT < pages and (gpa[i] & PAGE_MASK) + np.uint64(size[i]) > PAGE_SIZE:
            page_accesses[page + NEXT, op[i]] += 1


@entry_point
def age(states: State) -> None:
    """In every world, ask every allocated page, in order, how often it was used, and forget it (pmap_ts_referenced)."""
    for number in range(len(states.page)):
        st = world(states, number)
        found: Int = 0
        for block in range(len(st.reserv)):
            if st.reserv[block] != 0:
                for m in range(block * NPTEPG, (block + 1) * NPTEPG):
                    if st.page[m].allocated != 0:
                        found += pmap_ts_referenced(st, m)
        st.cnt[0].ts_referenced += found
        st.cnt[0].sweeps += 1


# What a host can see of a guest page at one moment, a bit each (observe_pages).
SEEN_ALLOCATED = 1  # the page is in host memory
SEEN_MAPPED = 2  # the guest's tables map it
SEEN_SUPERPAGE = 4  # by a 2 MB entry
SEEN_ACCESSED = 8  # an entry, or the page's own flag, says that it was used
SEEN_DIRTY = 16  # an entry, or the page's own field, says that it was written


@entry_point
def observe_pages(states: State, seen: NDArray[np.uint8]) -> None:
    """Write what the host sees of every page in every world to `seen`, shape [worlds, pages], SEEN_* bits."""
    for number in range(len(seen)):
        st = world(states, number)
        for block in range(len(st.reserv)):
            if st.reserv[block] != 0:
                for m in range(block * NPTEPG, min((block + 1) * NPTEPG, seen.shape[1])):
                    seen[number, m] = _observe_page(st, m)


@kernel
def _observe_page(st: State, m: Int) -> Int:
    """Return the SEEN_* bits of a page that backs the same guest page."""
    if st.page[m].allocated == 0:
        return 0
    seen = SEEN_ALLOCATED
    level, _ = leaf_of(st, st.pmap[0], np.uint64(m) << PAGE_SHIFT)
    if level != 0:
        seen |= SEEN_MAPPED
    if level == SUPERPAGE_LEVEL:
        seen |= SEEN_SUPERPAGE
    if (st.page[m].aflags & PGA_REFERENCED) != 0 or pmap_is_referenced(st, m):
        seen |= SEEN_ACCESSED
    if st.page[m].dirty != 0 or pmap_is_modified(st, m):
        seen |= SEEN_DIRTY
    return seen
