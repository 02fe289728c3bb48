"""The access loop: rows of a trace, in order, through all guests of a host under several CPU profiles at once.

For almost every access of a trace nothing changes: the page is mapped, its accessed bit is set, and on a
write its dirty bit too, under every profile.  One byte a guest page says so (`State.quiet`, shared by the
states of all profiles):

* bits 0 to 2 (TOUCHED, for reads, writes and fetches): the open interval has seen such an access.  They are
  cleared when it closes (books.py);
* bits 3 to 5 (SETTLED, likewise): such an access changes nothing in any model.  They are set when all
  models have taken one, and cleared when any model takes something away from the page's entry (entry.py);
* bit 6 (NO_MEMORY): the page is not memory.  The byte after the last page has it too and stands for all
  addresses beyond;
* bit 7 (UNHARVESTED): the page was written since the last harvest.

Rows go through in chunks, each in two steps.  The first looks at every row, without a branch: it marks the
access, lists the page if the interval sees it for the first time, and notes the row as late if the access is not
settled.  The second makes the late ones in order, asking for the memory of those to come (_prefetch.py).
When one of them takes something away from any page, what the first step found out about the rows after it
need not be true any more: it looks at them again.

Worlds: the states of all profiles are stacked along a leading axis.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.model import pte
from eptreplay.model._jit import entry_point, kernel
from eptreplay.model._prefetch import prefetch
from eptreplay.model.books import CHUNK_ROWS, OP_WRITE, Books, add_accesses
from eptreplay.model.dirty_log import DirtyLog, logged_access
from eptreplay.model.ptp import NULL, pmap_pde, pmap_pde_to_pte
from eptreplay.model.state import (
    NO_MEMORY,
    SETTLED_SHIFT,
    TOUCHED,
    UNHARVESTED,
    Int,
    State,
    world,
)
from eptreplay.model.vm_object import guest_of

EMPTY = pte.EMPTY
PG_PS = pte.PG_PS
PAGE_MASK = pte.PAGE_MASK
PAGE_SHIFT = pte.PAGE_SHIFT
PAGE_SIZE = pte.PAGE_SIZE

GUEST_SHIFT = np.uint64(48)  # where the number of the guest stands in an address that is in no guest's range
NOWHERE = np.uint64(1 << 47)  # the bit that puts such an address beyond every range
GUEST_PAGE_SHIFT = GUEST_SHIFT - PAGE_SHIFT
NOWHERE_PAGE = NOWHERE >> PAGE_SHIFT
NEXT = np.uint64(1)
TWO = np.uint64(2)
AHEAD = 8  # late accesses whose memory is on its way
ONE = np.uint8(1)
ONE_SETTLED = np.uint8(1 << SETTLED_SHIFT)
KEEPS_OFF_LIST = TOUCHED | NO_MEMORY
KEEPS_WRITE_OFF_LIST = np.uint8(1 << OP_WRITE) | NO_MEMORY


@entry_point
def replay_rows(
    states: State,
    books: Books,
    log: DirtyLog,
    gpa: NDArray[np.uint64],
    op: NDArray[np.uint8],
    vcpu: NDArray[np.uint16],
    size: NDArray[np.uint16],
    count: NDArray[np.uint32],
    row: NDArray[np.int64],
    first_row: Int,
) -> None:
    """Replay consecutive rows that are counted already; one that crosses a page touches the next page once, too.

    Pages, addresses and vCPUs have flat numbers (worlds.py).  An address beyond its guest's range has NOWHERE
    set, and the number of the guest from bit 48 on.

    Args:
        states: the worlds.
        books: what the trace did, updated.
        log: what dirty tracking saw, updated.
        gpa: shape [rows]: flat byte addresses.
        op: shape [rows]: OP_READ, OP_WRITE or OP_FETCH; the caller has checked that.
        vcpu: shape [rows]: vCPUs, checked likewise; shape [1]: one for all rows.
        size: shape [rows]: bytes; shape [0] when no row crosses a page (may_cross).
        count: shape [rows]: accesses a row stands for; shape [0]: one each.
        row: shape [rows]: number of each row in its guest's trace; shape [0]: they are consecutive.
        first_row: number of the first of these rows in the trace.
    """
    begin: Int = 0
    while begin < len(gpa):
        end = min(begin + CHUNK_ROWS, len(gpa))
        if len(size) == 0:
            late = _look(states.quiet, books, gpa, op, vcpu, begin, end)
        else:
            late = _look_across(states.quiet, books, gpa, op, vcpu, size, begin, end)
        begin = _make_late(states, books, log, gpa, op, vcpu, size, count, row, first_row, late, end)


@kernel
def _look(
    quiet: NDArray[np.uint8],
    books: Books,
    gpa: NDArray[np.uint64],
    op: NDArray[np.uint8],
    vcpu: NDArray[np.uint16],
    begin: Int,
    end: Int,
) -> Int:
    """Mark the accesses of rows [begin, end), list new pages, and note which rows are late; return how many."""
    opened = books.opened
    late = books.late
    first = books.first
    beyond = np.uint64(len(quiet) - 1)
    listed = np.uint64(books.tally[0].opened)
    found = np.uint64(0)
    writing = np.uint64(0)
    for i in range(np.uint64(begin), np.uint64(end)):
        page = _known_page(gpa[i] >> PAGE_SHIFT, beyond)
        state = quiet[page]
        opened[listed] = page
        listed += np.uint64(state & KEEPS_OFF_LIST == 0)
        late[found] = i
        found += np.uint64((state >> op[i]) & ONE_SETTLED == 0)
        first[writing] = i
        writing += np.uint64((state & KEEPS_WRITE_OFF_LIST == 0) & (op[i] == OP_WRITE))
        quiet[page] = state | _mark(op[i])
    books.tally[0].opened = listed
    _count_first_writes(books, vcpu, writing)
    return np.int64(found)


@kernel
def _look_across(
    quiet: NDArray[np.uint8],
    books: Books,
    gpa: NDArray[np.uint64],
    op: NDArray[np.uint8],
    vcpu: NDArray[np.uint16],
    size: NDArray[np.uint16],
    begin: Int,
    end: Int,
) -> Int:
    """Do the same as _look for rows that may cross a page."""
    beyond = np.uint64(len(quiet) - 1)
    listed = np.uint64(books.tally[0].opened)
    found = np.uint64(0)
    for i in range(np.uint64(begin), np.uint64(end)):
        who = _vcpu_of(vcpu, np.int64(i))
        unsettled = False
        for page in range(gpa[i] >> PAGE_SHIFT, _end_page(gpa[i], np.uint64(size[i]))):
            known = _known_page(np.uint64(page), beyond)
            state = quiet[known]
            books.opened[listed] = known
            listed += np.uint64(state & KEEPS_OFF_LIST == 0)
            unsettled |= (state >> op[i]) & ONE_SETTLED == 0
            first = (state & KEEPS_WRITE_OFF_LIST == 0) & (op[i] == OP_WRITE)
            books.first_writing[who] += np.int64(first)
            quiet[known] = state | _mark(op[i])
        books.late[found] = i
        found += np.uint64(unsettled)
    books.tally[0].opened = listed
    return np.int64(found)


@kernel
def _mark(op: np.uint8) -> np.uint8:
    """Return the bits of State.quiet that an access sets."""
    return (ONE << op) | ((op & np.uint8(OP_WRITE)) * UNHARVESTED)


@kernel
def _vcpu_of(vcpu: NDArray[np.uint16], row: Int) -> Int:
    """Return the vCPU that made the access of a row."""
    return np.int64(vcpu[row if len(vcpu) > 1 else 0])


@kernel
def _count_first_writes(books: Books, vcpu: NDArray[np.uint16], writing: np.uint64) -> None:
    """Add first writes to those of the vCPUs that made them; their rows are the first in `books.first`."""
    if len(vcpu) == 1:
        books.first_writing[vcpu[0]] += np.int64(writing)
        return
    for k in range(writing):
        books.first_writing[vcpu[books.first[k]]] += 1


@kernel
def _known_page(page: np.uint64, beyond: np.uint64) -> np.uint64:
    """Return a page, or the one beyond the last that stands for all after it."""
    return min(page, beyond)


@kernel
def _end_page(gpa: np.uint64, size: np.uint64) -> np.uint64:
    """Return the page after the last that an access touches: of at most two pages."""
    crossing = (gpa & PAGE_MASK) + size > PAGE_SIZE
    return (gpa >> PAGE_SHIFT) + (TWO if crossing else NEXT)


@kernel
def _make_late(
    states: State,
    books: Books,
    log: DirtyLog,
    gpa: NDArray[np.uint64],
    op: NDArray[np.uint8],
    vcpu: NDArray[np.uint16],
    size: NDArray[np.uint16],
    count: NDArray[np.uint32],
    row: NDArray[np.int64],
    first_row: Int,
    late: Int,
    end: Int,
) -> Int:
    """Make the late accesses, in order; return the row from which on the chunk has to be looked at again, or `end`."""
    for k in range(late):
        if k + AHEAD < late:
            _prefetch_access(states, books, gpa[books.late[k + AHEAD]])
        i = np.int64(books.late[k])
        page = gpa[i] >> PAGE_SHIFT
        accesses = np.int64(count[i]) if len(count) != 0 else 1
        kind = np.int64(op[i])
        who = _vcpu_of(vcpu, np.int64(i))
        number = row[i] if len(row) != 0 else first_row + i
        disturbed = _make_access(states, books, log, page, kind, who, accesses, number)
        if len(size) != 0 and _end_page(gpa[i], np.uint64(size[i])) != page + NEXT:
            disturbed |= _make_access(states, books, log, page + NEXT, kind, who, 1, number)
        if disturbed:
            return i + 1
    return end


@kernel
def _prefetch_access(states: State, books: Books, gpa: np.uint64) -> None:
    """Ask for the memory that an access may need."""
    page = gpa >> PAGE_SHIFT
    if page < np.uint64(len(books.first_row)):
        prefetch(books.first_row, np.int64(page))
        guest = guest_of(world(states, 0), np.int64(page))
        va = gpa - (np.uint64(states.guests[0, guest].begin) << PAGE_SHIFT)
        for number in range(len(states.page)):
            st = world(states, number)
            prefetch(st.object, np.int64(page))
            pde = pmap_pde(st, st.pmap[guest], va)
            if pde != NULL and (st.pt[pde] & PG_PS) == EMPTY and st.pt[pde] != EMPTY:
                prefetch(st.pt, pmap_pde_to_pte(st, pde, va))


@kernel
def _make_access(
    states: State, books: Books, log: DirtyLog, page: np.uint64, op: Int, vcpu: Int, accesses: Int, row: Int
) -> bool:
    """Make an access that may change something, in every world; return whether any page lost something by it.

    Outside memory it counts as unbacked only.
    """
    first = world(states, 0)
    beyond = np.uint64(len(states.quiet) - 1)
    known = np.int64(_known_page(page, beyond))
    state = states.quiet[known]
    guest = (
        guest_of(first, known)
        if page < beyond or page & NOWHERE_PAGE == EMPTY
        else np.int64(page >> GUEST_PAGE_SHIFT)
    )
    if state & NO_MEMORY != 0:
        tally = books.tally[guest]
        tally.unbacked += 1
        add_accesses(tally, op, -accesses)
        return False
    if (state >> op) & ONE_SETTLED != 0:
        return False  # by a late access shortly before
    if books.first_row[known] == 0:
        books.first_row[known] = row + 1
    va = (page - np.uint64(first.guests[guest].begin)) << PAGE_SHIFT
    disturbed = False
    for number in range(len(states.page)):
        st = world(states, number)
        st.host[0].disturbed = 0
        logged_access(st, log, number, guest, va, op, vcpu, known)
        disturbed |= st.host[0].disturbed != 0
    states.quiet[known] |= (ONE_SETTLED << np.uint8(op)) & books.tally[0].settles
    return disturbed
