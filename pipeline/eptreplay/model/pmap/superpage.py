"""Superpages: 512 PTEs that become one 2 MB PDE, and back.

Neither a promotion nor a demotion that succeeds invalidates anything: both page sizes translate alike.
A promotion keeps the page-table page that it replaces, so that a later demotion needs no memory.

Source: pmap.c pmap_promote_pde, pmap_demote_pde_locked, pmap_fill_ptp, pmap_remove_pde, pmap_protect_pde,
pmap_enter_pde, FreeBSD 10.0.  What later releases do otherwise are facts of the pmap (release.py).
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import Int, Record
from eptreplay.model.page.vm_page import phys_to_vm_page, vm_page_dirty, vm_page_to_phys, vm_reserv_is_full
from eptreplay.model.pmap.entry import pde_demote, pde_load_store, pde_promote, pte_clear_bits, pte_store
from eptreplay.model.pmap.invalidate import CAUSE_DEMOTION, pmap_invalidate_pde_page
from eptreplay.model.pmap.ptp import (
    pmap_allocpde,
    pmap_free_zero_pages,
    pmap_insert_pt_page,
    pmap_lookup_pt_page,
    pmap_pdpe,
    pmap_remove_pt_page,
    pmap_unwire_pd,
    ptp_alloc,
    ptp_free_used,
    ptp_zero,
    table_entry,
    table_of,
)
from eptreplay.model.pmap.pv import (
    clear_writeable_if_unmapped,
    pmap_pv_demote_pde,
    pmap_pv_promote_pde,
    pv_free_pde,
    pv_insert_pde,
    reserve_pv_entries,
)
from eptreplay.model.pmap.release import assert_that, pmap_allow_2m_x_page
from eptreplay.model.state.pages import PG_FICTITIOUS, PGA_REFERENCED, VPO_UNMANAGED
from eptreplay.model.state.pte import (
    EMPTY,
    INDEX_MASK,
    NO_BITS,
    NPTEPG,
    PAGE_SIZE,
    PDRMASK,
    PDRSHIFT,
    PG_FRAME,
    PG_MANAGED,
    PG_NX,
    PG_PS,
    PG_PS_FRAME,
    PG_U,
    PG_W,
    VM_PROT_EXECUTE,
    VM_PROT_WRITE,
)
from eptreplay.model.state.releases import ASSERT_UNREADABLE, ASSERT_WIRED_UNUSED
from eptreplay.model.state.state import State, account

PDR_FRAME_MASK = PG_FRAME & PDRMASK  # the part of a 4 KB frame that must be 0 in the first of 512


@kernel
def pmap_ps_enabled(pmap: Record) -> bool:
    """Return whether a pmap may hold superpages."""
    return pmap.pm_ps_enabled != 0


@kernel
def may_promote(st: State, pmap: Record, table: Int, m: Int) -> bool:
    """Return whether a promotion is worth trying after page `m` was entered into a page-table page.

    Both the page-table page and the page's reservation must be full, and the page must be real memory.
    """
    return (
        st.ptp[table].wire_count == NPTEPG
        and pmap_ps_enabled(pmap)
        and (st.page[m].oflags & PG_FICTITIOUS) == 0
        and vm_reserv_is_full(st, m)
    )


@kernel
def _write_protect_if_clean(st: State, pmap: Record, va: np.uint64, slot: Int) -> np.uint64:
    """Take the right to write from a PTE through which nothing was written; return the PTE as it is then.

    No CPU can hold a translation that writes through such an entry, so nothing need be invalidated.
    """
    if (st.pt[slot] & (pmap.PG_M | pmap.PG_RW)) == pmap.PG_RW:
        pte_clear_bits(st, pmap, va, slot, pmap.PG_RW)
    return st.pt[slot]


@kernel
def pmap_promote_pde(st: State, pmap: Record, pde: Int, va: np.uint64) -> None:
    """Try to replace the full page-table page behind a PDE by one 2 MB mapping.

    The first PTE decides what the other 511, which are looked at from the last to the second, must be like; in which bits
    they must agree is PMAP.PG_PTE_PROMOTE.  PTEs that were write-protected on the way stay so when a later one does not fit.
    The superpage is accessed if all of them are, which not every release asks for (PMAP.PG_PROMOTABLE).

    Left out of the original:

    * the loops around atomic_cmpset_long: nobody else changes an entry meanwhile;
    * the failure of pmap_insert_pt_page, which needs memory for a node of a radix tree: State.pm_root needs none;
    * pmap_swap_pat, which moves the PAT bit to its place in a PDE: no memory type of the model has that bit set;
    * workaround_erratum383, by which AMD family 10h gets an invalidation: no profile is such a CPU;
    * locks and assertions.
    """
    base = va & ~PDRMASK
    table = table_of(st.pt[pde])
    firstpte = table * NPTEPG
    usable = pmap.PG_PROMOTABLE

    if not pmap_allow_2m_x_page(pmap, st.pt[firstpte]):
        account(st).p_failures += pmap.pm_2m_x_failure
        return
    if (st.pt[firstpte] & (PDR_FRAME_MASK | usable)) != usable:
        account(st).p_failures += 1
        return
    newpde = _write_protect_if_clean(st, pmap, base, firstpte)
    of_all = newpde

    for k in range(NPTEPG - 1, 0, -1):
        offset = np.uint64(k) * PAGE_SIZE
        if (st.pt[firstpte + k] & (PG_FRAME | usable)) != (newpde & (PG_PS_FRAME | usable)) + offset:
            account(st).p_failures += 1
            return
        oldpte = _write_protect_if_clean(st, pmap, base + offset, firstpte + k)
        if (oldpte & pmap.PG_PTE_PROMOTE) != (newpde & pmap.PG_PTE_PROMOTE):
            account(st).p_failures += 1
            return
        of_all &= oldpte

    pmap_insert_pt_page(st, pde, table)
    if (newpde & PG_MANAGED) != NO_BITS:
        pmap_pv_promote_pde(st, pmap, base, phys_to_vm_page(st, newpde & PG_PS_FRAME))
    newpde |= PG_PS | pmap.PG_PROMOTED
    if (of_all & pmap.PG_A) != NO_BITS:
        pde_promote(st, pde, newpde)
    else:
        assert_that(st, pmap, (newpde & pmap.PG_KEEPS_A) == NO_BITS, ASSERT_UNREADABLE)
        pde_load_store(st, pmap, base, pde, newpde & ~pmap.PG_A)
    account(st).promotions += 1


@kernel
def pmap_fill_ptp(st: State, firstpte: Int, newpte: np.uint64) -> None:
    """Fill a page-table page with mappings of consecutive physical pages, the first as given."""
    for k in range(NPTEPG):
        pte_store(st, firstpte + k, newpte + np.uint64(k) * PAGE_SIZE)


@kernel
def _must_refill(st: State, pmap: Record, table: Int, newpte: np.uint64) -> bool:
    """Return whether a page-table page that was kept for a superpage must be filled before it takes its place.

    It must if it is new, or is not what the superpage is now; a superpage that was accessed as a whole makes all its PTEs so.
    """
    firstpte = table * NPTEPG
    if st.ptp[table].wire_count == 1:
        return True
    if (st.pt[firstpte] & pmap.PG_PTE_PROMOTE) != (newpte & pmap.PG_PTE_PROMOTE):
        return True
    return pmap.pm_promotes_unused != 0 and not _all_accessed(st, pmap, firstpte)


@kernel
def _all_accessed(st: State, pmap: Record, firstpte: Int) -> bool:
    """Return whether each of 512 PTEs is accessed."""
    of_all = pmap.PG_A
    for k in range(NPTEPG):
        of_all &= st.pt[firstpte + k]
    return of_all != NO_BITS


@kernel
def pmap_demote_pde(st: State, pmap: Record, pde: Int, va: np.uint64) -> bool:
    """Replace a 2 MB mapping by 512 of 4 KB; a mapping that was never used is removed instead.

    Returns False if the mapping was removed.

    Left out of the original: the failure to allocate a page-table page, since pools are large enough (HOST.exhausted tells
    if not); pmap_swap_pat, workaround_erratum383, locks and assertions, see
    pmap_promote_pde; the invalidation of the recursive mapping of the page-table page, which is for kernel addresses only.
    """
    base = va & ~PDRMASK
    oldpde = st.pt[pde]
    if (oldpde & pmap.PG_A) == NO_BITS:
        assert_that(st, pmap, (oldpde & PG_W) == NO_BITS, ASSERT_WIRED_UNUSED)
        pmap_remove_pde(st, pmap, pde, base)
        cause = st.host[0].cause
        st.host[0].cause = CAUSE_DEMOTION
        pmap_invalidate_pde_page(st, pmap, oldpde)
        st.host[0].cause = cause
        pmap_free_zero_pages(st)
        return False

    newpte = oldpde & ~PG_PS
    table = pmap_lookup_pt_page(st, pde)
    if table != 0:
        pmap_remove_pt_page(st, pde)
    else:
        table = ptp_alloc(st)
        pmap.resident_count += 1
    if _must_refill(st, pmap, table, newpte):
        st.ptp[table].wire_count = NPTEPG
        pmap_fill_ptp(st, table * NPTEPG, newpte)

    if (oldpde & PG_MANAGED) != NO_BITS:
        reserve_pv_entries(st, pmap, NPTEPG - 1)
    pde_demote(st, pde, (table_entry(pmap, table) & ~PG_U) | (oldpde & PG_U))
    if (oldpde & PG_MANAGED) != NO_BITS:
        pmap_pv_demote_pde(st, pmap, base, phys_to_vm_page(st, oldpde & PG_PS_FRAME))
    account(st).demotions += 1
    return True


@kernel
def pmap_remove_pde(st: State, pmap: Record, pde: Int, va: np.uint64) -> None:
    """Unmap a superpage, whose pages inherit what the entry recorded of uses and writes.  The caller invalidates."""
    oldpde = pde_load_store(st, pmap, va, pde, EMPTY)
    if (oldpde & PG_W) != NO_BITS:
        pmap.wired_count -= NPTEPG
    pmap.resident_count -= NPTEPG
    if (oldpde & PG_MANAGED) != NO_BITS:
        m = phys_to_vm_page(st, oldpde & PG_PS_FRAME)
        pv_free_pde(st, pmap, va, m)
        written = (oldpde & (pmap.PG_M | pmap.PG_RW)) == (pmap.PG_M | pmap.PG_RW)
        for k in range(NPTEPG):
            if written:
                vm_page_dirty(st, m + k)
            if (oldpde & pmap.PG_A) != NO_BITS:
                st.page[m + k].aflags |= PGA_REFERENCED
            clear_writeable_if_unmapped(st, m + k)
    table = pmap_lookup_pt_page(st, pde)
    if table != 0:
        pmap_remove_pt_page(st, pde)
        pmap.resident_count -= 1
        ptp_zero(st, table)
        ptp_free_used(st, table)
    pmap_unwire_pd(st, pmap, va, table_of(st.pt[pmap_pdpe(st, pmap, va)]))


@kernel
def pmap_protect_pde(st: State, pmap: Record, pde: Int, va: np.uint64, prot: Int) -> bool:
    """Reduce the rights of a superpage in place; return whether the entry changed.

    A superpage that was written makes its 512 pages dirty when it loses a right of PMAP.pm_protect_dirties.
    """
    oldpde = st.pt[pde]
    newpde = oldpde
    written = PG_MANAGED | pmap.PG_M | pmap.PG_RW
    if (oldpde & written) == written and (~prot & pmap.pm_protect_dirties) != 0:
        m = phys_to_vm_page(st, oldpde & PG_PS_FRAME)
        for k in range(NPTEPG):
            vm_page_dirty(st, m + k)
    if (prot & VM_PROT_WRITE) == 0:
        newpde &= ~(pmap.PG_RW | pmap.PG_M)
    if (prot & VM_PROT_EXECUTE) == 0:
        newpde |= PG_NX
    if newpde == oldpde:
        return False
    pde_load_store(st, pmap, va, pde, newpde & ~pmap.PG_PROMOTED)  # what CPUs hold is about to be invalidated
    return True


@kernel
def pmap_enter_pde(st: State, pmap: Record, va: np.uint64, m: Int, prot: Int) -> bool:
    """Map 2 MB from page `m` at once, read-only and not yet used.

    Returns False if the range has a PDE already, or the 2m_x rule forbids it.
    """
    if not pmap_allow_2m_x_page(pmap, PG_U):
        return False
    table = pmap_allocpde(st, pmap, va)
    pde = table * NPTEPG + np.int64((va >> PDRSHIFT) & INDEX_MASK)
    if (st.pt[pde] & pmap.PG_V) != NO_BITS:
        st.ptp[table].wire_count -= 1
        return False
    newpde = vm_page_to_phys(st, m) | pmap.PG_CACHE_WB | PG_PS | pmap.PG_V | PG_U
    if (st.page[m].oflags & VPO_UNMANAGED) == 0:
        newpde |= PG_MANAGED
        pv_insert_pde(st, pmap, va, m)
    if (prot & VM_PROT_EXECUTE) == 0:
        newpde |= PG_NX
    pmap.resident_count += NPTEPG
    pte_store(st, pde, newpde)
    account(st).mappings += 1
    return True
