"""The access loop: rows of a trace, in order, through all guests of a host under several CPU profiles at once.

For almost every access of a trace nothing changes: the page is mapped, its accessed bit is set, and on a
write its dirty bit too, under every profile.  One byte a guest page says so (`State.quiet`, shared by the
states of all profiles):

* bits 0 to 2 (TOUCHED, for reads, writes and fetches): the open interval has seen such an access.  They are
  cleared when it closes (books.py);
* bits 3 to 5 (SETTLED, likewise): such an access changes nothing in any model.  They are set when all
  models have taken one (a write settles reads, too), and cleared when any model takes something away from the page's entry (entry.py);
* bit 6 (NO_MEMORY): the page is not memory.  The byte after the last page has it too and stands for all
  addresses beyond;
* bit 7 (UNSAMPLED): no distances of reuse are taken of the page (reuse.py).

Rows go through in chunks, each in steps.  The first looks at every row, without a branch and without
writing to any page's byte, and finds those there is something to do for.  The second marks these, and keeps the late
ones: those that are not settled.  The third makes them in order, asking for the memory of those to come (_prefetch.py).
When one of them takes something away from any page, what was found out about the rows after it need not be true any
more: they are looked at again.  The last step takes in the distances of reuse of the rows that are done.

Worlds: the states of all profiles are stacked along a leading axis.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.model import pte
from eptreplay.model._jit import entry_point, kernel, part
from eptreplay.model._prefetch import prefetch
from eptreplay.model.books import (
    CHUNK_ROWS,
    OP_WRITE,
    OPEN_SHIFT,
    Books,
    add_accesses,
    count_accesses,
    crosses,
    known_page,
    vcpu_of,
)
from eptreplay.model.dirty_log import DirtyLog, logged_access
from eptreplay.model.marks import WARM, mark_accessed, write_marks_for
from eptreplay.model.ptp import NULL, pmap_pde, pmap_pde_to_pte
from eptreplay.model.reuse import Reuse, note_rows, rows_before, sampled_rows
from eptreplay.model.sg_pager import device_access
from eptreplay.model.state import (
    NO_MEMORY,
    SETTLED_SHIFT,
    Int,
    State,
    world,
    worlds_in,
)
from eptreplay.model.tlb import Tlbs, cached, flush_if_invalidated, serves
from eptreplay.model.translation import translate_rows
from eptreplay.model.vm_map import NO_BAR, bar_at
from eptreplay.model.vm_object import guest_of
from eptreplay.model.vm_reserv import vm_phys_foreseen
from eptreplay.model.walk import walk_changes_nothing

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
AHEAD = 8  # late accesses whose memory is on its way; what tells which memory is, for twice as many
ONE = np.uint8(1)
MEMORY_SHIFT = np.uint8(6)  # of NO_MEMORY
ONE_SETTLED = np.uint8(1 << SETTLED_SHIFT)
# The bits of State.quiet that a page has when there is nothing to do for a read, a write, a fetch.
DONE = np.array([0b1000_1001, 0b1001_0010, 0b1010_0100], np.uint8)
# The kinds of access that change nothing after one of a kind: a page that was written may be read, in either format.
SETTLED_BY = np.array([0b0000_1000, 0b0001_1000, 0b0010_0000], np.uint8)
UNSETTLED = np.uint8(0)
GUEST = 0  # the only guest, where TLBs are modelled
IS_NO_FIRST_WRITE = np.uint8(1 << OP_WRITE) | NO_MEMORY


@entry_point
def replay_rows(
    states: State,
    books: Books,
    log: DirtyLog,
    tlbs: Tlbs,
    reuse: Reuse,
    gpa: NDArray[np.uint64],
    op: NDArray[np.uint8],
    vcpu: NDArray[np.uint16],
    size: NDArray[np.uint16],
    count: NDArray[np.uint32],
    guest: NDArray[np.uint8],
    row: NDArray[np.int64],
    first_row: Int,
) -> None:
    """Replay consecutive rows; one that crosses a page touches the next page once, too.

    Pages, addresses and vCPUs have flat numbers (worlds.py).  An address beyond its guest's range has NOWHERE
    set, and the number of the guest from bit 48 on.

    Args:
        states: the worlds.
        books: what the trace did, updated.
        log: what dirty tracking saw, updated.
        tlbs: the TLBs of all worlds, updated; of no worlds where they are not modelled, or with several guests.
        reuse: distances of reuse, updated; it watches State.quiet, or keeps none.
        gpa: shape [rows]: flat byte addresses.
        op: shape [rows]: OP_READ, OP_WRITE or OP_FETCH; the caller has checked that.
        vcpu: shape [rows]: vCPUs, checked likewise; shape [1]: one for all rows.
        size: shape [rows]: bytes; shape [0] when no row crosses a page.
        count: shape [rows]: accesses a row stands for; shape [0]: one each.
        guest: shape [rows]: the guest that made each; shape [0]: the only one.
        row: shape [rows]: number of each row in its guest's trace; shape [0]: they are consecutive.
        first_row: number of the first of these rows in the trace.
    """
    tlbs.setting[0].done = 0
    for number in range(len(tlbs.counters)):
        flush_if_invalidated(world(states, number), tlbs, number)  # a sweep may have come between
    begin: Int = 0
    while begin < len(gpa):
        end = min(begin + CHUNK_ROWS, len(gpa))
        if len(size) == 0:
            rows = _look(states.quiet, books.rows, gpa, op, begin, end)
        else:
            rows = _look_across(states.quiet, books.rows, gpa, op, size, begin, end)
        sampled = sampled_rows(reuse, gpa, size, books.rows, rows)
        rows = _mark(states.quiet, books, gpa, op, vcpu, size, rows)
        done = _make_late(states, books, log, tlbs, gpa, op, vcpu, size, count, row, first_row, rows, end)
        if len(tlbs.counters) != 0:
            translate_rows(states, tlbs, gpa, op, vcpu, size, done)
        note_rows(reuse, states.quiet, gpa, size, rows_before(reuse, sampled, done))
        count_accesses(books, gpa, op, size, count, guest, begin, done)
        begin = done


@kernel
def _look(
    quiet: NDArray[np.uint8],
    rows: NDArray[np.int32],
    gpa: NDArray[np.uint64],
    op: NDArray[np.uint8],
    begin: Int,
    end: Int,
) -> Int:
    """Note in `rows` which of the rows [begin, end) there is anything to do for; return how many."""
    beyond = np.uint64(len(quiet) - 1)
    found = np.uint64(0)
    for i in range(np.uint64(begin), np.uint64(end)):
        done = DONE[op[i]]
        rows[found] = i
        found += np.uint64(quiet[known_page(gpa[i] >> PAGE_SHIFT, beyond)] & done != done)
    return np.int64(found)


@kernel
def _look_across(
    quiet: NDArray[np.uint8],
    rows: NDArray[np.int32],
    gpa: NDArray[np.uint64],
    op: NDArray[np.uint8],
    size: NDArray[np.uint16],
    begin: Int,
    end: Int,
) -> Int:
    """Do the same as _look where rows may cross a page; there is something to do for all that do."""
    beyond = np.uint64(len(quiet) - 1)
    found = np.uint64(0)
    for i in range(np.uint64(begin), np.uint64(end)):
        done = DONE[op[i]]
        rows[found] = i
        unfinished = quiet[known_page(gpa[i] >> PAGE_SHIFT, beyond)] & done != done
        found += np.uint64(unfinished | crosses(gpa[i], size, i))
    return np.int64(found)


@kernel
def _mark(
    quiet: NDArray[np.uint8],
    books: Books,
    gpa: NDArray[np.uint64],
    op: NDArray[np.uint8],
    vcpu: NDArray[np.uint16],
    size: NDArray[np.uint16],
    rows: Int,
) -> Int:
    """Mark the accesses of the first of `books.rows`; of these keep those that are late, and return how many."""
    late: Int = 0
    first_writes: Int = 0
    for k in range(rows):
        i = np.int64(books.rows[k])
        page = gpa[i] >> PAGE_SHIFT
        state = _mark_page(quiet, books.open, page, op[i])
        unsettled = (state >> op[i]) & ONE_SETTLED == 0
        writes = _is_first_write(state, op[i])
        if crosses(gpa[i], size, i):
            state = _mark_page(quiet, books.open, page + NEXT, op[i])
            unsettled |= (state >> op[i]) & ONE_SETTLED == 0
            writes += _is_first_write(state, op[i])
        first_writes += writes
        if len(vcpu) > 1:
            books.first_writing[vcpu[i]] += writes
        books.rows[late] = i
        late += np.int64(unsettled)
    if len(vcpu) == 1:  # added up in a register: adding in memory takes longer than all else here
        books.first_writing[vcpu[0]] += first_writes
    return late


@kernel
def _mark_page(quiet: NDArray[np.uint8], open_: NDArray[np.uint8], page: np.uint64, op: np.uint8) -> np.uint8:
    """Mark an access to a page and open its block; return the page's byte as it was."""
    known = known_page(page, np.uint64(len(quiet) - 1))
    state = quiet[known]
    is_memory = (state >> MEMORY_SHIFT & ONE) ^ ONE
    open_[known >> OPEN_SHIFT] = 1
    quiet[known] = state | (is_memory << op)
    return state


