"""Accessed bits that stand in a byte a page, until somebody asks for them.

An aging sweep clears the accessed bit of every page that was used; the next use sets it again.  Both are all there is
to it for a page that one 4 KB entry maps, on a processor that sets the bit itself, and both would go through the
page tables of every instance.  `IntervalStatistics.cold` says so, in a byte a page:

* CLEARED: no accessed bit of the page is set, and it was not accessed since the sweep;
* DEFERRED: it was accessed since, and its accessed bits are to be set in every instance: the byte stands for them;
* CLEARING: CLEARED once the sweep that is under way ends;
* NO_OP bits, as in State.fast_path: kinds of access that would do no more than set accessed bits.

So an access of such a kind to a cold page marks it, and the next sweep finds the mark, counts what it would have done
to the entries, and takes the mark away.  Whoever looks at entries otherwise has the marks written first: an access that
may do more, to the page; one that may promote, which looks at a whole block; and all that is not the access
loop or an aging sweep, everywhere (write_deferred).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import entry_point, kernel, part
from eptreplay.model._numba.types import Int, Record
from eptreplay.model.access_loop.dirty_log import NO_PML, pml_log
from eptreplay.model.cpu.walk import walk_allows
from eptreplay.model.pmap.entry import set_bits
from eptreplay.model.pmap.pmap import leaf_of
from eptreplay.model.pmap.ptp import NULL, pmap_pde, table_of
from eptreplay.model.state.fast_path import NO_OP, NO_OP_SHIFT
from eptreplay.model.state.guest_pages import page_at
from eptreplay.model.state.pte import NO_BITS, NPTEPG, PAGE_SHIFT, PG_PS
from eptreplay.model.state.state import State, instance, instances_in
from eptreplay.model.statistics.intervals import IntervalStatistics
from eptreplay.model.vm.vm_object import guest_of

NOT_CLEARED = np.uint8(0)
CLEARED = np.uint8(0b0000_0001)
DEFERRED = np.uint8(0b0000_0010)
CLEARING = np.uint8(0b0000_0100)
DEFERRED_SHIFT = np.uint8(1)
CLEARING_SHIFT = np.uint8(2)
ONE_NO_OP = np.uint8(1 << NO_OP_SHIFT)


@kernel
def only_sets_accessed(deferred: NDArray[np.uint8], flat: Int, op: np.uint8) -> bool:
    """Return whether an access to a page of memory would do no more than mark it."""
    return (deferred[page_at(flat)] >> op) & ONE_NO_OP != 0


@kernel
def defers_alone(states: State, statistics: IntervalStatistics, pml: NDArray[np.int32]) -> bool:
    """Return whether a mark needs no more than itself: there may be marks, of one guest, and no processor logs anything."""
    logs = False
    for number in range(instances_in(states)):
        logs |= pml[number, 0] != NO_PML
    return statistics.tally[0].deferring != 0 and len(instance(states, 0).guests) == 1 and not logs


@kernel
def defer_alone(
    deferred: NDArray[np.uint8], fast_path: NDArray[np.uint8], page: np.uint64, op: np.uint8
) -> bool:
    """Make an access by marking the page, if no more than accessed bits would be set; return whether it was made.

    What is to be counted, count_deferred adds where defers_alone; after a sweep most accesses are such.  Else defer_accessed.
    """
    if page >= np.uint64(len(deferred)) or (deferred[page_at(page)] >> op) & ONE_NO_OP == 0:
        return False
    kinds = deferred[page_at(page)] & NO_OP
    deferred[page_at(page)] = kinds | DEFERRED
    fast_path[page] |= kinds
    return True


@kernel
def count_deferred(states: State, marked: Int) -> None:
    """Count the accessed bits of so many marks of defer_alone."""
    for number in range(instances_in(states)):
        instance(states, number).cnt[0].accessed_bits += marked


@kernel
def defer_accessed(
    states: State,
    deferred: NDArray[np.uint8],
    pml: NDArray[np.int32],
    guest: Int,
    flat: Int,
    op: np.uint8,
    vcpu: Int,
) -> bool:
    """Do the same as defer_alone, counting and logging included."""
    if not defer_alone(deferred, states.fast_path, np.uint64(flat), op):
        return False
    for number in range(instances_in(states)):
        st = instance(states, number)
        st.cnt[guest].accessed_bits += 1
        if pml[number, vcpu] != NO_PML:
            pml_log(st, pml[number], vcpu, False)
    return True


@part
def write_deferred_for(
    states: State, statistics: IntervalStatistics, guest: Int, flat: Int, va: np.uint64, access: Int
) -> None:
    """Write the marks that an access may come across: that of its page, and those of its block if it may promote."""
    _write_deferred_of(states, statistics, guest, flat)
    for number in range(instances_in(states)):
        st = instance(states, number)
        pmap = st.pmap[guest]
        if not walk_allows(st, pmap, va, access) and _nearly_full(st, pmap, va):
            block = flat // NPTEPG * NPTEPG
            for page in range(block, min(block + NPTEPG, len(statistics.deferred))):
                _write_deferred_of(states, statistics, guest, page)
            return


@kernel
def _nearly_full(st: State, pmap: Record, va: np.uint64) -> bool:
    """Return whether no more than one entry is missing in the page table for an address."""
    pde = pmap_pde(st, pmap, va)
    if pde == NULL or (st.pt[pde] & pmap.PG_V) == NO_BITS or (st.pt[pde] & PG_PS) != NO_BITS:
        return False
    return bool(st.ptp[table_of(st.pt[pde])].wire_count >= NPTEPG - 1)


@kernel
def _write_deferred_of(states: State, statistics: IntervalStatistics, guest: Int, flat: Int) -> None:
    """Set the accessed bits that a page's mark stands for; it can be marked no more before the next sweep."""
    cold = statistics.deferred[page_at(flat)]
    if cold & DEFERRED == 0:
        statistics.deferred[page_at(flat)] = cold & ~NO_OP
        return
    for number in range(instances_in(states)):
        st = instance(states, number)
        pmap = st.pmap[guest]
        _, slot = leaf_of(st, pmap, np.uint64(flat - st.guests[guest].begin) << PAGE_SHIFT)
        set_bits(st, slot, pmap.PG_HW_A)
    statistics.deferred[page_at(flat)] = NOT_CLEARED


