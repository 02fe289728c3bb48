"""Deferred accessed bits: one byte per page that stands for accessed bits in the entries, until somebody asks for them.

An aging sweep clears the accessed bit of every page that was used, and the next use sets it again.  For a page that one 4 KB
entry maps, on a processor that sets the bit itself, nothing else happens at either; yet both would go through the page tables
of every instance.  `IntervalStatistics.deferred` saves that.  Its bits say of a page:

* CLEARED: no accessed bit of it is set in the entries: the last sweep cleared them, and none was set since;
* DEFERRED: it was accessed since then, and its accessed bits are not in the entries yet: this bit stands for them;
* CLEARING: it will be CLEARED when the sweep that is under way ends;
* the NO_OP bits, as in State.fast_path: the kinds of access that would do no more than set accessed bits.

An access of such a kind only sets DEFERRED.  The next sweep finds that bit, counts what it would have done to the entries, and
clears the bit.  Whoever looks at the entries otherwise has the deferred bits written to them first: an access that may do more,
those of its page; one that may promote, and so looks at a whole block, those of the block; everybody else who is not the
access loop or an aging sweep, all of them (write_deferred).
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
    """Return whether an access to a page of memory would do no more than set accessed bits."""
    return (deferred[page_at(flat)] >> op) & ONE_NO_OP != 0


@kernel
def defers_alone(states: State, statistics: IntervalStatistics, pml: NDArray[np.int32]) -> bool:
    """Return whether an access that only sets accessed bits can be made by defer_alone.

    Accessed bits may be deferred, there is one guest only, and no processor keeps a log of page modifications.
    """
    logs = False
    for number in range(instances_in(states)):
        logs |= pml[number, 0] != NO_PML
    return statistics.tally[0].deferring != 0 and len(instance(states, 0).guests) == 1 and not logs


@kernel
def defer_alone(
    deferred: NDArray[np.uint8], fast_path: NDArray[np.uint8], page: np.uint64, op: np.uint8
) -> bool:
    """Make an access by deferring its accessed bits, if it would set no more than those; return whether it was made.

    Nothing is counted: where defers_alone, count_deferred does so for many accesses at once, since after a sweep most are
    such.  Elsewhere defer_accessed takes the place of this.
    """
    if page >= np.uint64(len(deferred)) or (deferred[page_at(page)] >> op) & ONE_NO_OP == 0:
        return False
    kinds = deferred[page_at(page)] & NO_OP
    deferred[page_at(page)] = kinds | DEFERRED
    fast_path[page_at(page)] |= kinds
    return True


@kernel
def count_deferred(states: State, accesses: Int) -> None:
    """Count the accessed bits of so many accesses that defer_alone made."""
    for number in range(instances_in(states)):
        instance(states, number).cnt[0].accessed_bits += accesses


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
    """Do the same as defer_alone, and count and log it in every instance."""
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
    """Write the accessed bits that an access may look at: those of its page, and those of its block if it may promote."""
    _write_deferred_of(states, statistics, guest, flat)
    written = False
    for number in range(instances_in(states)):
        st = instance(states, number)
        pmap = st.pmap[guest]
        if walk_allows(st, pmap, va, access):
            continue
        spreads = spreads_use(st, pmap)
        if spreads or (not written and _nearly_full(st, pmap, va)):
            written = True
            block = flat // NPTEPG * NPTEPG
            for page in range(block, min(block + NPTEPG, len(statistics.deferred))):
                _write_deferred_of(states, statistics, guest, page)
                if spreads:
                    statistics.deferred[page_at(page)] = NOT_CLEARED
        if spreads:
            return


@kernel
def spreads_use(st: State, pmap: Record) -> bool:
    """Return whether an access can make a superpage of pages that were not all accessed, and so show a use of all of them."""
    return st.host[0].fault_2m != 0 or pmap.pm_promotes_unused != 0


@kernel
def _nearly_full(st: State, pmap: Record, va: np.uint64) -> bool:
    """Return whether the page table for an address lacks at most one entry of being full."""
    pde = pmap_pde(st, pmap, va)
    if pde == NULL or (st.pt[pde] & pmap.PG_V) == NO_BITS or (st.pt[pde] & PG_PS) != NO_BITS:
        return False
    return bool(st.ptp[table_of(st.pt[pde])].wire_count >= NPTEPG - 1)


@kernel
def _write_deferred_of(states: State, statistics: IntervalStatistics, guest: Int, flat: Int) -> None:
    """Write the deferred accessed bits of a page to its entries; until the next sweep, none of it are deferred again."""
    known = statistics.deferred[page_at(flat)]
    if known & DEFERRED == 0:
        statistics.deferred[page_at(flat)] = known & ~NO_OP
        return
    for number in range(instances_in(states)):
        st = instance(states, number)
        pmap = st.pmap[guest]
        _, slot = leaf_of(st, pmap, np.uint64(flat - st.guests[guest].begin) << PAGE_SHIFT)
        set_bits(st, slot, pmap.PG_HW_A)
    statistics.deferred[page_at(flat)] = NOT_CLEARED


@kernel
def clear_deferred(deferred: NDArray[np.uint8], fast_path: NDArray[np.uint8]) -> Int:
    """Clear the deferred accessed bits of pages, which are CLEARED then and lose NO_OP; return of how many pages.

    Without a branch: which pages have deferred bits cannot be predicted.
    """
    cleared: Int = 0
    for page in range(len(deferred)):
        was_deferred = (deferred[page_at(page)] >> DEFERRED_SHIFT) & CLEARED
        cleared += np.int64(was_deferred)
        deferred[page_at(page)] = np.uint8((deferred[page_at(page)] & ~DEFERRED) | was_deferred)
        fast_path[page_at(page)] &= ~np.uint8(was_deferred * NO_OP)
    return cleared


@kernel
def end_clearing(deferred: NDArray[np.uint8]) -> None:
    """End a sweep: pages that are CLEARED or CLEARING are CLEARED and keep their NO_OP bits; those that are neither get 0."""
    for page in range(len(deferred)):
        is_cleared = np.uint8(
            (deferred[page_at(page)] | (deferred[page_at(page)] >> CLEARING_SHIFT)) & CLEARED
        )
        deferred[page_at(page)] = is_cleared | (deferred[page_at(page)] & np.uint8(is_cleared * NO_OP))


@entry_point
def write_deferred(states: State, statistics: IntervalStatistics) -> None:
    """Write all deferred accessed bits, so that anybody can look at the entries and change them."""
    if statistics.tally[0].deferring == 0:
        return
    dirties = False
    for number in range(instances_in(states)):
        for guest in range(len(instance(states, number).guests)):
            dirties |= instance(states, number).pmap[guest].pm_ts_dirties != 0
    for flat in range(len(statistics.deferred)):
        if statistics.deferred[page_at(flat)] & (DEFERRED | NO_OP) != 0:
            _write_deferred_of(states, statistics, guest_of(instance(states, 0), flat), flat)
        if dirties:
            statistics.deferred[page_at(flat)] = (
                NOT_CLEARED  # State.ts_dirty may not hold after whatever follows
            )
    statistics.tally[0].deferring = 0
