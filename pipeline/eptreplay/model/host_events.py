"""What a host does to a guest in mid-trace: wiring, holding, mapping, host access, DMA.

Every function takes the stacked states of all profiles and one guest, and does the same in each.  A page is
named by its flat number.  Functions return OK or why the event makes no sense; then nothing was done.

Source: vmm.c vm_gpa_hold, vm_gpa_release, vm_gpa_wire, vm_assign_pptdev; vm_map.c vm_map_wire,
vm_map_unwire, vm_map_protect, vm_map_delete, vm_map_madvise; vm_page.c vm_page_hold, vm_page_wire,
vm_page_unwire, vm_page_advise, FreeBSD 10.0.
"""

from __future__ import annotations

import numpy as np

from eptreplay.model import pte
from eptreplay.model._jit import entry_point, kernel
from eptreplay.model.invalidate import (
    CAUSE_ADVISE,
    CAUSE_HOST_ACCESS,
    CAUSE_PROTECT,
    CAUSE_UNMAP,
    CAUSE_WIRING,
)
from eptreplay.model.page_queue import vm_page_activate, vm_page_deactivate, vm_page_dequeue
from eptreplay.model.pmap import leaf_of, pmap_enter, pmap_pinit_type
from eptreplay.model.pmap_page import pmap_is_modified, pmap_remove_all
from eptreplay.model.pmap_range import pmap_advise, pmap_change_wiring, pmap_protect
from eptreplay.model.state import NO_MEMORY, PGA_REFERENCED, Int, State, account, world, worlds_in
from eptreplay.model.vm_fault import access_page, vm_fault, vm_fault_page
from eptreplay.model.vm_object import NOT_RESIDENT, swap_pager_unswapped, vm_page_lookup, vm_page_remove
from eptreplay.model.vm_page import vm_page_dirty, vm_page_free
from eptreplay.model.vm_reserv import vm_phys_free

PAGE_SHIFT = pte.PAGE_SHIFT
PAGE_SIZE = pte.PAGE_SIZE
PMAP_PDE_SUPERPAGE = pte.PMAP_PDE_SUPERPAGE
PT_X86 = pte.PT_X86
VM_PROT_ALL = pte.VM_PROT_ALL
VM_PROT_READ = pte.VM_PROT_READ
VM_PROT_WRITE = pte.VM_PROT_WRITE

MADV_DONTNEED = 4
MADV_FREE = 5

OK = 0
NO_HOLD = 1  # a release without a hold
NOT_WIRED = 2  # an unwire of a page that is not wired
NOT_MEMORY = 3  # a page that is not memory, or not mapped any more
IN_USE = 4  # an unmap of a page that is wired or held
IS_THERE = 5  # a map of a page that is mapped
NO_DEVICE = 6  # DMA of a guest without a passthrough device
NOT_ALLOWED = 7  # an access that the map entry does not give


@kernel
def _is_memory(states: State, flat: Int) -> bool:
    """Return whether a flat guest page is memory that the guest has now."""
    inside = 0 <= flat < len(states.quiet) - 1
    return bool(
        inside and (states.quiet[flat] & NO_MEMORY) == 0 and world(states, 0).object[flat].absent == 0
    )


@kernel
def _va(st: State, guest: Int, flat: Int) -> np.uint64:
    """Return the guest-physical address of a flat page."""
    return np.uint64(flat - st.guests[guest].begin) << PAGE_SHIFT


@kernel
def _begin(states: State, number: int, guest: Int, cause: Int) -> State:
    """Return a world in which what follows is done for a guest and a cause."""
    st = world(states, number)
    st.host[0].guest = guest
    st.host[0].cause = cause
    return st


@entry_point
def wire(states: State, guest: Int, flat: Int) -> Int:
    """Bring a page in and keep it: it leaves its queue, and its mapping is entered wired, as if written (vm_fault_wire).

    So a superpage is demoted at its first page, and promoted again with its last, when all are wired alike.
    """
    if not _is_memory(states, flat):
        return NOT_MEMORY
    for number in range(worlds_in(states)):
        st = _begin(states, number, guest, CAUSE_WIRING)
        m = vm_page_lookup(st, flat)
        if m == NOT_RESIDENT or st.pageq[m].wire_count == 0:
            m = vm_fault_page(st, flat)
            if m < 0:
                return NOT_ALLOWED
            st.vm[0].v_wire_count += 1
            account(st).v_wired += 1
            rights = VM_PROT_ALL & ~st.object[flat].taken
            pmap_enter(st, st.pmap[guest], _va(st, guest, flat), rights, m, rights, True)
        st.pageq[m].wire_count += 1
    return OK


