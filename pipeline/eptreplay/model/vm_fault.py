"""What follows an access that the hardware refuses: the exit, A/D emulation, vm_fault.

Source: vmm.c vm_handle_paging, vm_fault.c vm_fault, FreeBSD 10.0.
"""

from __future__ import annotations

import numpy as np

from eptreplay.model import pte
from eptreplay.model._jit import kernel
from eptreplay.model.emulate import HANDLED, pmap_emulate_accessed_dirty
from eptreplay.model.pmap import pmap_enter
from eptreplay.model.state import Record, State
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


@kernel
def access_page(st: State, pmap: Record, va: np.uint64, access: int) -> int:
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
def vm_fault(st: State, pmap: Record, va: np.uint64, access: int, m: int) -> None:
    """Resolve a fault of a guest on its own memory: give it page `m`, dirty on a write, with every right."""
    vm_page_alloc(st, m)
    if access == VM_PROT_WRITE:
        vm_page_dirty(st, m)
    pmap_enter(st, pmap, va, access, m, VM_PROT_ALL, False)


@kernel
def guest_access(st: State, pmap: Record, va: np.uint64, access: int, m: int) -> int:
    """Make one access of a guest to its own memory, page `m`, and see it through: HIT, EMULATED or FAULTED."""
    outcome = access_page(st, pmap, va, access)
    if outcome != REFUSED:
        return outcome
    while outcome == REFUSED:
        vm_fault(st, pmap, va, access, m)
        outcome = access_page(st, pmap, va, access)
    return FAULTED
