"""Hypervisor accesses: holding of guest memory, accesses of the hypervisor process, DMA of passthrough devices.

What changes the guest's address space is in vm_map.py, wiring in vm_wire.py; what all events have in common, in answers.py.

Source: vmm.c vm_gpa_hold, vm_gpa_release, vm_iommu_modify, vm_assign_pptdev; vm_fault.c vm_fault_quick_hold_pages,
vm_fault_prefault; vm_page.c vm_page_hold, vm_page_unhold; pmap.c pmap_extract_and_hold, FreeBSD 10.0.  Holds and prefaults are
proven by recordings of wiring (docs/conformance.md, rules 4 and 7).
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import entry_point, kernel
from eptreplay.model._numba.types import Int, Record
from eptreplay.model.page.vm_page import vm_page_dirty, vm_page_free
from eptreplay.model.page.vm_pagequeue import PQ_HELD, queue_head, vm_page_dequeue
from eptreplay.model.page.vm_reserv import object_of, vm_phys_free_removed
from eptreplay.model.pmap.invalidate import CAUSE_HOST_ACCESS
from eptreplay.model.pmap.pmap import leaf_of, pmap_is_prefaultable, pmap_pinit_type
from eptreplay.model.pmap.pmap_enter import pmap_enter_quick
from eptreplay.model.state.guest_pages import page_at
from eptreplay.model.state.pte import (
    NO_BITS,
    PAGE_SIZE,
    PMAP_PDE_SUPERPAGE,
    PT_X86,
    VM_PROT_ALL,
    VM_PROT_READ,
    VM_PROT_WRITE,
)
from eptreplay.model.state.state import State, account, instance, instances_in
from eptreplay.model.vm.answers import NO_DEVICE, NO_HOLD, NOT_ALLOWED, NOT_MEMORY, OK, begin_event
from eptreplay.model.vm.vm_fault import HIT, access_page, vm_fault
from eptreplay.model.vm.vm_map_entry import address_of, is_memory
from eptreplay.model.vm.vm_object import NOT_RESIDENT, vm_page_lookup
from eptreplay.model.vm.vm_pageout import vm_pageout_if_woken
from eptreplay.model.vm.vm_wire import vm_map_wire

PREFAULT_PAGES = 4  # to either side of a page that faulted (PFBAK, PFFOR)


@entry_point
def hold(states: State, guest: Int, flat: Int, prot: Int) -> Int:
    """Hold a page: bring it in with the rights asked for; it is not freed until it is released (vm_gpa_hold).

    There is no fault if the page is mapped and, for writing, its entry is writable: its place in its queue stays.
    """
    if not is_memory(states, flat):
        return NOT_MEMORY
    if (instance(states, 0).object[page_at(flat)].taken & prot) != 0:
        return NOT_ALLOWED
    for number in range(instances_in(states)):
        st = begin_event(states, number, guest, CAUSE_HOST_ACCESS)
        va = address_of(st, guest, flat)
        writes = (prot & VM_PROT_WRITE) != 0
        level, slot = leaf_of(st, st.pmap[guest], va)
        if level == 0 or (writes and (st.pt[slot] & st.pmap[guest].PG_RW) == NO_BITS):
            if not vm_fault(st, st.pmap[guest], va, prot, flat):
                return NOT_ALLOWED
        elif writes:
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
    """Release a held page (vm_gpa_release); it is free then if it was taken from the guest meanwhile."""
    if not 0 <= flat < len(states.fast_path) - 1:
        return NOT_MEMORY
    for number in range(instances_in(states)):
        st = begin_event(states, number, guest, CAUSE_HOST_ACCESS)
        m = _held_page(st, flat)
        if m == NOT_RESIDENT:
            return NO_HOLD
        st.pageq[m].hold_count -= 1
        if st.pageq[m].hold_count == 0 and st.pageq[m].queue == PQ_HELD:
            vm_page_dequeue(st, m)
            vm_page_free(st, m)
            vm_phys_free_removed(st, m)
        account(st).releases += 1
        account(st).held -= 1
    return OK


@kernel
def _held_page(st: State, flat: Int) -> Int:
    """Return the page that was held as a flat guest page: the first one that was taken from the guest since, else the one there is."""
    head = queue_head(st, PQ_HELD)
    m: Int = np.int64(st.pageq[head].q_next)
    while m != head:
        if st.page[m].pindex == flat:
            return m
        m = np.int64(st.pageq[m].q_next)
    m = vm_page_lookup(st, flat)
    return m if m != NOT_RESIDENT and st.pageq[m].hold_count != 0 else NOT_RESIDENT


@entry_point
def map_process(states: State, guest: Int) -> None:
    """Let the hypervisor process map a guest's memory: an empty PT_X86 address space of its own, with superpages."""
    for number in range(instances_in(states)):
        st = begin_event(states, number, guest, CAUSE_HOST_ACCESS)
        pm = len(st.guests) + guest
        if st.pmap[pm].pm_pml4 == 0:
            pmap_pinit_type(st, pm, PT_X86, PMAP_PDE_SUPERPAGE, 0)
            st.pmap[pm].pm_process = 1
            st.pmap[pm].pm_active = 1


@kernel
def process_access(st: State, guest: Int, flat: Int, access: Int) -> bool:
    """Make one access of the hypervisor process, and see it through; return whether it took a fault.

    The process maps the guest's page 0 VM.host_offset pages behind a multiple of 2 MB.
    """
    pmap = st.pmap[len(st.guests) + guest]
    va = address_of(st, guest, flat) + np.uint64(st.vm[0].host_offset) * PAGE_SIZE
    if access_page(st, pmap, va, access) == HIT:
        return False
    if vm_fault(st, pmap, va, access, flat):
        _prefault(st, pmap, va, flat)
        vm_pageout_if_woken(st)
    access_page(st, pmap, va, access)
    return True


@kernel
def _prefault(st: State, pmap: Record, va: np.uint64, flat: Int) -> None:
    """Map neighbours of a page that faulted, read-only, the nearest first, until one is not in memory (vm_fault_prefault).

    A fault of the guest does not: its pmap is not that of the process that runs.
    """
    known = st.objects[object_of(st, flat)]
    for step in range(2 * PREFAULT_PAGES):
        pages = (step // 2 + 1) * (1 if step % 2 else -1)
        other = np.uint64(np.int64(va) + pages * np.int64(PAGE_SIZE))
        if known.begin <= flat + pages < known.end and pmap_is_prefaultable(st, pmap, other):
            m = vm_page_lookup(st, flat + pages)
            if m == NOT_RESIDENT:
                return
            pmap_enter_quick(st, pmap, other, m, VM_PROT_ALL)


@entry_point
def host_access(states: State, guest: Int, flat: Int, write: bool) -> Int:
    """Let the hypervisor process access a page through its own mapping, which begins with the first access (map_process)."""
    if not is_memory(states, flat):
        return NOT_MEMORY
    access = VM_PROT_WRITE if write else VM_PROT_READ
    map_process(states, guest)
    for number in range(instances_in(states)):
        st = begin_event(states, number, guest, CAUSE_HOST_ACCESS)
        traps = account(st).traps
        account(st).host_accesses += 1
        account(st).host_faults += np.int64(process_access(st, guest, flat, access))
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
            if vm_map_wire(states, guest, flat, 1) != OK:
                return NOT_ALLOWED
            for number in range(instances_in(states)):
                _dirty_for_host(instance(states, number), flat)
            pages += 1
    for number in range(instances_in(states)):
        instance(states, number).guests[guest].iommu_pages = pages
    return OK
