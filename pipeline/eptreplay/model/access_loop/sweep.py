"""What the host does to all pages of a guest at once: aging sweeps, idle scans, and observing every page.

A sweep visits the pages that are in host memory, guest by guest in the order of addresses.  Harvest sweeps are in
dirty_log.py; what the page daemon does is in vm_pageout.py.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import entry_point, kernel, part
from eptreplay.model._numba.bits import BYTES, bytes_having, first_bits, list_bits
from eptreplay.model._numba.prefetch import prefetch
from eptreplay.model._numba.types import Int
from eptreplay.model.access_loop.deferred_accessed import (
    CLEARED,
    CLEARING,
    NOT_CLEARED,
    clear_deferred,
    end_clearing,
    spreads_use,
)
from eptreplay.model.pmap.invalidate import CAUSE_AGING, pmap_invalidate_pages
from eptreplay.model.pmap.pmap import leaf_of
from eptreplay.model.pmap.pmap_page import pmap_is_modified, pmap_is_referenced, pmap_ts_referenced
from eptreplay.model.state.fast_path import NO_OP
from eptreplay.model.state.guest_pages import page_at
from eptreplay.model.state.pages import PGA_REFERENCED
from eptreplay.model.state.pte import NO_BITS, NPTEPG, PAGE_SHIFT, PDE_LEVEL
from eptreplay.model.state.state import State, account, instance, instances_in
from eptreplay.model.statistics.intervals import IntervalStatistics
from eptreplay.model.vm.vm_pageout import vm_pageout_idle, vm_pageout_if_woken

AHEAD = 32  # pages whose memory is prefetched


@entry_point
def age(states: State, statistics: IntervalStatistics) -> None:
    """In every instance, count how often every page in memory was used, in order, and clear that (pmap_ts_referenced).

    Pages that are CLEARED or DEFERRED (deferred_accessed.py) need no visit: what it would find is known.
    """
    deferrable = statistics.tally[0].deferrable
    spreads = False
    for number in range(instances_in(states)):
        for guest in range(len(instance(states, number).guests)):
            pmap = instance(states, number).pmap[guest]
            deferrable &= NO_OP if pmap.PG_HW_A != NO_BITS else np.uint8(0)
            spreads |= spreads_use(instance(states, number), pmap)
    for guest in range(len(instance(states, 0).guests)):
        known = instance(states, 0).guests[guest]
        deferred = clear_deferred(
            statistics.deferred[known.begin : known.end], states.fast_path[known.begin : known.end]
        )
        uncleared = _list_uncleared(statistics, known.begin, known.end)
        for number in range(instances_in(states)):
            st = instance(states, number)
            st.host[0].cause = CAUSE_AGING
            st.host[0].guest = guest
            account(st).ts_referenced += deferred
            pmap_invalidate_pages(st, st.pmap[guest], deferred)
            if st.pmap[guest].pm_ts_dirties != 0:
                account(st).dirty_calls += _count_dirtied(
                    statistics.deferred[known.begin : known.end], st.ts_dirty[known.begin : known.end]
                )
            _age_pages(st, statistics, guest, uncleared, number == 0, deferrable)
            vm_pageout_if_woken(st)
    end_clearing(statistics.deferred)
    statistics.tally[0].deferring = np.uint8(
        deferrable != 0 or (spreads and statistics.tally[0].deferrable != 0)
    )


@kernel
def _count_dirtied(deferred: NDArray[np.uint8], ts_dirty: NDArray[np.uint8]) -> Int:
    """Return how many pages that are CLEARED a visit would make dirty: they are already, so there is nothing to do but count.

    What a visit found of a page holds as long as the page is CLEARED: whatever changes its entries takes that from it.
    """
    found: Int = 0
    for page in range(len(deferred)):
        found += np.int64(deferred[page_at(page)] & CLEARED & ts_dirty[page_at(page)])
    return found


@kernel
def _list_uncleared(statistics: IntervalStatistics, begin: Int, end: Int) -> Int:
    """List the flat pages [begin, end) that are not CLEARED; return how many there are."""
    uncleared: Int = 0
    for first in range(begin, end, BYTES):
        cleared = bytes_having(statistics.deferred, first, end, CLEARED)
        uncleared = list_bits(first_bits(end - first) & ~cleared, first, statistics.listed, uncleared)
    return uncleared


@part
def _age_pages(
    st: State, statistics: IntervalStatistics, guest: Int, uncleared: Int, first: bool, deferrable: np.uint8
) -> None:
    """Age the listed pages of one guest; those that show no use afterwards are CLEARING.

    The others may still show one: a superpage has one accessed bit for all its pages, which also stays in the entries when
    the sweep demotes it; and that of a wired page is not cleared.
    """
    wired = st.pmap[guest].wired_count != 0
    # Where a page daemon may change the entries of a page that is CLEARED, what the visit found need not hold.
    # Where software sets the bits, an entry that loses its accessed bit does not say any more that the page was written.
    dirties = st.pmap[guest].pm_ts_dirties != 0
    keeps_dirty = dirties and st.pmap[guest].PG_HW_M != NO_BITS
    found: Int = 0
    for k in range(uncleared):
        if k + 2 * AHEAD < uncleared:
            _prefetch_listed(st, statistics, k)
        flat = np.int64(statistics.listed[k])
        frame = st.object[page_at(flat)].frame
        kinds = st.fast_path[page_at(flat)] & deferrable
        shows_use = (
            wired or statistics.tally[0].no_ops == 0 or (dirties and statistics.tally[0].deferrable == 0)
        )
        if frame > 0:
            m = np.int64(frame) - 1
            shows_use |= st.pv_table[m // NPTEPG] != 0 or _mapped_twice(st, m)
            dirtied = account(st).dirty_calls
            found += pmap_ts_referenced(st, m)
            if keeps_dirty:
                st.ts_dirty[page_at(flat)] = np.uint8(account(st).dirty_calls != dirtied)
        if shows_use:
            statistics.deferred[page_at(flat)] = NOT_CLEARED
        elif first:
            statistics.deferred[page_at(flat)] = CLEARING | kinds
    account(st).ts_referenced += found
    account(st).sweeps += 1


@kernel
def _prefetch_listed(st: State, statistics: IntervalStatistics, k: Int) -> None:
    """Prefetch the memory of listed pages that come after number `k`."""
    frame = st.object[page_at(statistics.listed[k + AHEAD])].frame
    if frame > 0:
        prefetch(st.pv, np.int64(st.page[frame - 1].pv_last))
    frame = st.object[page_at(statistics.listed[k + 2 * AHEAD])].frame
    if frame > 0:
        prefetch(st.page, np.int64(frame - 1))


@kernel
def _mapped_twice(st: State, m: Int) -> bool:
    """Return whether more than one 4 KB entry maps a page."""
    last = st.page[m].pv_last
    return last != 0 and st.pv[last].pv_next != last


@entry_point
def scan(states: State) -> None:
    """Let the page daemon make an idle scan, in every instance."""
    for number in range(instances_in(states)):
        vm_pageout_idle(instance(states, number))


# What a host can see of a guest page at one moment, a bit each (observe_pages).
SEEN_ALLOCATED = 1  # the page is in host memory
SEEN_MAPPED = 2  # the guest's tables map it
SEEN_SUPERPAGE = 4  # by a 2 MB entry
SEEN_ACCESSED = 8  # an entry, or the page's own flag, says that it was used
SEEN_DIRTY = 16  # an entry, or the page's own field, says that it was written


@entry_point
def observe_pages(states: State, guest: Int, pages: NDArray[np.int64], seen: NDArray[np.uint8]) -> None:
    """Write to `seen`, shape [instances, pages], the SEEN_* bits of pages of a guest, which are counted from its own page 0."""
    for number in range(len(seen)):
        st = instance(states, number)
        for i in range(len(pages)):
            flat = st.guests[guest].begin + pages[i]
            if st.object[page_at(flat)].frame > 0:
                seen[number, i] = _observe_page(st, guest, flat)


@kernel
def _observe_page(st: State, guest: Int, flat: Int) -> Int:
    """Return the SEEN_* bits of a guest page that is in memory."""
    m = st.object[page_at(flat)].frame - 1
    seen = SEEN_ALLOCATED
    level, _ = leaf_of(st, st.pmap[guest], np.uint64(flat - st.guests[guest].begin) << PAGE_SHIFT)
    if level != 0:
        seen |= SEEN_MAPPED
    if level == PDE_LEVEL:
        seen |= SEEN_SUPERPAGE
    if (st.page[m].aflags & PGA_REFERENCED) != 0 or pmap_is_referenced(st, m):
        seen |= SEEN_ACCESSED
    if st.page[m].dirty != 0 or pmap_is_modified(st, m):
        seen |= SEEN_DIRTY
    return seen
