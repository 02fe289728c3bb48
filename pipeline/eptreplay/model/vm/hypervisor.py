"""Hypervisor accesses: wiring and holding of guest memory, accesses of the hypervisor process, DMA of passthrough devices.

What changes the guest's address space is in vm_map.py; what all events have in common, in answers.py.

Source: vmm.c vm_gpa_hold, vm_gpa_release, vm_gpa_wire, vm_iommu_modify, vm_assign_pptdev; vm_map.c vm_map_wire,
vm_map_unwire; vm_fault.c vm_fault_wire, vm_fault_unwire, vm_fault_quick_hold_pages; vm_page.c vm_page_hold,
vm_page_wire, vm_page_unwire, FreeBSD 10.0.
"""

from __future__ import annotations

from eptreplay.compiled import entry_point, kernel
from eptreplay.model._numba.types import Int
from eptreplay.model.page.vm_page import vm_page_dirty
from eptreplay.model.page.vm_pagequeue import PQ_ACTIVE, vm_page_enqueue
from eptreplay.model.pmap.invalidate import CAUSE_HOST_ACCESS, CAUSE_WIRING
from eptreplay.model.pmap.pmap import leaf_of, pmap_pinit_type
from eptreplay.model.pmap.pmap_enter import pmap_enter
from eptreplay.model.pmap.pmap_unwire import unwire_page
from eptreplay.model.state.guest_pages import page_at
from eptreplay.model.state.pte import (
    PMAP_PDE_SUPERPAGE,
    PT_X86,
    VM_PROT_ALL,
    VM_PROT_EXECUTE,
    VM_PROT_READ,
    VM_PROT_WRITE,
)
from eptreplay.model.state.state import State, account, instance, instances_in
from eptreplay.model.vm.answers import NO_DEVICE, NO_HOLD, NOT_ALLOWED, NOT_MEMORY, NOT_WIRED, OK, begin_event
from eptreplay.model.vm.vm_fault import HIT, access_page, vm_fault, vm_fault_page
from eptreplay.model.vm.vm_map import address_of, is_memory
from eptreplay.model.vm.vm_object import NOT_RESIDENT, vm_page_lookup


@entry_point
def wire(states: State, guest: Int, flat: Int) -> Int:
    """Wire a page: bring it in and take it off its queue; its mapping is entered wired, as if written (vm_fault_wire).

    A superpage is so demoted when its first page is wired, and promoted again when its last one is, since all agree then.
    """
    if not is_memory(states, flat):
        return NOT_MEMORY
    rights = VM_PROT_ALL & ~instance(states, 0).object[page_at(flat)].taken
    if (rights & (VM_PROT_READ | VM_PROT_EXECUTE)) == 0:
        return NOT_ALLOWED
    for number in range(instances_in(states)):
        st = begin_event(states, number, guest, CAUSE_WIRING)
        m = vm_page_lookup(st, flat)
        if m == NOT_RESIDENT or st.pageq[m].wire_count == 0:
            m = vm_fault_page(st, flat)
            if m < 0:
                return NOT_ALLOWED
            st.vm[0].v_wire_count += 1
            account(st).v_wired += 1
            pmap_enter(st, st.pmap[guest], address_of(st, guest, flat), rights, m, rights, True)
        st.pageq[m].wire_count += 1
    return OK


@entry_point
def unwire(states: State, guest: Int, flat: Int) -> Int:
    """Unwire a page; when nothing wires it any more, it goes to the active queue (vm_map_unwire)."""
    if not is_memory(states, flat):
        return NOT_MEMORY
    for number in range(instances_in(states)):
        st = begin_event(states, number, guest, CAUSE_WIRING)
        m = vm_page_lookup(st, flat)
        if m == NOT_RESIDENT or st.pageq[m].wire_count == 0:
            return NOT_WIRED
        st.pageq[m].wire_count -= 1
        if st.pageq[m].wire_count == 0:
            st.vm[0].v_wire_count -= 1
            account(st).v_wired -= 1
            va = address_of(st, guest, flat)
            level, _ = leaf_of(st, st.pmap[guest], va)
            if level != 0:
                unwire_page(st, st.pmap[guest], va)
            if st.vm[0].page_daemon != 0:
                vm_page_enqueue(st, PQ_ACTIVE, m)  # with the act_count that it had
    return OK


