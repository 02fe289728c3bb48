"""Accessed and dirty bits for CPUs whose nested page tables have none.

Such a CPU (before Haswell) never writes to an EPT entry.  The pmap therefore lets the entry's own rights
stand for the bits: READ means accessed, WRITE means modified, and whether the mapping is valid and writable
at all is kept in bits 52 and 53, which the CPU ignores.  The first read or write after a right was taken
away makes an EPT violation, and pmap_emulate_accessed_dirty gives the right back.

What cannot be taken away (PMAP.PG_KEEPS_A): READ alone when WRITE is set (XWR = 010 and 110 are misconfigurations), and READ
when EXECUTE is set unless the CPU takes execute-only entries (XWR = 100).

Source: pmap.c pmap_emulate_accessed_dirty, safe_to_clear_referenced, FreeBSD 10.0; SDM volume 3, 28.2.3.1.
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import Int, Record
from eptreplay.model.page.vm_page import phys_to_vm_page
from eptreplay.model.pmap.entry import set_bits
from eptreplay.model.pmap.ptp import NULL, pmap_pde, pmap_pde_to_pte, table_of
from eptreplay.model.pmap.superpage import may_promote, pmap_promote_pde
from eptreplay.model.state.pte import (
    NO_BITS,
    PG_FRAME,
    PG_PS,
    VM_PROT_READ,
    VM_PROT_WRITE,
)
from eptreplay.model.state.state import State, account

HANDLED = 0
NOT_HANDLED = -1


@kernel
def pmap_emulate_accessed_dirty(st: State, pmap: Record, va: np.uint64, ftype: Int) -> Int:
    """Record an access in place of the CPU: HANDLED if the entry allows it now, NOT_HANDLED if vm_fault has to resolve it.

    Args:
        st: the host.
        pmap: the address space.
        va: byte address of the access.
        ftype: VM_PROT_READ or VM_PROT_WRITE; a fetch is never emulated.
    """
    if pmap.pm_emulate_ad_bits == 0:
        return NOT_HANDLED
    pde = pmap_pde(st, pmap, va)
    if pde == NULL or (st.pt[pde] & pmap.PG_V) == NO_BITS:
        return NOT_HANDLED

    if (st.pt[pde] & PG_PS) != NO_BITS:
        # A superpage that may be written is modified already; any other has to be demoted first.
        if ftype != VM_PROT_READ:
            return NOT_HANDLED
        set_bits(st, pde, pmap.PG_A)
        return HANDLED

    slot = pmap_pde_to_pte(st, pde, va)
    if (st.pt[slot] & pmap.PG_V) == NO_BITS:
        return NOT_HANDLED
    if ftype == VM_PROT_WRITE:
        if (st.pt[slot] & pmap.PG_RW) == NO_BITS:
            return NOT_HANDLED
        # Both at once: an entry with WRITE but not READ is a misconfiguration.
        account(st).dirty_bits_4k += np.int64((st.pt[slot] & pmap.PG_M) == NO_BITS)
        set_bits(st, slot, pmap.PG_M | pmap.PG_A)
    else:
        set_bits(st, slot, pmap.PG_A)

    m = phys_to_vm_page(st, st.pt[slot] & PG_FRAME)
    if may_promote(st, pmap, table_of(st.pt[pde]), m):
        pmap_promote_pde(st, pmap, pde, va)
    return HANDLED


@kernel
def safe_to_clear_referenced(pmap: Record, entry: np.uint64) -> bool:
    """Return whether the accessed bit of a leaf entry can be cleared and leave an entry that the CPU accepts."""
    return (entry & pmap.PG_KEEPS_A) == NO_BITS
