"""Entering 2 MB at once after a fault (psind 1), which releases after 10.0 do.

Source: pmap.c pmap_enter with psind 1, pmap_enter_pde, 14.0-CURRENT; what FREEBSD_14_LATER adds is wiring.
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import Int, Record
from eptreplay.model.page.vm_page import vm_page_to_phys, vm_reserv_is_full
from eptreplay.model.pmap.entry import pte_store
from eptreplay.model.pmap.invalidate import pmap_invalidate_all, pmap_invalidate_pde_page
from eptreplay.model.pmap.pmap_range import pmap_remove_pte
from eptreplay.model.pmap.ptp import (
    pmap_allocpde,
    pmap_free_zero_pages,
    pmap_insert_pt_page,
    ptp_alloc,
    table_of,
)
from eptreplay.model.pmap.pv import pv_insert_pde
from eptreplay.model.pmap.release import assert_that, pmap_allow_2m_x_page
from eptreplay.model.pmap.superpage import pmap_remove_pde
from eptreplay.model.state.pages import PGA_WRITEABLE, VPO_UNMANAGED
from eptreplay.model.state.pte import (
    EMPTY,
    INDEX_MASK,
    NO_BITS,
    NPTEPG,
    PAGE_SIZE,
    PDRSHIFT,
    PG_MANAGED,
    PG_NX,
    PG_PS,
    PG_U,
    PG_W,
    VM_PROT_EXECUTE,
    VM_PROT_WRITE,
)
from eptreplay.model.state.releases import ASSERT_CLEAN_2M, ASSERT_NOT_FULL, ASSERT_WIRED_2M
from eptreplay.model.state.state import State, account

KERN_SUCCESS = 0
KERN_FAILURE = 5


@kernel
def pmap_enter_2m(st: State, pmap: Record, va: np.uint64, access: Int, m: Int, prot: Int, wired: bool) -> Int:
    """Map the full reservation that begins with page `m` at `va` at once, whatever was mapped there before.

    Even a superpage that is the same already is removed and entered again.  A later demotion finds no page-table page kept
    for it, unless it is wired: a wired mapping must not fail to be demoted for want of memory.

    Returns KERN_SUCCESS, or KERN_FAILURE, with nothing touched, where the 2m_x rule forbids it.

    Args:
        st: the host.
        pmap: the address space.
        va: byte address, a multiple of 2 MB.
        access: kind of access that asks for it; includes a write if `prot` does.
        m: the first page of a full reservation.
        prot: rights to give.
        wired: whether the mapping must stay.
    """
    assert_that(st, pmap, bool((prot & VM_PROT_WRITE & ~access) == 0), ASSERT_CLEAN_2M)
    assert_that(st, pmap, bool(m % NPTEPG == 0) and vm_reserv_is_full(st, m), ASSERT_NOT_FULL)
    assert_that(st, pmap, not wired or pmap.pm_promotes_unused != 0, ASSERT_WIRED_2M)
    newpde = _new_pde(st, pmap, access, m, prot, wired)
    if not pmap_allow_2m_x_page(pmap, newpde):
        return KERN_FAILURE
    table = pmap_allocpde(st, pmap, va)
    pde = table * NPTEPG + np.int64((va >> PDRSHIFT) & INDEX_MASK)
    if (st.pt[pde] & pmap.PG_V) != NO_BITS:
        _remove_all_under(st, pmap, pde, va)
    if wired:
        pmap_insert_pt_page(st, pde, ptp_alloc(st))
        pmap.resident_count += 1
        pmap.wired_count += NPTEPG
    if (newpde & PG_MANAGED) != NO_BITS:
        pv_insert_pde(st, pmap, va, m)
        if (newpde & pmap.PG_RW) != NO_BITS:
            for k in range(NPTEPG):
                st.page[m + k].aflags |= PGA_WRITEABLE
    pmap.resident_count += NPTEPG
    pte_store(st, pde, newpde)
    account(st).mappings += 1
    return KERN_SUCCESS


@kernel
def _new_pde(st: State, pmap: Record, access: Int, m: Int, prot: Int, wired: bool) -> np.uint64:
    """Return the PDE for the arguments of pmap_enter_2m."""
    newpde = vm_page_to_phys(st, m) | pmap.PG_CACHE_WB | PG_PS | pmap.PG_A | pmap.PG_V | PG_U
    if (st.page[m].oflags & VPO_UNMANAGED) == 0:
        newpde |= PG_MANAGED
    if (access & VM_PROT_WRITE) != 0:
        newpde |= pmap.PG_M
    if (prot & VM_PROT_WRITE) != 0:
        newpde |= pmap.PG_RW
    if (prot & VM_PROT_EXECUTE) == 0:
        newpde |= PG_NX
    if wired:
        newpde |= PG_W
    return newpde


@kernel
def _remove_all_under(st: State, pmap: Record, pde: Int, va: np.uint64) -> None:
    """Unmap whatever a PDE maps, and invalidate it: a superpage, or 4 KB pages."""
    oldpde = st.pt[pde]
    if (oldpde & PG_PS) != NO_BITS:
        pmap_remove_pde(st, pmap, pde, va)
        pmap_invalidate_pde_page(st, pmap, oldpde)
        pmap_free_zero_pages(st)
        return
    firstpte = table_of(oldpde) * NPTEPG
    for k in range(NPTEPG):
        if st.pt[firstpte + k] != EMPTY and pmap_remove_pte(
            st, pmap, va + np.uint64(k) * PAGE_SIZE, firstpte + k
        ):
            break
    pmap_invalidate_all(st, pmap)
    pmap_free_zero_pages(st)