@entry_point
def hold(states: State, guest: Int, flat: Int, prot: Int) -> Int:
    """Hold a page: bring it in with the rights asked for; it is not freed until it is released (vm_gpa_hold)."""
    if not is_memory(states, flat):
        return NOT_MEMORY
    if (instance(states, 0).object[page_at(flat)].taken & prot) != 0:
        return NOT_ALLOWED
    for number in range(instances_in(states)):
        st = begin_event(states, number, guest, CAUSE_HOST_ACCESS)
        va = address_of(st, guest, flat)
        access = VM_PROT_WRITE if (prot & VM_PROT_WRITE) != 0 else VM_PROT_READ
        level, entry = leaf_of(st, st.pmap[guest], va)
        allowed = level != 0 and (access == VM_PROT_READ or (entry & st.pmap[guest].PG_RW) != 0)
        if not allowed:
            vm_fault(st, st.pmap[guest], va, access, flat)
        elif access == VM_PROT_WRITE:
            _dirty_for_host(st, flat)
        st.pageq[vm_page_lookup(st, flat)].hold_count += 1
        account(st).holds += 1
        account(st).held += 1
    return OK


@kernel
def _dirty_for_host(st: State, flat: Int) -> None:
    """Mark a page dirty that is about to be written without any dirty bit being set."""
    m = vm_page_lookup(st, flat)
    if st.page[m].dirty == 0:
        vm_page_dirty(st, m)


@entry_point
def release(states: State, guest: Int, flat: Int) -> Int:
    """Release a held page (vm_gpa_release)."""
    if not is_memory(states, flat):
        return NOT_MEMORY
    for number in range(instances_in(states)):
        st = begin_event(states, number, guest, CAUSE_HOST_ACCESS)
        m = vm_page_lookup(st, flat)
        if m == NOT_RESIDENT or st.pageq[m].hold_count == 0:
            return NO_HOLD
        st.pageq[m].hold_count -= 1
        account(st).releases += 1
        account(st).held -= 1
    return OK


@entry_point
def host_access(states: State, guest: Int, flat: Int, write: bool) -> Int:
    """Let the hypervisor process access a page through its own PT_X86 mapping, which is made at the first access."""
    if not is_memory(states, flat):
        return NOT_MEMORY
    access = VM_PROT_WRITE if write else VM_PROT_READ
    for number in range(instances_in(states)):
        st = begin_event(states, number, guest, CAUSE_HOST_ACCESS)
        pm = len(st.guests) + guest
        if st.pmap[pm].pm_pml4 == 0:
            pmap_pinit_type(st, pm, PT_X86, PMAP_PDE_SUPERPAGE, 0)
            st.pmap[pm].pm_process = 1
            st.pmap[pm].pm_active = 1
        va = address_of(st, guest, flat)
        traps = account(st).traps
        account(st).host_accesses += 1
        if access_page(st, st.pmap[pm], va, access) != HIT:
            account(st).host_faults += 1
            # The process has every right to the guest's memory, whatever the guest has.
            taken = st.object[page_at(flat)].taken
            st.object[page_at(flat)].taken = 0
            vm_fault(st, st.pmap[pm], va, access, flat)
            st.object[page_at(flat)].taken = taken
            access_page(st, st.pmap[pm], va, access)
        account(st).traps = traps  # those above were the process's, not the guest's
    return OK


@entry_point
def dma(states: State, guest: Int, flat: Int, write: bool) -> Int:
    """Let a passthrough device access a page through the IOMMU, which sets no bit in any table or page."""
    if instance(states, 0).guests[guest].iommu_pages == 0:
        return NO_DEVICE
    if not is_memory(states, flat):
        return NOT_MEMORY
    for number in range(instances_in(states)):
        st = begin_event(states, number, guest, CAUSE_HOST_ACCESS)
        if write:
            account(st).dma_writes += 1
            account(st).dma_pages += 1 - st.object[page_at(flat)].dma_written
            st.object[page_at(flat)].dma_written = 1
        else:
            account(st).dma_reads += 1
    return OK


@entry_point
def attach_device(states: State, guest: Int) -> Int:
    """Give a guest its first passthrough device: all its memory is wired and mapped by a new IOMMU domain.

    To learn the frame of a page, vm_iommu_modify holds it for writing, and so every page of the guest becomes dirty.
    """
    known = instance(states, 0).guests[guest]
    pages: Int = 0
    for flat in range(known.begin, known.end):
        if is_memory(states, flat):
            if wire(states, guest, flat) != OK:
                return NOT_ALLOWED
            for number in range(instances_in(states)):
                _dirty_for_host(instance(states, number), flat)
            pages += 1
    for number in range(instances_in(states)):
        instance(states, number).guests[guest].iommu_pages = pages
    return OK
