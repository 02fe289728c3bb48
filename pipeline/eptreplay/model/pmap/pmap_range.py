"""Removing and restricting the mappings of a range of addresses of one address space.

Source: pmap.c pmap_remove_pte, pmap_remove, pmap_protect, pmap_advise, pmap_change_wiring,
pmap_remove_pages; sys/mman.h MADV_*, FreeBSD 10.0.  What later releases do otherwise are facts of the pmap (release.py); what
they have instead of pmap_change_wiring is in pmap_unwire.py.
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import ZERO, Int, Record
from eptreplay.model.page.vm_page import phys_to_vm_page, vm_page_dirty
from eptreplay.model.pmap.entry import pte_clear_bits, pte_load_clear, pte_load_store, set_bits
from eptreplay.model.pmap.invalidate import pmap_invalidate_all, pmap_invalidate_page
from eptreplay.model.pmap.ptp import (
    NULL,
    pmap_free_zero_pages,
    pmap_next_pde,
    pmap_pde,
    pmap_pde_to_pte,
    pmap_unwire_pt,
    table_of,
)
from eptreplay.model.pmap.pv import clear_writeable_if_unmapped, pv_free_page
from eptreplay.model.pmap.release import assert_that
from eptreplay.model.pmap.superpage import pmap_demote_pde, pmap_protect_pde, pmap_remove_pde
from eptreplay.model.state.pages import PGA_REFERENCED
from eptreplay.model.state.pte import (
    EMPTY,
    NBPDR,
    NO_BITS,
    NPTEPG,
    PAGE_SIZE,
    PG_FRAME,
    PG_MANAGED,
    PG_NX,
    PG_PS,
    PG_W,
    VM_MAXUSER_ADDRESS,
    VM_PROT_EXECUTE,
    VM_PROT_WRITE,
)
from eptreplay.model.state.releases import ASSERT_ACTIVE
from eptreplay.model.state.state import State

MADV_DONTNEED = 4
MADV_FREE = 5


@kernel
def pmap_remove_pte(st: State, pmap: Record, va: np.uint64, slot: Int) -> bool:
    """Unmap one 4 KB page, which inherits what the entry recorded of uses and writes.  The caller invalidates.

    Returns True if the page-table page went with its last entry.
    """
    oldpte = pte_load_clear(st, pmap, va, slot)
    if (oldpte & PG_W) != NO_BITS:
        pmap.wired_count -= 1
    pmap.resident_count -= 1
    if (oldpte & PG_MANAGED) != NO_BITS:
        m = phys_to_vm_page(st, oldpte & PG_FRAME)
        if (oldpte & (pmap.PG_M | pmap.PG_RW)) == (pmap.PG_M | pmap.PG_RW):
            vm_page_dirty(st, m)
        if (oldpte & pmap.PG_A) != NO_BITS:
            st.page[m].aflags |= PGA_REFERENCED
        pv_free_page(st, pmap, va, m)
        clear_writeable_if_unmapped(st, m)
    return pmap_unwire_pt(st, pmap, va, slot // NPTEPG)


@kernel
def pmap_remove(st: State, pmap: Record, sva: np.uint64, eva: np.uint64) -> None:
    """Unmap [sva, eva) with one invalidation, of a single page where it is one."""
    if pmap.resident_count == pmap.pm_root_resident:
        return
    if sva + PAGE_SIZE == eva:
        pde = pmap_pde(st, pmap, sva)
        if pde != NULL and (st.pt[pde] & PG_PS) == NO_BITS:
            _remove_page(st, pmap, sva, pde)
            pmap_free_zero_pages(st)
            return
    anyvalid = False
    va = sva
    while va < eva and pmap.resident_count != pmap.pm_root_resident:
        pde, va_next = pmap_next_pde(st, pmap, va)
        if pde != NULL and st.pt[pde] != EMPTY:
            if (st.pt[pde] & PG_PS) == NO_BITS:
                anyvalid |= _remove_ptes(st, pmap, pde, va, min(va_next, eva))
            elif va + NBPDR == va_next and eva >= va_next:
                pmap_remove_pde(st, pmap, pde, va)
                anyvalid = True
            elif pmap_demote_pde(st, pmap, pde, va):
                anyvalid |= _remove_ptes(st, pmap, pde, va, min(va_next, eva))
        va = va_next
    if anyvalid:
        pmap_invalidate_all(st, pmap)
    pmap_free_zero_pages(st)


@kernel
def _remove_page(st: State, pmap: Record, va: np.uint64, pde: Int) -> None:
    """Unmap the one 4 KB page at `va`, if there is one."""
    if (st.pt[pde] & pmap.PG_V) == NO_BITS:
        return
    slot = pmap_pde_to_pte(st, pde, va)
    if (st.pt[slot] & pmap.PG_V) == NO_BITS:
        return
    pmap_remove_pte(st, pmap, va, slot)
    pmap_invalidate_page(st, pmap)


@kernel
def _remove_ptes(st: State, pmap: Record, pde: Int, sva: np.uint64, eva: np.uint64) -> bool:
    """Unmap the 4 KB pages of [sva, eva), within one table; return whether there were any."""
    anyvalid = False
    slot = pmap_pde_to_pte(st, pde, sva)
    va = sva
    while va < eva:
        if st.pt[slot] != EMPTY:
            anyvalid = True
            if pmap_remove_pte(st, pmap, va, slot):
                break
        slot += 1
        va += PAGE_SIZE
    return anyvalid


@kernel
def pmap_protect(st: State, pmap: Record, sva: np.uint64, eva: np.uint64, prot: Int) -> None:
    """Restrict the mappings of [sva, eva) to the rights `prot`, or remove them without any of PMAP.pm_protect_keeps."""
    if (prot & pmap.pm_protect_keeps) == 0:
        pmap_remove(st, pmap, sva, eva)
        return
    if (prot & VM_PROT_WRITE) != 0 and (prot & VM_PROT_EXECUTE) != 0:
        return
    anychanged = False
    va = sva
    while va < eva:
        pde, va_next = pmap_next_pde(st, pmap, va)
        if pde != NULL and st.pt[pde] != EMPTY:
            if (st.pt[pde] & PG_PS) == NO_BITS:
                anychanged |= _protect_ptes(st, pmap, pde, va, min(va_next, eva), prot)
            elif va + NBPDR == va_next and eva >= va_next:
                anychanged |= pmap_protect_pde(st, pmap, pde, va, prot)
            elif pmap_demote_pde(st, pmap, pde, va):
                anychanged |= _protect_ptes(st, pmap, pde, va, min(va_next, eva), prot)
        va = va_next
    if anychanged:
        pmap_invalidate_all(st, pmap)


@kernel
def _protect_ptes(st: State, pmap: Record, pde: Int, sva: np.uint64, eva: np.uint64, prot: Int) -> bool:
    """Take rights from the PTEs of [sva, eva), within one table; return whether any changed."""
    anychanged = False
    written = PG_MANAGED | pmap.PG_M | pmap.PG_RW
    slot = pmap_pde_to_pte(st, pde, sva)
    va = sva
    while va < eva:
        obits = st.pt[slot]
        if (obits & pmap.PG_V) != NO_BITS:
            pbits = obits
            if (prot & VM_PROT_WRITE) == 0:
                if (obits & written) == written:
                    vm_page_dirty(st, phys_to_vm_page(st, obits & PG_FRAME))
                pbits &= ~(pmap.PG_RW | pmap.PG_M)
            if (prot & VM_PROT_EXECUTE) == 0:
                pbits |= PG_NX
            if pbits != obits:
                pte_load_store(st, pmap, va, slot, pbits)
                anychanged = True
        slot += 1
        va += PAGE_SIZE
    return anychanged


@kernel
def pmap_advise(st: State, pmap: Record, sva: np.uint64, eva: np.uint64, advice: Int) -> None:
    """Clear that the pages of [sva, eva) were used and written; with MADV_DONTNEED, writes are passed on to the pages first.

    Nothing is done in a pmap with emulated A/D bits, where clearing them takes more care than advice is worth.
    """
    if advice not in (MADV_DONTNEED, MADV_FREE) or pmap.pm_emulate_ad_bits != 0:
        return
    anychanged = False
    va = sva
    while va < eva:
        pde, va_next = pmap_next_pde(st, pmap, va)
        if pde != NULL and (st.pt[pde] & pmap.PG_V) != NO_BITS:
            oldpde = st.pt[pde]
            if (oldpde & PG_PS) == NO_BITS:
                anychanged |= _advise_ptes(st, pmap, pde, va, min(va_next, eva), advice)
            elif (oldpde & PG_MANAGED) != NO_BITS and pmap_demote_pde(st, pmap, pde, va):
                if (oldpde & PG_W) == NO_BITS:
                    # One page less, so that a later access to it can promote again.
                    unmapped = min(va_next, eva) - PAGE_SIZE if pmap.pm_advise_last != 0 else va
                    pmap_remove_pte(st, pmap, unmapped, pmap_pde_to_pte(st, pde, unmapped))
                    anychanged = True
                anychanged |= _advise_ptes(st, pmap, pde, va, min(va_next, eva), advice)
        va = va_next
    if anychanged:
        pmap_invalidate_all(st, pmap)


@kernel
def _advise_ptes(st: State, pmap: Record, pde: Int, sva: np.uint64, eva: np.uint64, advice: Int) -> bool:
    """Clear A and M in the managed PTEs of [sva, eva), within one table; return whether any changed."""
    anychanged = False
    slot = pmap_pde_to_pte(st, pde, sva)
    va = sva
    while va < eva:
        entry = st.pt[slot]
        if (entry & (PG_MANAGED | pmap.PG_V)) == (PG_MANAGED | pmap.PG_V):
            written = (entry & (pmap.PG_M | pmap.PG_RW)) == (pmap.PG_M | pmap.PG_RW)
            if written:
                if advice == MADV_DONTNEED:
                    vm_page_dirty(st, phys_to_vm_page(st, entry & PG_FRAME))
                pte_clear_bits(st, pmap, va, slot, pmap.PG_M | pmap.PG_A)
                anychanged = True
            elif (entry & pmap.PG_A) != NO_BITS:
                pte_clear_bits(st, pmap, va, slot, pmap.PG_A)
                anychanged = True
        slot += 1
        va += PAGE_SIZE
    return anychanged


@kernel
def pmap_change_wiring(st: State, pmap: Record, va: np.uint64, wired: bool) -> None:
    """Wire or unwire the mapping at `va`; a superpage in the other state is demoted first.  Never invalidates."""
    pde = pmap_pde(st, pmap, va)
    if (st.pt[pde] & PG_PS) != NO_BITS:
        if ((st.pt[pde] & PG_W) != NO_BITS) == wired:
            return
        pmap_demote_pde(st, pmap, pde, va)
    slot = pmap_pde_to_pte(st, pde, va)
    was = (st.pt[slot] & PG_W) != NO_BITS
    if wired and not was:
        set_bits(st, slot, PG_W)
        pmap.wired_count += 1
    elif was and not wired:
        pte_clear_bits(st, pmap, va, slot, PG_W)
        pmap.wired_count -= 1


@kernel
def pmap_remove_pages(st: State, pmap: Record) -> None:
    """Unmap every managed page that is not wired, as when a process ends; always invalidates once."""
    assert_that(st, pmap, bool(pmap.pm_active == 0), ASSERT_ACTIVE)
    va = ZERO
    while va < VM_MAXUSER_ADDRESS:
        pde, va_next = pmap_next_pde(st, pmap, va)
        if pde != NULL and (st.pt[pde] & pmap.PG_V) != NO_BITS:
            if (st.pt[pde] & PG_PS) != NO_BITS:
                if (st.pt[pde] & (PG_W | PG_MANAGED)) == PG_MANAGED:
                    _discard_pde(st, pmap, pde, va)
            else:
                _discard_ptes(st, pmap, table_of(st.pt[pde]), va)
        va = va_next
    pmap_invalidate_all(st, pmap)
    pmap_free_zero_pages(st)


@kernel
def _discard_pde(st: State, pmap: Record, pde: Int, va: np.uint64) -> None:
    """Unmap a superpage without passing on that it was used: the address space is going away."""
    pte_clear_bits(st, pmap, va, pde, pmap.PG_A)
    pmap_remove_pde(st, pmap, pde, va)


@kernel
def _discard_ptes(st: State, pmap: Record, table: Int, sva: np.uint64) -> None:
    """Unmap the managed, unwired pages of one table without passing on that they were used."""
    for k in range(NPTEPG):
        slot = table * NPTEPG + k
        if (st.pt[slot] & (PG_W | PG_MANAGED)) == PG_MANAGED:
            va = sva + np.uint64(k) * PAGE_SIZE
            pte_clear_bits(st, pmap, va, slot, pmap.PG_A)
            if pmap_remove_pte(st, pmap, va, slot):
                return
