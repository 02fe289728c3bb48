"""The address space of a guest: which of its pages are memory, which are a device's, and with which rights.

bhyve makes two kinds of map entry in a guest's vmspace:

* a segment of memory: an object of anonymous pages (OBJT_DEFAULT), with all rights;
* a BAR of a device that was passed through: a list of physical addresses (OBJT_SG), to be read and written.
  Its pages are fictitious and not managed: they are on no pv list and no queue, are never paged out, belong to no
  reservation, and are not wired with the guest's memory.

`State.fast_path` says where memory is (NO_MEMORY), GUEST where BARs are.  What events change of an entry is kept per
page (OBJECT_PAGE.taken and .absent), so that no entry is ever split.  A page is named by its flat number: pages of memory
from GUEST.begin on, pages of BARs by numbers beyond all memory, one BAR after the other.

Source: vm_map.c vm_map_protect, vm_map_delete, vm_map_insert, vm_map_madvise; vm_object.c vm_object_madvise;
vm_page.c vm_page_advise; amd64/vmm/vmm_mem.c vmm_mem_alloc, vmm_mmio_alloc, FreeBSD 10.0.
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import entry_point, kernel
from eptreplay.model._numba.types import Int
from eptreplay.model.page.vm_page import vm_page_dirty, vm_page_free
from eptreplay.model.page.vm_pagequeue import (
    ACT_INIT,
    PQ_INACTIVE,
    vm_page_deactivate,
    vm_page_deactivate_next,
    vm_page_dequeue,
)
from eptreplay.model.pmap.invalidate import CAUSE_ADVISE, CAUSE_PROTECT, CAUSE_UNMAP
from eptreplay.model.pmap.pmap_page import pmap_is_modified, pmap_remove_all
from eptreplay.model.pmap.pmap_range import MADV_FREE, pmap_advise, pmap_protect, pmap_remove
from eptreplay.model.state.fast_path import NO_MEMORY
from eptreplay.model.state.guest_pages import page_at
from eptreplay.model.state.pages import PGA_REFERENCED
from eptreplay.model.state.pte import PAGE_SHIFT, PAGE_SIZE, VM_PROT_ALL, VM_PROT_READ, VM_PROT_WRITE
from eptreplay.model.state.state import State, instance, instances_in
from eptreplay.model.vm.answers import IN_USE, IS_THERE, NOT_ALLOWED, NOT_MEMORY, OK, begin_event
from eptreplay.model.vm.vm_object import NOT_RESIDENT, swap_pager_unswapped, vm_page_lookup, vm_page_remove
from eptreplay.model.vm.vm_reserv import vm_phys_free

VM_PROT_RW = VM_PROT_READ | VM_PROT_WRITE

NO_BAR = -1

# vm_page_advise counts the pages that it was called for, and decides by bits of that count what happens to a page.  The count
# begins past the first values, at which pages are left alone, like that of a host that has run for long.
DNWEIGHT_AT_FIRST = 16
LEFT_ALONE = 0x1F0  # if none of these bits is set, the page is left alone
TO_THE_TAIL = 0x70  # if none of these is, it goes to the tail of the inactive queue, clean or not


@kernel
def is_memory(states: State, flat: Int) -> bool:
    """Return whether a flat page is memory that its guest has now."""
    inside = 0 <= flat < len(states.fast_path) - 1
    return bool(
        inside
        and (states.fast_path[page_at(flat)] & NO_MEMORY) == 0
        and instance(states, 0).object[page_at(flat)].absent == 0
    )


@kernel
def bar_at(st: State, guest: Int, page: Int) -> Int:
    """Return the number of the BAR that has a guest page, NO_BAR if none has it or it is unmapped."""
    known = st.guests[guest]
    for bar in range(known.bars):
        offset = page - known.bar_page[bar]
        if 0 <= offset < known.bar_pages[bar]:
            return bar if st.object[page_at(known.bar_flat[bar] + offset)].absent == 0 else NO_BAR
    return NO_BAR


@kernel
def bar_of(st: State, guest: Int, flat: Int) -> Int:
    """Return the number of the BAR of a guest that a flat page belongs to, NO_BAR if to none."""
    known = st.guests[guest]
    for bar in range(known.bars):
        if 0 <= flat - known.bar_flat[bar] < known.bar_pages[bar]:
            return bar
    return NO_BAR


@kernel
def address_of(st: State, guest: Int, flat: Int) -> np.uint64:
    """Return the guest-physical address of a flat page of a guest."""
    bar = bar_of(st, guest, flat)
    known = st.guests[guest]
    page = flat - known.begin if bar == NO_BAR else known.bar_page[bar] + flat - known.bar_flat[bar]
    return np.uint64(page) << PAGE_SHIFT


@kernel
def max_protection(bar: Int) -> Int:
    """Return the rights that an entry can give: a BAR's, or that of memory (NO_BAR)."""
    return VM_PROT_ALL if bar == NO_BAR else VM_PROT_RW


