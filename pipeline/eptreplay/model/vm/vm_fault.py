"""What follows an access that the hardware refuses: the VM exit (EPT violation; #NPF on AMD), A/D emulation, vm_fault.

Later releases map 2 MB at once where the pages around one in memory allow it (HOST.fault_2m).

Source: vmm.c vm_handle_paging, vm_fault.c vm_fault, FreeBSD 10.0; vm_fault.c vm_fault_soft_fast, 14.0-CURRENT.
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import kernel, part
from eptreplay.model._numba.types import Int, Record
from eptreplay.model.cpu.vmm import vm_enter, vm_exit
from eptreplay.model.cpu.walk import walk
from eptreplay.model.page.vm_page import take_zeroed, vm_page_alloc, vm_page_dirty, vm_reserv_is_full
from eptreplay.model.page.vm_pagequeue import (
    note_reference,
    vm_page_activate,
    vm_page_dequeue,
    vm_page_is_new,
    vm_page_xbusy,
    vm_page_xunbusy,
)
from eptreplay.model.page.vm_reserv import object_of, vm_object_color, vm_phys_alloc
from eptreplay.model.pmap.emulate import HANDLED, pmap_emulate_accessed_dirty
from eptreplay.model.pmap.pmap import leaf_of
from eptreplay.model.pmap.pmap_enter import pmap_enter
from eptreplay.model.pmap.pmap_enter_2m import KERN_SUCCESS, pmap_enter_2m
from eptreplay.model.pmap.superpage import pmap_ps_enabled
from eptreplay.model.state.guest_pages import page_at
from eptreplay.model.state.objects import GONE
from eptreplay.model.state.pte import (
    NPTEPG,
    PDE_LEVEL,
    PDRMASK,
    PTE_LEVEL,
    VM_PROT_ALL,
    VM_PROT_EXECUTE,
    VM_PROT_WRITE,
)
from eptreplay.model.state.state import State, account
from eptreplay.model.vm.event_log import (
    LOG_ALLOCATE,
    LOG_SOFT_FAULT,
    LOG_SWAP_IN,
    LOG_ZERO_FILL,
    log_event,
    log_frame,
)
from eptreplay.model.vm.vm_object import (
    NOT_RESIDENT,
    swap_pager_unswapped,
    swap_slot,
    vm_page_insert,
    vm_page_lookup,
)
from eptreplay.model.vm.vm_pageout import vm_pageout, vm_pageout_if_woken

# How an access came out.
HIT = 0  # the walker allowed it
EMULATED = 1  # the walker allowed it after A/D emulation gave back a right
REFUSED = 2  # a fault that nobody resolved
FAULTED = 3  # vm_fault mapped the page

# Why an access left the guest: the second index of COUNTERS.faults.
CAUSE_ACCESSED = 0  # emulated: the page was mapped, but its accessed bit was clear
CAUSE_DIRTY = 1  # emulated: the page was mapped writable, but its modified bit was clear
CAUSE_FIRST_USE = 2  # vm_fault: the page had never been used
CAUSE_UNMAPPED = 3  # vm_fault: the page is in memory, but its mapping had been removed
CAUSE_WRITE_PROTECTED = 4  # vm_fault: a write, or a fetch, that a 4 KB mapping does not allow
CAUSE_SUPERPAGE_PROTECTED = 5  # vm_fault: a write, or a fetch, that a superpage does not allow
CAUSE_SWAPPED_OUT = 6  # vm_fault: the page was written to swap and freed
CAUSE_FREED_CLEAN = 7  # vm_fault: the page was freed without a copy in swap, since it was never written


@kernel
def access_page(st: State, pmap: Record, va: np.uint64, access: Int) -> Int:
    """Make one access: HIT, EMULATED, or REFUSED when it takes vm_fault to go on."""
    outcome = HIT
    while not walk(st, pmap, va, access):
        account(st).traps += 1
        if pmap.pm_nested == 0 or access == VM_PROT_EXECUTE:
            return REFUSED
        if pmap_emulate_accessed_dirty(st, pmap, va, access) != HANDLED:
            return REFUSED
        outcome = EMULATED
    return outcome


@part
def vm_fault_page(st: State, flat: Int, color: Int) -> Int:
    """Bring a guest page into memory if it is not, take it off its queue, and mark it busy; return the page, -1 without a frame.

    `color` is what the page's object is coloured with if this is the first fault in it.  The page belongs to the guest that events are counted for (HOST.guest).  The page daemon runs to its end in here when
    frames are scarce: before the frame is taken if they are very scarce, else after it.
    """
    vm = st.vm[0]
    m = vm_page_lookup(st, flat)
    if m != NOT_RESIDENT:
        vm_page_dequeue(st, m)
        vm_page_xbusy(st, m)
        account(st).soft_faults += 1
        log_event(st, LOG_SOFT_FAULT, flat, 0)
        return m
    if vm.v_free_count < vm.v_free_severe:
        vm_pageout(st)
    guest = np.int64(st.host[0].guest)
    if vm.identity == 0:
        vm_object_color(st, flat, color)
    cnt = account(st)
    reservations, reserved, broken = cnt.reservations, cnt.pages_reserved, cnt.reservations_broken
    m = vm_phys_alloc(st, guest, flat)
    if m < 0:
        vm.out_of_memory = 1
        return m
    vm_page_alloc(st, m)
    vm_page_insert(st, m, guest, flat)
    vm_page_is_new(st, m)
    vm_page_xbusy(st, m)
    note_reference(st, m)
    log_event(st, LOG_ALLOCATE, flat, vm.v_free_count)
    log_frame(st, m, reservations, reserved, broken)
    if vm.v_free_count < vm.vm_pageout_wakeup_thresh:
        vm_pageout(st)
    zeroed = take_zeroed(st, m)
    if swap_slot(st, flat) != 0:
        account(st).swap_ins += 1
        log_event(st, LOG_SWAP_IN, flat, 0)
    else:
        account(st).zero_fills += 1
        account(st).zeroed_before += np.int64(zeroed)
        log_event(st, LOG_ZERO_FILL, flat, 0)
    return m


@part
def vm_fault_entered(st: State, m: Int) -> None:
    """End what vm_fault_page began, when the page is mapped.

    Where the mapping took pages of the kernel's own and so woke the page daemon, it runs here: in the kernel it has waited for
    the lock of the pmap.
    """
    vm_pageout_if_woken(st)
    vm_page_xunbusy(st, m)


@part
def vm_fault(st: State, pmap: Record, va: np.uint64, access: Int, flat: Int) -> bool:
    """Resolve a fault on a guest's memory: map the page, dirty on a write, with every right that its map entry gives.

    Where the entry is wired, the access becomes every right (vm_map_lookup).  The hypervisor process has every right to the
    guest's memory, whatever the guest has, and its own entry is not wired.

    Returns whether the access may go on: the map entry allows it, and there was a frame.
    """
    known = st.object[page_at(flat)]
    of_guest = pmap.pm_process == 0
    taken = np.int64(known.taken) if of_guest else 0
    if (access & taken) != 0:
        account(st).denied += 1
        st.host[0].refused = 1
        return False
    in_memory = st.object[page_at(flat)].frame > 0
    m = vm_fault_page(st, flat, 0 if of_guest else st.vm[0].host_offset)
    if m < 0:
        return False
    wired = of_guest and known.wired != 0
    rights = VM_PROT_ALL & ~taken
    if wired:
        access = rights  # a wired page is faulted in for every kind of access at once (vm_map_lookup)
    elif st.host[0].fault_2m != 0 and in_memory and _may_map_2m(st, pmap, m, flat):
        if _map_2m(st, pmap, va, access, flat):
            return True
        access |= rights & VM_PROT_WRITE  # the fault type keeps the bit, and so a read dirties the page
    if (access & VM_PROT_WRITE) != 0:
        vm_page_dirty(st, m)
        swap_pager_unswapped(st, flat)
    pmap_enter(st, pmap, va, access, m, rights, wired)
    vm_fault_entered(st, m)
    vm_page_activate(st, m)
    note_reference(st, m)
    return True


@kernel
def _may_map_2m(st: State, pmap: Record, m: Int, flat: Int) -> bool:
    """Return whether a fault on page `m` in memory may map the 2 MB around it (vm_fault_soft_fast).

    Its reservation is full; the 2 MB are one piece of one map entry; and if the entry can be written, every other page is
    dirty already, since the mapping will not show which of them are written.
    """
    first = flat // NPTEPG * NPTEPG
    owner = st.objects[object_of(st, flat)]
    if not pmap_ps_enabled(pmap) or not vm_reserv_is_full(st, m) or m % NPTEPG != flat % NPTEPG:
        return False
    if first < owner.begin or first + NPTEPG > owner.end:
        return False
    taken = st.object[page_at(flat)].taken
    writable = (taken & VM_PROT_WRITE) == 0
    for k in range(NPTEPG):
        other = first + k
        if st.object[page_at(other)].taken != taken or st.object[page_at(other)].absent != 0:
            return False
        clean = st.page[m // NPTEPG * NPTEPG + k].dirty == 0
        if writable and other != flat and clean:
            return False
    return True


@kernel
def _map_2m(st: State, pmap: Record, va: np.uint64, access: Int, flat: Int) -> bool:
    """Map the 2 MB around a page in memory; return whether the 2m_x rule allows it.

    Where the map entry gives the right to write, the mapping is entered as written, whatever the access was.
    """
    m = vm_page_lookup(st, flat)
    rights = VM_PROT_ALL & ~st.object[page_at(flat)].taken
    entered = access | (rights & VM_PROT_WRITE)
    first = m // NPTEPG * NPTEPG
    if pmap_enter_2m(st, pmap, va & ~PDRMASK, entered, first, rights, False) != KERN_SUCCESS:
        account(st).soft_fails += 1
        account(st).soft_fail_reads += np.int64((access & VM_PROT_WRITE) == 0)
        return False
    account(st).soft_maps += 1
    vm_fault_entered(st, m)
    if (entered & VM_PROT_WRITE) != 0:
        vm_page_dirty(st, m)
        swap_pager_unswapped(st, flat)
    vm_page_activate(st, m)
    note_reference(st, m)
    return True


@kernel
def fault_cause(st: State, pmap: Record, va: np.uint64, flat: Int) -> Int:
    """Return why the walker refused an access to a guest page that A/D emulation did not resolve.

    A page that is not in memory is mapped nowhere, so the tables need not be asked.
    """
    frame = st.object[page_at(flat)].frame
    if frame == GONE:
        return CAUSE_SWAPPED_OUT if swap_slot(st, flat) != 0 else CAUSE_FREED_CLEAN
    if frame == 0:
        return CAUSE_FIRST_USE
    level, _ = leaf_of(st, pmap, va)
    if level == PDE_LEVEL:
        return CAUSE_SUPERPAGE_PROTECTED
    return CAUSE_WRITE_PROTECTED if level == PTE_LEVEL else CAUSE_UNMAPPED


@part
def guest_access(st: State, pmap: Record, va: np.uint64, op: Int, flat: Int) -> None:
    """Make one access of a guest to its own memory, see it through and count it once, by what resolved it last.

    Args:
        st: the host.
        pmap: the guest's address space.
        va: guest-physical byte address.
        op: kind of access: 0 read, 1 write, 2 fetch.
        flat: the page of guest memory at that address.
    """
    access = 1 << op
    outcome = access_page(st, pmap, va, access)
    if outcome == HIT:
        return
    emulated = CAUSE_DIRTY if access == VM_PROT_WRITE else CAUSE_ACCESSED
    if outcome == EMULATED:
        account(st).faults[op, emulated] += 1
        return
    cause = fault_cause(st, pmap, va, flat)
    seen = vm_exit(st, pmap)
    while outcome == REFUSED and vm_fault(st, pmap, va, access, flat):
        outcome = access_page(st, pmap, va, access)
    # A page that vm_fault mapped may be part of a superpage that was not accessed, until emulation says so (14-later).
    account(st).faults[op, emulated if outcome == EMULATED else cause] += 1
    vm_enter(st, pmap, seen)