@kernel
def _is_first_write(state: np.uint8, op: np.uint8) -> Int:
    """Return 1 if an access writes a page of memory, whose byte was `state`, for the first time in the interval, else 0."""
    return np.int64((state & IS_NO_FIRST_WRITE == 0) & (op == OP_WRITE))


@part
def _make_late(
    states: State,
    books: Books,
    log: DirtyLog,
    tlbs: Tlbs,
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
        if k + 2 * AHEAD < late:
            _prefetch_marks(states, books, gpa[books.rows[k + 2 * AHEAD]])
        if k + AHEAD < late:
            ahead = np.int64(books.rows[k + AHEAD])
            if _needs_tables(states.quiet, books.cold, gpa[ahead] >> PAGE_SHIFT, op[ahead]):
                _prefetch_access(states, books.first_row, gpa[ahead])
        i = np.int64(books.rows[k])
        page = gpa[i] >> PAGE_SHIFT
        crossing = crosses(gpa[i], size, i)
        if not crossing and _is_settled(states.quiet, page, op[i]):
            continue  # by a late access shortly before
        accesses = np.int64(count[i]) if len(count) != 0 else 1
        kind = np.int64(op[i])
        who = vcpu_of(vcpu, np.int64(i))
        number = row[i] if len(row) != 0 else first_row + i
        if len(tlbs.counters) != 0:
            translate_rows(states, tlbs, gpa, op, vcpu, size, i)
        disturbed = False
        for part_of_access in range(1 + crossing):
            here = page + np.uint64(part_of_access)
            stands_for = accesses if part_of_access == 0 else 1
            disturbed |= _make_access(states, books, log, tlbs, here, kind, who, stands_for, number)
        if disturbed:
            return i + 1
    return end


@kernel
def _is_settled(quiet: NDArray[np.uint8], page: np.uint64, op: np.uint8) -> bool:
    """Return whether an access to a page is settled."""
    return (quiet[known_page(page, np.uint64(len(quiet) - 1))] >> op) & ONE_SETTLED != 0


@kernel
def _needs_tables(quiet: NDArray[np.uint8], cold: NDArray[np.uint8], page: np.uint64, op: np.uint8) -> bool:
    """Return whether an access to a page may have to look at page tables."""
    known = np.int64(known_page(page, np.uint64(len(quiet) - 1)))
    light = known < len(cold) and _is_light(cold, known, op)
    return not light and (quiet[known] >> op) & ONE_SETTLED == 0


@kernel
def _is_light(cold: NDArray[np.uint8], known: Int, op: np.uint8) -> bool:
    """Return whether an access to a page of memory would do no more than mark it (marks.py)."""
    return (cold[known] >> op) & ONE_SETTLED != 0


@kernel
def _prefetch_marks(states: State, books: Books, gpa: np.uint64) -> None:
    """Ask for the bytes that tell whether an access has to look at page tables."""
    page = gpa >> PAGE_SHIFT
    if page < np.uint64(len(books.cold)):
        prefetch(states.quiet, np.int64(page))
        prefetch(books.cold, np.int64(page))


@kernel
def _prefetch_access(states: State, first_row: NDArray[np.int64], gpa: np.uint64) -> None:
    """Ask for the memory that an access may need."""
    page = gpa >> PAGE_SHIFT
    if page < np.uint64(len(first_row)):
        prefetch(first_row, np.int64(page))
        guest = guest_of(world(states, 0), np.int64(page))
        va = gpa - (np.uint64(world(states, 0).guests[guest].begin) << PAGE_SHIFT)
        for number in range(worlds_in(states)):
            st = world(states, number)
            prefetch(st.object, np.int64(page))
            m = vm_phys_foreseen(st, guest, np.int64(page))
            if m >= 0:
                prefetch(st.page, m)
            pde = pmap_pde(st, st.pmap[guest], va)
            if pde != NULL and (st.pt[pde] & PG_PS) == EMPTY and st.pt[pde] != EMPTY:
                prefetch(st.pt, pmap_pde_to_pte(st, pde, va))


@part
def _make_access(
    states: State,
    books: Books,
    log: DirtyLog,
    tlbs: Tlbs,
    page: np.uint64,
    op: Int,
    vcpu: Int,
    accesses: Int,
    row: Int,
) -> bool:
    """Make an access that may change something, in every world; return whether any page lost something by it."""
    first = world(states, 0)
    beyond = np.uint64(len(states.quiet) - 1)
    known = np.int64(known_page(page, beyond))
    state = states.quiet[known]
    guest = (
        guest_of(first, known)
        if page < beyond or page & NOWHERE_PAGE == EMPTY
        else np.int64(page >> GUEST_PAGE_SHIFT)
    )
    if state & NO_MEMORY != 0:
        _access_outside_memory(states, books, guest, page, op, vcpu, accesses)
        return False
    if (state >> op) & ONE_SETTLED != 0:
        return False
    # A settled write is one after another since the last harvest, which unsettles all.
    books.unharvested[known] |= np.uint8(op == OP_WRITE)
    kind = np.uint8(op)
    if _is_light(books.cold, known, kind) and mark_accessed(
        states, books.cold, log.pml, guest, known, kind, vcpu
    ):
        return False
    if books.first_row[known] == 0:
        books.first_row[known] = row + 1
    va = (page - np.uint64(first.guests[guest].begin)) << PAGE_SHIFT
    if books.tally[0].marks != 0:
        write_marks_for(states, books, guest, known, va, 1 << op)
    books.cold[known] = WARM
    disturbed = False
    settled = books.tally[0].settles
    for number in range(worlds_in(states)):
        st = world(states, number)
        st.host[0].disturbed = 0
        st.host[0].refused = 0
        if len(tlbs.counters) != 0 and not _walks(st, tlbs, number, page, op, vcpu):
            settled = UNSETTLED
        else:
            logged_access(st, log, number, guest, va, op, vcpu, known)
            if len(tlbs.counters) != 0:
                flush_if_invalidated(st, tlbs, number)
        if st.host[0].refused != 0:
            settled = UNSETTLED
        disturbed |= st.host[0].disturbed != 0
    states.quiet[known] |= SETTLED_BY[op] & settled
    return disturbed


@kernel
def _access_outside_memory(
    states: State, books: Books, guest: Int, page: np.uint64, op: Int, vcpu: Int, accesses: Int
) -> None:
    """Make an access to a BAR in every world; anywhere else outside memory it counts as unbacked only."""
    first = world(states, 0)
    tally = books.tally[guest]
    add_accesses(tally, op, -accesses)
    within = np.int64(page & (NOWHERE_PAGE - NEXT))
    if page & NOWHERE_PAGE == EMPTY:
        within -= first.guests[guest].begin
    bar = bar_at(first, guest, within)
    if bar == NO_BAR:
        tally.unbacked += 1
        return
    for number in range(worlds_in(states)):
        device_access(world(states, number), guest, vcpu, bar, within, op, accesses)


@kernel
def _walks(st: State, tlbs: Tlbs, number: Int, page: np.uint64, op: Int, vcpu: Int) -> bool:
    """Return False if a cached translation keeps the CPU from a walk that would change something, and count that."""
    entry = cached(tlbs, number, vcpu, GUEST, page, op)
    if entry == EMPTY or walk_changes_nothing(st, st.pmap[0], page << PAGE_SHIFT, 1 << op):
        return True
    if serves(entry, op):
        tlbs.counters[number, 0].stale += 1
        return False
    tlbs.counters[number, 0].dirty_walks += np.int64(op == OP_WRITE)
    return True