@kernel
def clear_deferred(deferred: NDArray[np.uint8], fast_path: NDArray[np.uint8]) -> Int:
    """Take the marks from pages, which are cold now and no_op no more; return how many were marked.

    Without a branch, like `cool`: whether a page is marked cannot be foreseen.
    """
    marked: Int = 0
    for page in range(len(deferred)):
        mark = (deferred[page] >> DEFERRED_SHIFT) & CLEARED
        marked += np.int64(mark)
        deferred[page] = np.uint8((deferred[page] & ~DEFERRED) | mark)
        fast_path[page] &= ~np.uint8(mark * NO_OP)
    return marked


@kernel
def end_clearing(deferred: NDArray[np.uint8]) -> None:
    """End a sweep: pages that were cooling are deferred, with their kinds, and all that are not are uncleared."""
    for page in range(len(deferred)):
        is_cold = np.uint8((deferred[page] | (deferred[page] >> CLEARING_SHIFT)) & CLEARED)
        deferred[page] = is_cold | (deferred[page] & np.uint8(is_cold * NO_OP))


@entry_point
def write_deferred(states: State, statistics: IntervalStatistics) -> None:
    """Write all marks, so that entries can be looked at, and changed, by whoever knows nothing of marks."""
    if statistics.tally[0].deferring == 0:
        return
    for flat in range(len(statistics.deferred)):
        if statistics.deferred[page_at(flat)] & (DEFERRED | NO_OP) != 0:
            _write_deferred_of(states, statistics, guest_of(instance(states, 0), flat), flat)
    statistics.tally[0].deferring = 0
