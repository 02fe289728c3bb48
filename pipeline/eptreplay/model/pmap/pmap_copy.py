"""Copying mappings from one address space to another.

Source: pmap.c pmap_copy, pmap_allocpte, FreeBSD 10.0.  What later releases do otherwise are facts of the pmap (release.py).
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import Int, Record
from eptreplay.model.page.vm_page import phys_to_vm_page
from eptreplay.model.pmap.entry import pte_store
from eptreplay.model.pmap.invalidate import pmap_invalidate_page
from eptreplay.model.pmap.ptp import (
    NULL,
    pmap_alloc_pt,
    pmap_allocpde,
    pmap_free_zero_pages,
    pmap_next_pde,
    pmap_pde,
    pmap_unwire_pt,
    table_of,
)
from eptreplay.model.pmap.pv import pv_insert_page, pv_insert_pde
from eptreplay.model.pmap.superpage import (
    pmap_demote_pde,
)
from eptreplay.model.state.pte import (
    EMPTY,
    INDEX_MASK,
    NBPDR,
    NO_BITS,
    NPTEPG,
    PAGE_SHIFT,
    PAGE_SIZE,
    PDRMASK,
    PDRSHIFT,
    PG_FRAME,
    PG_MANAGED,
    PG_PS,
    PG_PS_FRAME,
    PG_W,
)
from eptreplay.model.state.state import State, account


@kernel
def pmap_copy(st: State, dst: Record, src: Record, start: np.uint64, end: np.uint64) -> None:
    """Copy the managed mappings of [start, end) to the same place of another pmap: a hint, so parts may be left out.

    Emulated pmaps are left alone: a copy without A and M could be executable only, which some CPUs refuse.
    """
    if dst.pm_type != src.pm_type or dst.pm_emulate_ad_bits != 0:
        return
    va = start
    while va < end:
        pde, va_next = pmap_next_pde(st, src, va)
        if pde != NULL and st.pt[pde] != EMPTY:
            if (st.pt[pde] & PG_PS) == NO_BITS:
                if not _copy_ptes(st, dst, table_of(st.pt[pde]), va, min(va_next, end)):
                    return
            elif (va & PDRMASK) == NO_BITS and va + NBPDR <= end:
                _copy_pde(st, dst, st.pt[pde], va)
        va = va_next


@kernel
def _copy_pde(st: State, dst: Record, srcpde: np.uint64, va: np.uint64) -> None:
    """Copy one superpage, unwired, into an empty place; if managed, without PMAP.PG_COPY_DROPS."""
    table = pmap_allocpde(st, dst, va)
    pde = table * NPTEPG + np.int64((va >> PDRSHIFT) & INDEX_MASK)
    if st.pt[pde] != EMPTY:
        st.ptp[table].wire_count -= 1
        return
    drops = PG_W
    if (srcpde & PG_MANAGED) != NO_BITS:
        drops = dst.PG_COPY_DROPS
        pv_insert_pde(st, dst, va, phys_to_vm_page(st, srcpde & PG_PS_FRAME))
    pte_store(st, pde, srcpde & ~drops)
    dst.resident_count += NPTEPG
    account(st).mappings += dst.pm_copy_mappings


@kernel
def _copy_ptes(st: State, dst: Record, srctable: Int, start: np.uint64, end: np.uint64) -> bool:
    """Copy the managed PTEs of [start, end), within one table; return False when the whole copy must stop."""
    va = start
    while va < end:
        srcpte = st.pt[srctable * NPTEPG + np.int64((va >> PAGE_SHIFT) & INDEX_MASK)]
        if (srcpte & PG_MANAGED) != NO_BITS:
            table = pmap_allocpte(st, dst, va)
            slot = table * NPTEPG + np.int64((va >> PAGE_SHIFT) & INDEX_MASK)
            if st.pt[slot] != EMPTY:
                if pmap_unwire_pt(st, dst, va, table):
                    pmap_invalidate_page(st, dst)
                    pmap_free_zero_pages(st)
                return False
            pv_insert_page(st, dst, va, phys_to_vm_page(st, srcpte & PG_FRAME))
            pte_store(st, slot, srcpte & ~(PG_W | dst.PG_M | dst.PG_A))
            dst.resident_count += 1
            if st.ptp[table].wire_count >= st.ptp[srctable].wire_count:
                return True  # nothing more can be in the source's table
        va += PAGE_SIZE
    return True


@kernel
def pmap_allocpte(st: State, pmap: Record, va: np.uint64) -> Int:
    """Return the level-1 table for an address with its wire count raised, demoting a superpage in the way."""
    pde = pmap_pde(st, pmap, va)
    if pde == NULL or (st.pt[pde] & pmap.PG_V) == NO_BITS:
        return pmap_alloc_pt(st, pmap, va)
    if (st.pt[pde] & PG_PS) != NO_BITS and not pmap_demote_pde(st, pmap, pde, va):
        return pmap_alloc_pt(st, pmap, va)
    table = table_of(st.pt[pde])
    st.ptp[table].wire_count += 1
    return table