@entry_point
def unwire(states: State, guest: Int, flat: Int) -> Int:
    """Let go of a wired page; with the last reason to keep it, it goes to the active queue (vm_map_unwire)."""
    if not _is_memory(states, flat):
        return NOT_MEMORY
    for number in range(worlds_in(states)):
        st = _begin(states, number, guest, CAUSE_WIRING)
        m = vm_page_lookup(st, flat)
        if m == NOT_RESIDENT or st.pageq[m].wire_count == 0:
            return NOT_WIRED
        st.pageq[m].wire_count -= 1
        if st.pageq[m].wire_count == 0:
            st.vm[0].v_wire_count -= 1
            account(st).v_wired -= 1
            pmap_change_wiring(st, st.pmap[guest], _va(st, guest, flat), False)
            vm_page_activate(st, m)
    return OK


@entry_point
def hold(states: State, guest: Int, flat: Int, prot: Int) -> Int:
    """Bring a page in with the rights asked for, and hold it: it is not freed until it is released (vm_gpa_hold)."""
    if not _is_memory(states, flat):
        return NOT_MEMORY
    if (world(states, 0).object[flat].taken & prot) != 0:
        return NOT_ALLOWED
    for number in range(worlds_in(states)):
        st = _begin(states, number, guest, CAUSE_HOST_ACCESS)
        va = _va(st, guest, flat)
        access = VM_PROT_WRITE if (prot & VM_PROT_WRITE) != 0 else VM_PROT_READ
        level, entry = leaf_of(st, st.pmap[guest], va)
        allowed = level != 0 and (access == VM_PROT_READ or (entry & st.pmap[guest].PG_RW) != 0)
        if not allowed:
            vm_fault(st, st.pmap[guest], va, access, flat)
        elif access == VM_PROT_WRITE:
            vm_page_dirty(st, vm_page_lookup(st, flat))
        st.pageq[vm_page_lookup(st, flat)].hold_count += 1
        account(st).holds += 1
        account(st).held += 1
    return OK


@entry_point
def release(states: State, guest: Int, flat: Int) -> Int:
    """Release a held page (vm_gpa_release)."""
    if not _is_memory(states, flat):
        return NOT_MEMORY
    for number in range(worlds_in(states)):
        st = _begin(states, number, guest, CAUSE_HOST_ACCESS)
        m = vm_page_lookup(st, flat)
        if m == NOT_RESIDENT or st.pageq[m].hold_count == 0:
            return NO_HOLD
        st.pageq[m].hold_count -= 1
        account(st).releases += 1
        account(st).held -= 1
    return OK


@entry_point
def host_access(states: State, guest: Int, flat: Int, write: bool) -> Int:
    """Let the hypervisor process touch a page through its own PT_X86 mapping, which it gets at its first touch."""
    if not _is_memory(states, flat):
        return NOT_MEMORY
    access = VM_PROT_WRITE if write else VM_PROT_READ
    for number in range(worlds_in(states)):
        st = _begin(states, number, guest, CAUSE_HOST_ACCESS)
        pm = len(st.guests) + guest
        if st.pmap[pm].pm_pml4 == 0:
            pmap_pinit_type(st, pm, PT_X86, PMAP_PDE_SUPERPAGE, 0)
            st.pmap[pm].pm_process = 1
            st.pmap[pm].pm_active = 1
        va = _va(st, guest, flat)
        traps = account(st).traps
        account(st).host_accesses += 1
        if access_page(st, st.pmap[pm], va, access) != 0:
            account(st).host_faults += 1
            # The process has every right to the guest's memory, whatever the guest has.
            taken = st.object[flat].taken
            st.object[flat].taken = 0
            vm_fault(st, st.pmap[pm], va, access, flat)
            st.object[flat].taken = taken
            access_page(st, st.pmap[pm], va, access)
        account(st).traps = traps  # the process's, not the guest's
    return OK


