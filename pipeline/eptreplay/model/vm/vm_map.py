"""Changes of a guest's address space: rights taken and given, memory unmapped and mapped again, advice about its use.

An event concerns a range of pages, all of which have a map entry (or it answers NOT_MEMORY), and is one call, entry by entry: a superpage that
lies in an entry and in the range as a whole is protected or unmapped as one.

The pages of memory that is unmapped are freed, also those that are wired, which are unwired first, and those that the hypervisor
process still maps.  One that is held leaves its guest at once, and is free when it is released.  That part is from reading; the
rest is proven by recordings of wiring (docs/conformance.md, rules 6 and 8).

Source: vm_map.c vm_map_protect, vm_map_delete, vm_map_insert, vm_map_madvise; vm_object.c vm_object_page_remove, vm_object_madvise;
vm_page.c vm_page_advise, vm_page_free_toq (PG_UNHOLDFREE), FreeBSD 10.0.
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import entry_point, kernel
from eptreplay.model._numba.types import Int
from eptreplay.model.page.vm_page import vm_page_dirty, vm_page_free
from eptreplay.model.page.vm_pagequeue import (
    ACT_INIT,
    PQ_HELD,
    PQ_INACTIVE,
    vm_page_deactivate,
    vm_page_deactivate_next,
    vm_page_dequeue,
    vm_page_enqueue,
)
from eptreplay.model.page.vm_reserv import vm_phys_free, vm_reserv_removed
from eptreplay.model.pmap.invalidate import CAUSE_ADVISE, CAUSE_PROTECT, CAUSE_UNMAP
from eptreplay.model.pmap.pmap_page import pmap_is_modified, pmap_remove_all
from eptreplay.model.pmap.pmap_range import MADV_FREE, pmap_advise, pmap_protect, pmap_remove
from eptreplay.model.state.fast_path import NO_MEMORY
from eptreplay.model.state.guest_pages import page_at
from eptreplay.model.state.pages import PGA_REFERENCED
from eptreplay.model.state.pte import PAGE_SIZE
from eptreplay.model.state.state import State, instance, instances_in
from eptreplay.model.vm.answers import IS_THERE, NOT_ALLOWED, NOT_MEMORY, OK, begin_event
from eptreplay.model.vm.vm_map_entry import (
    NO_BAR,
    address_of,
    bar_of,
    entry_end,
    is_mapped,
    max_protection,
    pages_mapped,
    process_maps,
)
from eptreplay.model.vm.vm_object import NOT_RESIDENT, swap_pager_unswapped, vm_page_lookup, vm_page_remove
from eptreplay.model.vm.vm_pageout import vm_pageout_if_woken
from eptreplay.model.vm.vm_wire import forget_wiring, unwire_for_ever, vm_fault_unwire

# vm_page_advise counts the pages that it was called for, and decides by bits of that count what happens to a page.  The count
# begins past the first values, at which pages are left alone, like that of a host that has run for long.
DNWEIGHT_AT_FIRST = 16
LEFT_ALONE = 0x1F0  # if none of these bits is set, the page is left alone
TO_THE_TAIL = 0x70  # if none of these is, it goes to the tail of the inactive queue, clean or not


@kernel
def _bytes(pages: Int) -> np.uint64:
    """Return how many bytes so many pages are."""
    return np.uint64(pages) * PAGE_SIZE


@entry_point
def vm_map_protect(states: State, guest: Int, flat: Int, pages: Int, prot: Int) -> Int:
    """Let the map entries of a range give these rights and no others: OK, or NOT_ALLOWED where they never could.

    Rights that are taken go from the mappings at once; those that are added take effect at the next fault.
    """
    if pages_mapped(states, guest, flat, pages) != pages:
        return NOT_MEMORY
    bar = bar_of(instance(states, 0), guest, flat)
    most = max_protection(bar)
    if (prot & ~most) != 0:
        return NOT_ALLOWED
    for number in range(instances_in(states)):
        st = begin_event(states, number, guest, CAUSE_PROTECT)
        begin = flat
        while begin < flat + pages:
            end = entry_end(st, begin, flat + pages)
            lost = most & ~prot & ~st.object[page_at(begin)].taken
            for page in range(begin, end):
                st.object[page_at(page)].taken = most & ~prot
            if lost != 0:
                va = address_of(st, guest, begin)
                pmap_protect(st, st.pmap[guest], va, va + _bytes(end - begin), prot)
            begin = end
        vm_pageout_if_woken(st)
    return OK


@entry_point
def vm_map_delete(states: State, guest: Int, flat: Int, pages: Int) -> Int:
    """Take a range from the guest: of memory, with its contents and its copies in swap; or of a BAR."""
    if pages_mapped(states, guest, flat, pages) != pages:
        return NOT_MEMORY
    bar = bar_of(instance(states, 0), guest, flat)
    for number in range(instances_in(states)):
        st = begin_event(states, number, guest, CAUSE_UNMAP)
        begin = flat
        while begin < flat + pages:
            end = entry_end(st, begin, flat + pages)
            if bar == NO_BAR and st.object[page_at(begin)].wired != 0:
                for page in range(begin, end):
                    vm_fault_unwire(st, guest, page)
                forget_wiring(st, begin, end)
            va = address_of(st, guest, begin)
            pmap_remove(st, st.pmap[guest], va, va + _bytes(end - begin))
            for page in range(begin, end):
                if bar == NO_BAR:
                    _page_remove(st, page)
                st.object[page_at(page)].taken = 0
                st.object[page_at(page)].absent = 1
            begin = end
        vm_pageout_if_woken(st)
    if bar == NO_BAR:
        for page in range(flat, flat + pages):
            states.fast_path[page_at(page)] |= NO_MEMORY
    return OK


@kernel
def _page_remove(st: State, flat: Int) -> None:
    """Free a page of memory and its copy in swap; it is as if it had never been used (vm_object_page_remove)."""
    m = vm_page_lookup(st, flat)
    if m != NOT_RESIDENT:
        pmap_remove_all(st, m)
        unwire_for_ever(st, m)
        vm_page_dequeue(st, m)
        vm_page_remove(st, m)
        if st.pageq[m].hold_count != 0:
            vm_reserv_removed(st, m, flat)
            vm_page_enqueue(st, PQ_HELD, m)
        else:
            vm_page_free(st, m)
            vm_phys_free(st, m, flat)
    swap_pager_unswapped(st, flat)
    st.object[page_at(flat)].frame = 0


@entry_point
def vm_map_insert(states: State, guest: Int, flat: Int) -> Int:
    """Give back to the guest a page that was taken from it; memory is empty."""
    bar = bar_of(instance(states, 0), guest, flat)
    if bar == NO_BAR and not 0 <= flat < min(
        len(states.fast_path) - 1, instance(states, 0).guests[guest].end
    ):
        return NOT_MEMORY
    if instance(states, 0).object[page_at(flat)].absent == 0:
        return IS_THERE if is_mapped(states, bar, flat) else NOT_MEMORY
    for number in range(instances_in(states)):
        instance(states, number).object[page_at(flat)].absent = 0
    if bar == NO_BAR:
        states.fast_path[page_at(flat)] &= ~NO_MEMORY
    return OK


@entry_point
def vm_map_madvise(states: State, guest: Int, flat: Int, pages: Int, advice: Int) -> Int:
    """Carry out advice that a range is not needed soon (MADV_DONTNEED), or its contents not at all (MADV_FREE).

    The latter goes beyond the guest's mappings only while nobody else maps the memory (OBJ_ONEMAPPING).
    """
    if pages_mapped(states, guest, flat, pages) != pages:
        return NOT_MEMORY
    if bar_of(instance(states, 0), guest, flat) != NO_BAR:
        return OK  # pages that are not managed have nothing to clear
    for number in range(instances_in(states)):
        st = begin_event(states, number, guest, CAUSE_ADVISE)
        begin = flat
        while begin < flat + pages:
            end = entry_end(st, begin, flat + pages)
            va = address_of(st, guest, begin)
            pmap_advise(st, st.pmap[guest], va, va + _bytes(end - begin), advice)
            if advice != MADV_FREE or not process_maps(st, guest):
                for page in range(begin, end):
                    _object_madvise(st, page, advice)
            begin = end
        vm_pageout_if_woken(st)
    return OK


@kernel
def _object_madvise(st: State, flat: Int, advice: Int) -> None:
    """Carry out advice about one page, unless it is wired or held (vm_object_madvise)."""
    m = vm_page_lookup(st, flat)
    if m != NOT_RESIDENT:
        if st.pageq[m].wire_count != 0 or st.pageq[m].hold_count != 0:
            return
        _vm_page_advise(st, m, advice)
    if advice == MADV_FREE:
        swap_pager_unswapped(st, flat)


@kernel
def _vm_page_advise(st: State, m: Int, advice: Int) -> None:
    """Move a page that is not needed to where the page daemon takes it earlier; not always at once, as it may be needed after all."""
    page = st.pageq[m]
    if advice == MADV_FREE:
        st.page[m].dirty = 0
        page.act_count = 0
    weight = DNWEIGHT_AT_FIRST + st.vm[0].dnweight
    st.vm[0].dnweight += 1
    if (weight & LEFT_ALONE) == 0 or page.queue == PQ_INACTIVE:
        if page.act_count >= ACT_INIT:
            page.act_count -= 1
        return
    st.page[m].aflags &= ~PGA_REFERENCED
    if advice != MADV_FREE and st.page[m].dirty == 0 and pmap_is_modified(st, m):
        vm_page_dirty(st, m)
    if st.vm[0].page_daemon == 0:
        return
    if st.page[m].dirty != 0 or (weight & TO_THE_TAIL) == 0:
        vm_page_deactivate(st, m)
    else:
        vm_page_deactivate_next(st, m)
