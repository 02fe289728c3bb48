"""Conservation laws of the host's memory, which hold between any two accesses: no page is lost, shared, or in two places.

A debugging aid, and properties for tests; every check looks at all pages.
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import entry_point, kernel
from eptreplay.model._numba.types import Int
from eptreplay.model.page.vm_pagequeue import PQ_ACTIVE, PQ_HELD, PQ_INACTIVE, PQ_NONE, free_list, queue_head
from eptreplay.model.pmap.pv import pv_first, pv_next
from eptreplay.model.state.guest_pages import page_at
from eptreplay.model.state.pte import NPTEPG, PAGE_SHIFT
from eptreplay.model.state.state import (
    EXTRA_PAGES,
    VM_NFREEORDER,
    VM_NFREEPOOL,
    State,
    instance,
    instances_in,
)
from eptreplay.model.vm.vm_object import pmap_guest

# Which law is broken: an index of LAWS.
HOLDS = 0
BROKEN_SUM = 1
BROKEN_RESIDENT = 2
BROKEN_QUEUE = 3
BROKEN_SWAP = 4
BROKEN_MAPPING = 5
BROKEN_FREE = 6

LAWS = (
    "every law holds",
    "free, active, inactive, wired and held pages do not add up to the frames of the host",
    "a page in memory is not in exactly one frame, or a frame holds a page that is not in memory",
    "a page is not on the queue it says it is on, or on none without being wired or held",
    "a swap slot is lost or shared",
    "a guest maps a page that is not its own, or not there",
    "frames that are free are lost or counted twice",
)


@entry_point
def check_instances(states: State) -> Int:
    """Return HOLDS, or the first law that is broken in any instance."""
    for number in range(instances_in(states)):
        st = instance(states, number)
        broken = _check(st)
        if broken != HOLDS:
            return broken
    return HOLDS


@kernel
def _check(st: State) -> Int:
    """Return HOLDS, or the first law that is broken in one instance."""
    unqueued = _count_unqueued(st)
    if unqueued < 0:
        return BROKEN_RESIDENT
    vm = st.vm[0]
    accounted = vm.v_free_count + vm.v_active_count + vm.v_inactive_count + vm.v_wire_count + unqueued
    if accounted != vm.v_page_count:
        return BROKEN_SUM
    if not _queue_holds(st, PQ_ACTIVE, vm.v_active_count):
        return BROKEN_QUEUE
    if not _queue_holds(st, PQ_INACTIVE, vm.v_inactive_count):
        return BROKEN_QUEUE
    if not _swap_holds(st):
        return BROKEN_SWAP
    for m in range(len(st.page)):
        if not _mappings_hold(st, m):
            return BROKEN_MAPPING
    if vm.identity == 0 and not _free_holds(st):
        return BROKEN_FREE
    return HOLDS


@kernel
def _count_unqueued(st: State) -> Int:
    """Return how many pages are held and neither on a queue nor wired; -1 if guest pages and frames do not match one to one."""
    resident: Int = 0
    unqueued: Int = 0
    for flat in range(len(st.object)):
        m = st.object[page_at(flat)].frame - 1
        if m >= 0:
            resident += 1
            page = st.pageq[m]
            if st.page[m].allocated == 0 or st.page[m].pindex != flat:
                return -1
            if page.queue == PQ_NONE and page.wire_count == 0:
                if page.hold_count == 0:
                    return -1
                unqueued += 1
    allocated: Int = 0
    for m in range(len(st.page)):
        if st.page[m].allocated != 0 and st.page[m].oflags == 0:
            allocated += 1
            if st.pageq[m].queue == PQ_HELD:
                resident += 1
                unqueued += 1
                if st.pageq[m].hold_count == 0 or st.page[m].pv_last != 0:
                    return -1
    return unqueued if allocated == resident else -1


@kernel
def _queue_holds(st: State, queue: Int, count: Int) -> bool:
    """Return whether a queue is a ring of `count` pages that say they are on it and are in memory."""
    head = queue_head(st, queue)
    found: Int = 0
    m = st.pageq[head].q_next
    while m != head and found <= count:
        if m >= len(st.pageq) - EXTRA_PAGES or st.pageq[m].queue != queue or st.page[m].allocated == 0:
            return False
        if st.pageq[st.pageq[m].q_next].q_prev != m:
            return False
        found += 1
        m = st.pageq[m].q_next
    return found == count


@kernel
def _swap_holds(st: State) -> bool:
    """Return whether every slot ever taken is either free or holds the copy of exactly one page."""
    copies: Int = 0
    for flat in range(len(st.object)):
        slot = st.swblk[page_at(flat)]
        if slot != 0:
            copies += 1
            if st.swap[slot] != flat + 1:
                return False
    free: Int = 0
    slot = st.vm[0].swap_free
    while slot != 0 and free <= len(st.swap):
        free += 1
        slot = st.swap[slot]
    counted: Int = 0
    for guest in range(len(st.guests)):
        counted += st.cnt[guest].swap_copies
    return copies + free + 1 == st.vm[0].swap_used and copies == counted


@kernel
def _mappings_hold(st: State, m: Int) -> bool:
    """Return whether a page is mapped by its own guest alone, at its own address."""
    last = st.page[m].pv_last
    pv = pv_first(st, last)
    while pv != 0:
        if not _is_home(st, pv, m, 0):
            return False
        pv = pv_next(st, last, pv)
    last = st.pv_table[m // NPTEPG]
    pv = pv_first(st, last)
    while pv != 0:
        if not _is_home(st, pv, m, m % NPTEPG):
            return False
        pv = pv_next(st, last, pv)
    return True


@kernel
def _is_home(st: State, pv: Int, m: Int, offset: Int) -> bool:
    """Return whether a mapping, in which page `m` comes `offset` pages after its beginning, is where the page belongs."""
    guest = pmap_guest(st, st.pv[pv].pv_pmap)
    page = np.int64(st.pv[pv].pv_va >> PAGE_SHIFT) + offset
    if st.pmap[st.pv[pv].pv_pmap].pm_process != 0:
        page -= st.vm[0].host_offset
    flat = st.guests[guest].begin + page
    return st.page[m].allocated != 0 and st.page[m].pindex == flat


@kernel
def _free_holds(st: State) -> bool:
    """Return whether free runs, reservations, guest pages and the kernel's own pages are all the frames there are.

    Runs are aligned, in the list of their own pool and order, without a buddy to be joined with, and hold nothing.
    """
    free: Int = 0
    for pool in range(VM_NFREEPOOL):
        for order in range(VM_NFREEORDER):
            head = free_list(st, pool, order)
            m = st.pageq[head].q_next
            while m != head:
                if not _run_holds(st, m, pool, order):
                    return False
                free += 1 << order
                m = st.pageq[m].q_next
    for block in range((st.vm[0].v_page_count + NPTEPG - 1) // NPTEPG):
        if st.rv[block].singly == 0:
            free += NPTEPG - st.reserv[block]
        if (st.rv[block].object_block != 0) != (st.rv[block].singly == 0):
            return False
        if (st.rv[block].listed != 0) != (st.rv[block].singly == 0 and st.reserv[block] < NPTEPG):
            return False
    return free == st.vm[0].v_free_count and _kernel_holds(st)


@kernel
def _run_holds(st: State, begin: Int, pool: Int, order: Int) -> bool:
    """Return whether a run of free frames is what its list says."""
    known = st.pageq[begin]
    size = 1 << order
    if known.order != order + 1 or known.pool != pool or begin % size != 0:
        return False
    buddy = begin ^ size
    last = VM_NFREEORDER - 1
    if order < last and buddy < st.vm[0].v_page_count and st.pageq[buddy].order == order + 1:
        return False
    for m in range(begin, begin + size):
        if st.page[m].allocated != 0 or (m != begin and st.pageq[m].order != 0):
            return False
    return bool(st.rv[begin // NPTEPG].singly != 0)


@kernel
def _kernel_holds(st: State) -> bool:
    """Return whether the frames of the kernel's own pages hold nothing else and are not free."""
    found: Int = 0
    for table in range(1, st.host[0].ptp_used):
        if st.ptp[table].wire_count != 0:
            found += 1
            if not _kernel_frame_holds(st, st.ptp[table].ptp_frame):
                return False
    for pm in range(len(st.pmap)):
        chunk = np.int64(st.pmap[pm].pm_pvchunk_first)
        while chunk != 0:
            found += 1
            if not _kernel_frame_holds(st, st.pvc[chunk].frame):
                return False
            chunk = np.int64(st.pvc[chunk].pc_next)
    return found == st.vm[0].kernel_pages


@kernel
def _kernel_frame_holds(st: State, frame: Int) -> bool:
    """Return whether a frame, by its number + 1, is one that a page of the kernel's own can have."""
    if st.vm[0].page_tables_count == 0:
        return frame == 0
    m = frame - 1
    if m < 0 or st.page[m].allocated != 0 or st.rv[m // NPTEPG].singly == 0:
        return False
    begins = False
    for order in range(VM_NFREEORDER):
        begins |= st.pageq[m >> order << order].order == order + 1
    return not begins