@entry_point
def dma(states: State, guest: Int, flat: Int, write: bool) -> Int:
    """Let a passthrough device touch a page through the IOMMU: no bit of any table or page tells of it."""
    if world(states, 0).guests[guest].iommu_pages == 0:
        return NO_DEVICE
    if not _is_memory(states, flat):
        return NOT_MEMORY
    for number in range(worlds_in(states)):
        st = _begin(states, number, guest, CAUSE_HOST_ACCESS)
        if write:
            account(st).dma_writes += 1
            account(st).dma_pages += 1 - st.object[flat].dma_written
            st.object[flat].dma_written = 1
        else:
            account(st).dma_reads += 1
    return OK


@entry_point
def attach_device(states: State, guest: Int) -> Int:
    """Give a guest its first passthrough device: all its memory is wired and mapped by a new IOMMU domain."""
    known = world(states, 0).guests[guest]
    pages: Int = 0
    for flat in range(known.begin, known.end):
        if _is_memory(states, flat):
            if wire(states, guest, flat) != OK:
                return NOT_ALLOWED
            pages += 1
    for number in range(worlds_in(states)):
        world(states, number).guests[guest].iommu_pages = pages
    return OK


@entry_point
def protect(states: State, guest: Int, flat: Int, prot: Int) -> Int:
    """Let the map entry of a page give these rights and no others (vm_map_protect)."""
    if not _is_memory(states, flat):
        return NOT_MEMORY
    for number in range(worlds_in(states)):
        st = _begin(states, number, guest, CAUSE_PROTECT)
        lost = VM_PROT_ALL & ~prot & ~st.object[flat].taken
        st.object[flat].taken = VM_PROT_ALL & ~prot
        if lost != 0:  # a right that is given is found out by the next fault
            va = _va(st, guest, flat)
            pmap_protect(st, st.pmap[guest], va, va + PAGE_SIZE, prot)
    return OK


@entry_point
def unmap(states: State, guest: Int, flat: Int) -> Int:
    """Take a page of memory from the guest, with its contents and its copy in swap (vm_map_delete)."""
    if not _is_memory(states, flat):
        return NOT_MEMORY
    for number in range(worlds_in(states)):
        st = world(states, number)
        m = vm_page_lookup(st, flat)
        if m != NOT_RESIDENT and (st.pageq[m].wire_count != 0 or st.pageq[m].hold_count != 0):
            return IN_USE
    for number in range(worlds_in(states)):
        st = _begin(states, number, guest, CAUSE_UNMAP)
        m = vm_page_lookup(st, flat)
        if m != NOT_RESIDENT:
            pmap_remove_all(st, m)
            vm_page_dequeue(st, m)
            vm_page_remove(st, m)
            vm_page_free(st, m)
            vm_phys_free(st, m, flat)
            st.vm[0].v_free_count += 1
        swap_pager_unswapped(st, flat)
        st.object[flat].frame = 0
        st.object[flat].taken = 0
        st.object[flat].absent = 1
    states.quiet[flat] |= NO_MEMORY
    return OK


@entry_point
def remap(states: State, guest: Int, flat: Int) -> Int:
    """Give back to the guest a page that was unmapped; it is empty."""
    inside = 0 <= flat < len(states.quiet) - 1
    if not inside or world(states, 0).guests[guest].end <= flat:
        return NOT_MEMORY
    if world(states, 0).object[flat].absent == 0:
        return IS_THERE if (states.quiet[flat] & NO_MEMORY) == 0 else NOT_MEMORY
    for number in range(worlds_in(states)):
        world(states, number).object[flat].absent = 0
    states.quiet[flat] &= ~NO_MEMORY
    return OK


@entry_point
def advise(states: State, guest: Int, flat: Int, advice: Int) -> Int:
    """Take note that the guest does not need a page soon, or its contents at all (vm_map_madvise)."""
    if not _is_memory(states, flat):
        return NOT_MEMORY
    for number in range(worlds_in(states)):
        st = _begin(states, number, guest, CAUSE_ADVISE)
        va = _va(st, guest, flat)
        pmap_advise(st, st.pmap[guest], va, va + PAGE_SIZE, advice)
        m = vm_page_lookup(st, flat)
        if m == NOT_RESIDENT or st.pageq[m].wire_count != 0:
            continue
        if advice == MADV_FREE:
            st.page[m].dirty = 0
        elif st.page[m].dirty == 0 and pmap_is_modified(st, m):
            vm_page_dirty(st, m)
        st.page[m].aflags &= ~PGA_REFERENCED
        st.pageq[m].act_count = 0
        vm_page_deactivate(st, m)
    return OK
