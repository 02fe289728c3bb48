"""Accessed bits that stand in a byte a page, until somebody asks for them.

An aging sweep clears the accessed bit of every page that was used; the next use sets it again.  Both are all there is
to it for a page that one 4 KB entry maps, on a processor that sets the bit itself, and both would go through the
page tables of every world.  `Books.cold` says so, in a byte a page:

* COLD: no accessed bit of the page is set, and it was not accessed since the sweep;
* MARKED: it was accessed since, and its accessed bits are to be set in every world: the byte stands for them;
* COOLING: COLD once the sweep that is under way ends;
* SETTLED bits, as in State.quiet: kinds of access that would do no more than set accessed bits.

So an access of such a kind to a cold page marks it, and the next sweep finds the mark, counts what it would have done
to the entries, and takes the mark away.  Whoever looks at entries otherwise has the marks written first: an access that
may do more, to the page; one that may promote, which looks at a whole block; and all that is not the access
loop or an aging sweep, everywhere (write_marks).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import entry_point, kernel, part
from eptreplay.model.access_loop.dirty_log import NO_PML, pml_log
from eptreplay.model.cpu.walk import walk_allows
from eptreplay.model.pmap.entry import set_bits
from eptreplay.model.pmap.pmap import leaf_of
from eptreplay.model.pmap.ptp import NULL, pmap_pde, table_of
from eptreplay.model.state import pte
from eptreplay.model.state.state import SETTLED, SETTLED_SHIFT, Int, Record, State, world, worlds_in
from eptreplay.model.statistics.intervals import Books
from eptreplay.model.vm.vm_object import guest_of

EMPTY = pte.EMPTY
NPTEPG = pte.NPTEPG
PAGE_SHIFT = pte.PAGE_SHIFT
PG_PS = pte.PG_PS

WARM = np.uint8(0)
COLD = np.uint8(0b0000_0001)
MARKED = np.uint8(0b0000_0010)
COOLING = np.uint8(0b0000_0100)
MARK_SHIFT = np.uint8(1)
COOLING_SHIFT = np.uint8(2)
ONE_SETTLED = np.uint8(1 << SETTLED_SHIFT)


@kernel
def is_light(cold: NDArray[np.uint8], flat: Int, op: np.uint8) -> bool:
    """Return whether an access to a page of memory would do no more than mark it."""
    return (cold[flat] >> op) & ONE_SETTLED != 0


@kernel
def marks_alone(states: State, books: Books, pml: NDArray[np.int32]) -> bool:
    """Return whether a mark needs no more than itself: there may be marks, of one guest, and no processor logs anything."""
    logs = False
    for number in range(worlds_in(states)):
        logs |= pml[number, 0] != NO_PML
    return books.tally[0].marks != 0 and len(world(states, 0).guests) == 1 and not logs


@kernel
def mark_alone(cold: NDArray[np.uint8], quiet: NDArray[np.uint8], page: np.uint64, op: np.uint8) -> bool:
    """Make an access by marking the page, if no more than accessed bits would be set; return whether it was made.

    What is to be counted, count_marks adds where marks_alone; after a sweep most accesses are such.  Else mark_accessed.
    """
    if page >= np.uint64(len(cold)) or (cold[page] >> op) & ONE_SETTLED == 0:
        return False
    kinds = cold[page] & SETTLED
    cold[page] = kinds | MARKED
    quiet[page] |= kinds
    return True


@kernel
def count_marks(states: State, marked: Int) -> None:
    """Count the accessed bits of so many marks of mark_alone."""
    for number in range(worlds_in(states)):
        world(states, number).cnt[0].accessed_bits += marked


@kernel
def mark_accessed(
    states: State,
    cold: NDArray[np.uint8],
    pml: NDArray[np.int32],
    guest: Int,
    flat: Int,
    op: np.uint8,
    vcpu: Int,
) -> bool:
    """Do the same as mark_alone, counting and logging included."""
    if not mark_alone(cold, states.quiet, np.uint64(flat), op):
        return False
    for number in range(worlds_in(states)):
        st = world(states, number)
        st.cnt[guest].accessed_bits += 1
        if pml[number, vcpu] != NO_PML:
            pml_log(st, pml[number], vcpu, False)
    return True


@part
def write_marks_for(states: State, books: Books, guest: Int, flat: Int, va: np.uint64, access: Int) -> None:
    """Write the marks that an access may come across: that of its page, and those of its block if it may promote."""
    _write_mark(states, books, guest, flat)
    for number in range(worlds_in(states)):
        st = world(states, number)
        pmap = st.pmap[guest]
        if not walk_allows(st, pmap, va, access) and _nearly_full(st, pmap, va):
            block = flat // NPTEPG * NPTEPG
            for page in range(block, min(block + NPTEPG, len(books.cold))):
                _write_mark(states, books, guest, page)
            return


@kernel
def _nearly_full(st: State, pmap: Record, va: np.uint64) -> bool:
    """Return whether no more than one entry is missing in the page table for an address."""
    pde = pmap_pde(st, pmap, va)
    if pde == NULL or (st.pt[pde] & pmap.PG_V) == EMPTY or (st.pt[pde] & PG_PS) != EMPTY:
        return False
    return bool(st.ptp[table_of(st.pt[pde])].wire_count >= NPTEPG - 1)


@kernel
def _write_mark(states: State, books: Books, guest: Int, flat: Int) -> None:
    """Set the accessed bits that a page's mark stands for; it can be marked no more before the next sweep."""
    cold = books.cold[flat]
    if cold & MARKED == 0:
        books.cold[flat] = cold & ~SETTLED
        return
    for number in range(worlds_in(states)):
        st = world(states, number)
        pmap = st.pmap[guest]
        _, slot = leaf_of(st, pmap, np.uint64(flat - st.guests[guest].begin) << PAGE_SHIFT)
        set_bits(st, slot, pmap.PG_HW_A)
    books.cold[flat] = WARM


@kernel
def take_marks(cold: NDArray[np.uint8], quiet: NDArray[np.uint8]) -> Int:
    """Take the marks from pages, which are cold now and settled no more; return how many were marked.

    Without a branch, like `cool`: whether a page is marked cannot be foreseen.
    """
    marked: Int = 0
    for page in range(len(cold)):
        mark = (cold[page] >> MARK_SHIFT) & COLD
        marked += np.int64(mark)
        cold[page] = np.uint8((cold[page] & ~MARKED) | mark)
        quiet[page] &= ~np.uint8(mark * SETTLED)
    return marked


@kernel
def cool(cold: NDArray[np.uint8]) -> None:
    """End a sweep: pages that were cooling are cold, with their kinds, and all that are not are warm."""
    for page in range(len(cold)):
        is_cold = np.uint8((cold[page] | (cold[page] >> COOLING_SHIFT)) & COLD)
        cold[page] = is_cold | (cold[page] & np.uint8(is_cold * SETTLED))


@entry_point
def write_marks(states: State, books: Books) -> None:
    """Write all marks, so that entries can be looked at, and changed, by whoever knows nothing of marks."""
    if books.tally[0].marks == 0:
        return
    for flat in range(len(books.cold)):
        if books.cold[flat] & (MARKED | SETTLED) != 0:
            _write_mark(states, books, guest_of(world(states, 0), flat), flat)
    books.tally[0].marks = 0
