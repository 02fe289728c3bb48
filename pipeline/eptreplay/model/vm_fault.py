"""What follows an access that the hardware refuses: the exit, A/D emulation, vm_fault.

Source: vmm.c vm_handle_paging, vm_fault.c vm_fault, FreeBSD 10.0.
"""

from __future__ import annotations

import numpy as np

from eptreplay.model import pte
from eptreplay.model._jit import kernel
from eptreplay.model.emulate import HANDLED, pmap_emulate_accessed_dirty
from eptreplay.model.pmap import leaf_of, pmap_enter
from eptreplay.model.state import Int, Record, State
from eptreplay.model.vm_page import vm_page_alloc, vm_page_dirty
from eptreplay.model.walk import walk

PT_EPT = pte.PT_EPT
VM_PROT_ALL = pte.VM_PROT_ALL
VM_PROT_EXECUTE = pte.VM_PROT_EXECUTE
VM_PROT_WRITE = pte.VM_PROT_WRITE

# How an access came out.
HIT = 0  # the walker took it
EMULATED = 1  # A/D emulation gave back a right
REFUSED = 2  # a fault that nobody resolved
FAULTED = 3  # vm_fault mapped the page

# Why an access left the guest: the second index of COUNTERS.faults.
CAUSE_ACCESSED = 0  # emulated: the page was mapped, but its accessed bit was clear
CAUSE_DIRTY = 1  # emulated: the page was mapped writable, but its modified bit was clear
CAUSE_FIRST_USE = 2  # vm_fault: the page had never been used
CAUSE_UNMAPPED = 3  # vm_fault: the page is in memory, but its mapping had been removed
CAUSE_WRITE_PROTECTED = 4  # vm_fault: a write, or a fetch, that a 4 KB mapping does not allow
CAUSE_SUPERPAGE_PROTECTED = 5  # vm_fault: a write, or a fetch, that a superpage does not allow


@kernel
def access_page(st: State, pmap: Record, va: np.uint64, access: Int) -> Int:
    """Make one access: HIT, EMULATED, or REFUSED when it takes vm_fault to go on."""
    outcome = HIT
    while not walk(st, pmap, va, access):
        st.cnt[0].traps += 1
        if pmap.pm_type != PT_EPT or access == VM_PROT_EXECUTE:
            return REFUSED
        if pmap_emulate_accessed_dirty(st, pmap, va, access) != HANDLED:
            return REFUSED
        outcome = EMULATED
    return outcome


@kernel
def vm_fault(st: State, pmap: Record, va: np.uint64, access: Int, m: Int) -> None:
    """Resolve a fault of a guest on its own memory: give it page `m`, dirty on a write, with every right."""
    vm_page_alloc(st, m)
    if access == VM_PROT_WRITE:
        vm_page_dirty(st, m)
    pmap_enter(st, pmap, va, access, m, VM_PROT_ALL, False)


@kernel
def fault_cause(st: State, pmap: Record, va: np.uint64, m: Int) -> Int:
    """Return why the walker refused an access to page `m` that A/D emulation could not settle."""
    level, _ = leaf_of(st, pmap, va)
    if level == 2:
        return CAUSE_SUPERPAGE_PROTECTED
    if level == 1:
        return CAUSE_WRITE_PROTECTED
    return CAUSE_UNMAPPED if st.page[m].allocated != 0 else CAUSE_FIRST_USE


@kernel
def guest_access(st: State, pmap: Record, va: np.uint64, op: Int, m: Int) -> None:
    """Make one access of a guest to its own memory, page `m`, see it through and count what it took.

    Args:
        st: the host.
        pmap: the guest's address space.
        va: guest-physical byte address.
        op: kind of access: 0 read, 1 write, 2 fetch.
        m: the page that backs the address.
    """
    access = 1 << op
    outcome = access_page(st, pmap, va, access)
    if outcome == HIT:
        return
    if outcome == EMULATED:
        st.cnt[0].faults[op, CAUSE_DIRTY if access == VM_PROT_WRITE else CAUSE_ACCESSED] += 1
        return
    st.cnt[0].faults[op, fault_cause(st, pmap, va, m)] += 1
    while outcome == REFUSED:
        vm_fault(st, pmap, va, access, m)
        outcome = access_page(st, pmap, va, access)
