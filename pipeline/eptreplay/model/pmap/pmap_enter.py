"""Entering mappings: one page after a fault, quickly, or a whole object.

Source: pmap.c pmap_enter, pmap_enter_quick_locked, pmap_enter_object, pmap_object_init_pt, FreeBSD 10.0.
What later releases do otherwise are facts of the pmap (release.py); their entering of 2 MB after a fault is in pmap_enter_2m.py.
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import Int, Record
from eptreplay.model.page.vm_page import phys_to_vm_page, vm_page_dirty, vm_page_to_phys, vm_reserv_is_full
from eptreplay.model.pmap.entry import pte_load_store, pte_store
from eptreplay.model.pmap.invalidate import pmap_invalidate_page
from eptreplay.model.pmap.ptp import (
    NULL,
    pmap_alloc_pt,
    pmap_allocpde,
    pmap_pde,
    pmap_pde_to_pte,
    table_of,
)
from eptreplay.model.pmap.pv import clear_writeable_if_unmapped, pv_free_page, pv_insert_page
from eptreplay.model.pmap.superpage import (
    may_promote,
    pmap_demote_pde,
    pmap_enter_pde,
    pmap_promote_pde,
    pmap_ps_enabled,
)
from eptreplay.model.state.pages import PGA_REFERENCED, PGA_WRITEABLE, UNCACHEABLE, VPO_UNMANAGED
from eptreplay.model.state.pte import (
    EMPTY,
    INDEX_MASK,
    NBPDR,
    NO_BITS,
    NPTEPG,
    PAGE_MASK,
    PAGE_SHIFT,
    PDRMASK,
    PDRSHIFT,
    PG_FRAME,
    PG_MANAGED,
    PG_NX,
    PG_PS,
    PG_U,
    PG_W,
    VM_PROT_EXECUTE,
    VM_PROT_WRITE,
)
from eptreplay.model.state.state import State, account


@kernel
def pmap_enter(st: State, pmap: Record, va: np.uint64, access: Int, m: Int, prot: Int, wired: bool) -> None:
    """Map page `m` at `va`, whatever was there before, then try to promote.

    Left out of the original: locks, and what is done again after waiting for one, since a replay is one thread; assertions;
    mappings of kernel addresses (PG_G, and the panic where there is no table), since guests and processes have none.

    Args:
        st: the host.
        pmap: the address space.
        va: byte address.
        access: kind of access that asks for it; a write enters the mapping as modified.
        m: the page.
        prot: rights to give.
        wired: whether the mapping must stay.
    """
    va &= ~PAGE_MASK
    newpte = _new_pte(st, pmap, access, m, prot, wired)
    managed = (st.page[m].oflags & VPO_UNMANAGED) == 0

    pde = pmap_pde(st, pmap, va)
    if (
        pde == NULL
        or (st.pt[pde] & pmap.PG_V) == NO_BITS
        or ((st.pt[pde] & PG_PS) != NO_BITS and not pmap_demote_pde(st, pmap, pde, va))
    ):
        table = pmap_alloc_pt(st, pmap, va)
        pde = pmap_pde(st, pmap, va)
    else:
        table = table_of(st.pt[pde])
        st.ptp[table].wire_count += 1
    slot = pmap_pde_to_pte(st, pde, va)
    origpte = st.pt[slot]

    if (origpte & pmap.PG_V) != NO_BITS:
        pmap.wired_count += np.int64((newpte & PG_W) != NO_BITS) - np.int64((origpte & PG_W) != NO_BITS)
        st.ptp[table].wire_count -= 1
        if (origpte & PG_FRAME) == (newpte & PG_FRAME):
            if (origpte & PG_MANAGED) != NO_BITS:
                newpte |= PG_MANAGED
                if (newpte & pmap.PG_RW) != NO_BITS:
                    st.page[m].aflags |= PGA_WRITEABLE
            if ((origpte ^ newpte) & ~(pmap.PG_M | pmap.PG_A)) != NO_BITS:
                _replace_mapping(st, pmap, va, slot, newpte)
        else:
            newpte = _track_mapping(st, pmap, va, m, newpte, managed)
            _replace_mapping(st, pmap, va, slot, newpte)
    else:
        pmap.wired_count += np.int64((newpte & PG_W) != NO_BITS)
        pmap.resident_count += 1
        pte_store(st, slot, _track_mapping(st, pmap, va, m, newpte, managed))

    if may_promote(st, pmap, table, m):
        pmap_promote_pde(st, pmap, pde, va)


@kernel
def _new_pte(st: State, pmap: Record, access: Int, m: Int, prot: Int, wired: bool) -> np.uint64:
    """Return the PTE that pmap_enter makes of its arguments, not yet marked as managed."""
    newpte = vm_page_to_phys(st, m) | pmap.PG_A | pmap.PG_V | PG_U
    newpte |= pmap.PG_CACHE_UC if (st.page[m].oflags & UNCACHEABLE) != 0 else pmap.PG_CACHE_WB
    if (access & VM_PROT_WRITE) != 0:
        newpte |= pmap.PG_M
    if (prot & VM_PROT_WRITE) != 0:
        newpte |= pmap.PG_RW
    if (prot & VM_PROT_EXECUTE) == 0:
        newpte |= PG_NX
    if wired:
        newpte |= PG_W
    if (st.page[m].oflags & VPO_UNMANAGED) != 0 and (newpte & pmap.PG_RW) != NO_BITS:
        # Nobody asks whether device memory is dirty: spare the fault that would find out.
        newpte |= pmap.PG_M
    return newpte


@kernel
def _track_mapping(
    st: State, pmap: Record, va: np.uint64, m: Int, newpte: np.uint64, managed: bool
) -> np.uint64:
    """Record a new mapping of a page that is managed; return its entry, with PG_MANAGED then."""
    if not managed:
        return newpte
    pv_insert_page(st, pmap, va, m)
    if (newpte & pmap.PG_RW) != NO_BITS:
        st.page[m].aflags |= PGA_WRITEABLE
    return newpte | PG_MANAGED


@kernel
def _replace_mapping(st: State, pmap: Record, va: np.uint64, slot: Int, newpte: np.uint64) -> None:
    """Put a new PTE in the place of a valid one: save what the old one recorded, invalidate if CPUs may hold the old one."""
    origpte = pte_load_store(st, pmap, va, slot, newpte)
    written = (origpte & (pmap.PG_M | pmap.PG_RW)) == (pmap.PG_M | pmap.PG_RW)
    managed = (origpte & PG_MANAGED) != NO_BITS
    stale = pmap.PG_A
    if (origpte & PG_FRAME) != (newpte & PG_FRAME):
        if managed:
            om = phys_to_vm_page(st, origpte & PG_FRAME)
            if written:
                vm_page_dirty(st, om)
            if (origpte & pmap.PG_A) != NO_BITS:
                st.page[om].aflags |= PGA_REFERENCED
            pv_free_page(st, pmap, va, om)
            clear_writeable_if_unmapped(st, om)
        else:
            stale = pmap.PG_STALE_UNMANAGED
    elif (newpte & pmap.PG_M) == NO_BITS and written:
        # CPUs may still write through the old translation without setting the bit that is now clear.
        if managed:
            vm_page_dirty(st, phys_to_vm_page(st, origpte & PG_FRAME))
    elif (origpte & PG_NX) != NO_BITS or (newpte & PG_NX) == NO_BITS:
        return  # only rights were added
    if (origpte & stale) != NO_BITS:
        pmap_invalidate_page(st, pmap)


@kernel
def pmap_enter_quick(st: State, pmap: Record, va: np.uint64, m: Int, prot: Int) -> None:
    """Map page `m` at `va` read-only and unused, unless something is mapped there; promotes in releases that do so."""
    pde = pmap_pde(st, pmap, va)
    if pde != NULL and (st.pt[pde] & pmap.PG_V) != NO_BITS:
        if (st.pt[pde] & PG_PS) != NO_BITS:
            return
        table = table_of(st.pt[pde])
        st.ptp[table].wire_count += 1
    else:
        table = pmap_alloc_pt(st, pmap, va)
    slot = table * NPTEPG + np.int64((va >> PAGE_SHIFT) & INDEX_MASK)
    if st.pt[slot] != EMPTY:
        st.ptp[table].wire_count -= 1
        return
    newpte = vm_page_to_phys(st, m) | pmap.PG_CACHE_WB | pmap.PG_V | PG_U
    if (st.page[m].oflags & VPO_UNMANAGED) == 0:
        newpte |= PG_MANAGED
        pv_insert_page(st, pmap, va, m)
    if (prot & VM_PROT_EXECUTE) == 0:
        newpte |= PG_NX
    pmap.resident_count += 1
    pte_store(st, slot, newpte)
    if pmap.pm_quick_promotes != 0 and may_promote(st, pmap, table, m):
        pmap_promote_pde(st, pmap, pmap_pde(st, pmap, va), va)


@kernel
def pmap_enter_object(
    st: State, pmap: Record, start: np.uint64, end: np.uint64, m_start: Int, prot: Int
) -> None:
    """Map the resident pages of an object from `m_start` on into [start, end), 2 MB at a time where it can.

    The object is the one of all allocated managed pages; a page's place in it is its number.
    """
    if end <= start:
        return
    psize = np.int64((end - start) >> PAGE_SHIFT)
    m = m_start
    while m < m_start + psize and m < len(st.page):
        if m != m_start and (st.page[m].allocated == 0 or (st.page[m].oflags & VPO_UNMANAGED) != 0):
            m += 1
            continue
        va = start + (np.uint64(m - m_start) << PAGE_SHIFT)
        if (
            (va & PDRMASK) == NO_BITS
            and va + NBPDR <= end
            and m % NPTEPG == 0
            and pmap_ps_enabled(pmap)
            and vm_reserv_is_full(st, m)
            and pmap_enter_pde(st, pmap, va, m, prot)
        ):
            m += NPTEPG
        else:
            pmap_enter_quick(st, pmap, va, m, prot)
            m += 1


@kernel
def pmap_object_init_pt(st: State, pmap: Record, va: np.uint64, m: Int, size: np.uint64) -> None:
    """Map `size` bytes of device memory from page `m` by superpages, where both sides are 2 MB-aligned."""
    if ((va | size | vm_page_to_phys(st, m)) & PDRMASK) != NO_BITS or not pmap_ps_enabled(pmap):
        return
    pa = vm_page_to_phys(st, m)
    for _ in range(np.int64(size >> PDRSHIFT)):
        table = pmap_allocpde(st, pmap, va)
        pde = table * NPTEPG + np.int64((va >> PDRSHIFT) & INDEX_MASK)
        if (st.pt[pde] & pmap.PG_V) == NO_BITS:
            rights = pmap.PG_M | pmap.PG_A | PG_U | pmap.PG_RW | pmap.PG_V
            pte_store(st, pde, pa | pmap.PG_CACHE_WB | PG_PS | rights)
            pmap.resident_count += NPTEPG
            account(st).mappings += 1
        else:
            st.ptp[table].wire_count -= 1
        va += NBPDR
        pa += NBPDR