@kernel
def _is_mapped(states: State, bar: Int, flat: Int) -> bool:
    """Return whether there is a map entry for a flat page, of memory (NO_BAR) or of a BAR."""
    return bool(
        is_memory(states, flat) if bar == NO_BAR else instance(states, 0).object[page_at(flat)].absent == 0
    )


@entry_point
def vm_map_protect(states: State, guest: Int, flat: Int, prot: Int) -> Int:
    """Let the map entry of a page give these rights and no others."""
    bar = bar_of(instance(states, 0), guest, flat)
    if not _is_mapped(states, bar, flat):
        return NOT_MEMORY
    most = max_protection(bar)
    if (prot & ~most) != 0:
        return NOT_ALLOWED
    for number in range(instances_in(states)):
        st = begin_event(states, number, guest, CAUSE_PROTECT)
        lost = most & ~prot & ~st.object[page_at(flat)].taken
        st.object[page_at(flat)].taken = most & ~prot
        if lost != 0:  # rights that are added take effect at the next fault
            va = address_of(st, guest, flat)
            pmap_protect(st, st.pmap[guest], va, va + PAGE_SIZE, prot)
    return OK


@entry_point
def vm_map_delete(states: State, guest: Int, flat: Int) -> Int:
    """Take a page from the guest: of memory, with its contents and its copy in swap; or of a BAR."""
    bar = bar_of(instance(states, 0), guest, flat)
    if not _is_mapped(states, bar, flat):
        return NOT_MEMORY
    for number in range(instances_in(states)):
        st = instance(states, number)
        m = vm_page_lookup(st, flat)
        if m != NOT_RESIDENT and (st.pageq[m].wire_count != 0 or st.pageq[m].hold_count != 0):
            return IN_USE
    for number in range(instances_in(states)):
        st = begin_event(states, number, guest, CAUSE_UNMAP)
        if bar == NO_BAR:
            _free_memory(st, flat)
        else:
            va = address_of(st, guest, flat)
            pmap_remove(st, st.pmap[guest], va, va + PAGE_SIZE)
        st.object[page_at(flat)].taken = 0
        st.object[page_at(flat)].absent = 1
    if bar == NO_BAR:
        states.fast_path[page_at(flat)] |= NO_MEMORY
    return OK


@kernel
def _free_memory(st: State, flat: Int) -> None:
    """Free a page of memory and its copy in swap; it is as if it had never been used."""
    m = vm_page_lookup(st, flat)
    if m != NOT_RESIDENT:
        pmap_remove_all(st, m)
        vm_page_dequeue(st, m)
        vm_page_remove(st, m)
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
        return IS_THERE if _is_mapped(states, bar, flat) else NOT_MEMORY
    for number in range(instances_in(states)):
        instance(states, number).object[page_at(flat)].absent = 0
    if bar == NO_BAR:
        states.fast_path[page_at(flat)] &= ~NO_MEMORY
    return OK


@entry_point
def vm_map_madvise(states: State, guest: Int, flat: Int, advice: Int) -> Int:
    """Carry out advice that a page is not needed soon (MADV_DONTNEED), or its contents not at all (MADV_FREE)."""
    bar = bar_of(instance(states, 0), guest, flat)
    if not _is_mapped(states, bar, flat):
        return NOT_MEMORY
    if bar != NO_BAR:
        return OK  # pages that are not managed have nothing to clear
    for number in range(instances_in(states)):
        st = begin_event(states, number, guest, CAUSE_ADVISE)
        va = address_of(st, guest, flat)
        pmap_advise(st, st.pmap[guest], va, va + PAGE_SIZE, advice)
        m = vm_page_lookup(st, flat)
        if m != NOT_RESIDENT:
            if st.pageq[m].wire_count != 0 or st.pageq[m].hold_count != 0:
                continue
            _vm_page_advise(st, m, advice)
        if advice == MADV_FREE:
            swap_pager_unswapped(st, flat)
    return OK


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
