"""Page-table pages: finding entries, making tables on demand, freeing them with their last entry.

How an address is split into the indices of four tables is drawn in cpu/walk.py.  The wire count of a page-table page is the number of valid entries in it.  The resident count of a pmap
includes every page-table page but the root.

Every page-table page is a page of the kernel's own (vm_reserv.py).  One that becomes empty is free when the whole operation is done,
the last of several first.

Source: pmap.c pmap_pml4e to pmap_pde_to_pte, _pmap_allocpte, pmap_allocpde, pmap_unwire_ptp,
pmap_unuse_pt, pmap_add_delayed_free_list, pmap_free_zero_pages, pmap_insert_pt_page, pmap_lookup_pt_page, pmap_remove_pt_page, FreeBSD 10.0.
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import ZERO, Int, Record
from eptreplay.model.page.vm_page import take_zeroed
from eptreplay.model.page.vm_reserv import vm_phys_alloc_wired, vm_phys_free_wired
from eptreplay.model.pmap.entry import link_table, pte_store, unlink_table
from eptreplay.model.state.pages import PG_ZERO
from eptreplay.model.state.pte import (
    EMPTY,
    INDEX_MASK,
    NBPDP,
    NBPDR,
    NBPML4,
    NO_BITS,
    NPTEPG,
    PAGE_SHIFT,
    PDPMASK,
    PDPSHIFT,
    PDRMASK,
    PDRSHIFT,
    PG_FRAME,
    PG_U,
    PML4MASK,
    PML4SHIFT,
    PTP_BASE,
)
from eptreplay.model.state.state import State

NULL = -1


@kernel
def table_of(entry: np.uint64) -> Int:
    """Return the page-table page that a non-leaf entry points to."""
    return np.int64(((entry & PG_FRAME) - PTP_BASE) >> PAGE_SHIFT)


@kernel
def table_entry(pmap: Record, table: Int) -> np.uint64:
    """Return the non-leaf entry that points to a page-table page: all rights, used and modified."""
    frame = PTP_BASE + (np.uint64(table) << PAGE_SHIFT)
    return np.uint64(frame | PG_U | pmap.PG_RW | pmap.PG_V | pmap.PG_A | pmap.PG_M)


@kernel
def pmap_pml4e(pmap: Record, va: np.uint64) -> Int:
    """Return the slot of the level-4 entry for an address."""
    return pmap.pm_pml4 * NPTEPG + np.int64((va >> PML4SHIFT) & INDEX_MASK)


@kernel
def pmap_pdpe(st: State, pmap: Record, va: np.uint64) -> Int:
    """Return the slot of the level-3 entry for an address, NULL without a table to hold it."""
    pml4e = st.pt[pmap_pml4e(pmap, va)]
    if (pml4e & pmap.PG_V) == NO_BITS:
        return NULL
    return table_of(pml4e) * NPTEPG + np.int64((va >> PDPSHIFT) & INDEX_MASK)


@kernel
def pmap_pde(st: State, pmap: Record, va: np.uint64) -> Int:
    """Return the slot of the level-2 entry for an address, NULL without a table to hold it."""
    pdpe = pmap_pdpe(st, pmap, va)
    if pdpe == NULL or (st.pt[pdpe] & pmap.PG_V) == NO_BITS:
        return NULL
    return table_of(st.pt[pdpe]) * NPTEPG + np.int64((va >> PDRSHIFT) & INDEX_MASK)


@kernel
def pmap_pde_to_pte(st: State, pde: Int, va: np.uint64) -> Int:
    """Return the slot of the level-1 entry for an address in the table that a level-2 entry points to."""
    return table_of(st.pt[pde]) * NPTEPG + np.int64((va >> PAGE_SHIFT) & INDEX_MASK)


@kernel
def pmap_next_pde(st: State, pmap: Record, va: np.uint64) -> tuple[Int, np.uint64]:
    """Return the slot of the level-2 entry for `va`, and where the next one's range begins.

    Without a table that could hold the entry the slot is NULL and everything the missing table would
    have covered is passed over.  The address of the next range stops at the last one there is.
    """
    pml4e = st.pt[pmap_pml4e(pmap, va)]
    if (pml4e & pmap.PG_V) == NO_BITS:
        return NULL, _next_boundary(va, NBPML4, PML4MASK)
    pdpe = st.pt[table_of(pml4e) * NPTEPG + np.int64((va >> PDPSHIFT) & INDEX_MASK)]
    if (pdpe & pmap.PG_V) == NO_BITS:
        return NULL, _next_boundary(va, NBPDP, PDPMASK)
    pde = table_of(pdpe) * NPTEPG + np.int64((va >> PDRSHIFT) & INDEX_MASK)
    return pde, _next_boundary(va, NBPDR, PDRMASK)


@kernel
def _next_boundary(va: np.uint64, size: np.uint64, mask: np.uint64) -> np.uint64:
    """Return the next multiple of `size` (a power of two, bytes) above `va`."""
    after = (va + size) & ~mask
    return after if after > va else ~ZERO


@kernel
def ptp_alloc(st: State) -> Int:
    """Take an empty page-table page; its wire count is 1, as vm_page_alloc(VM_ALLOC_WIRED) leaves it."""
    host = st.host[0]
    table = np.int64(host.ptp_free)
    if table != 0:
        host.ptp_free = st.ptp[table].next_free
    elif host.ptp_used < len(st.ptp):
        table = np.int64(host.ptp_used)
        host.ptp_used += 1
    else:
        host.exhausted = 1
    st.ptp[table].wire_count = 1
    m = vm_phys_alloc_wired(st)
    st.ptp[table].ptp_frame = m + 1
    if m >= 0:
        take_zeroed(st, m)
    return table


@kernel
def ptp_free(st: State, table: Int) -> None:
    """Give back a page-table page all of whose entries are zero, when the operation is done (pmap_add_delayed_free_list).

    The frame is known to be zero: a guest page that gets it next need not be filled (PG_ZERO).
    """
    if st.ptp[table].ptp_frame != 0:
        st.page[st.ptp[table].ptp_frame - 1].oflags |= PG_ZERO
    ptp_free_used(st, table)


@kernel
def ptp_free_used(st: State, table: Int) -> None:
    """Give back a page-table page in which the kernel has left entries, likewise; here they are zero, see ptp_zero."""
    st.ptp[table].wire_count = 0
    st.ptp[table].next_free = st.host[0].ptp_delayed
    st.host[0].ptp_delayed = table


@kernel
def pmap_free_zero_pages(st: State) -> None:
    """Free the page-table pages that became empty in an operation that is done now."""
    host = st.host[0]
    while host.ptp_delayed != 0:
        table = np.int64(host.ptp_delayed)
        host.ptp_delayed = st.ptp[table].next_free
        vm_phys_free_wired(st, np.int64(st.ptp[table].ptp_frame) - 1)
        st.ptp[table].next_free = host.ptp_free
        host.ptp_free = table


@kernel
def ptp_zero(st: State, table: Int) -> None:
    """Zero a page-table page that still holds the entries from before a promotion."""
    for slot in range(table * NPTEPG, (table + 1) * NPTEPG):
        pte_store(st, slot, EMPTY)


@kernel
def _pmap_alloc_pdp(st: State, pmap: Record, va: np.uint64) -> Int:
    """Make the level-3 table for an address."""
    table = ptp_alloc(st)
    link_table(st, pmap_pml4e(pmap, va), table_entry(pmap, table))
    pmap.resident_count += 1
    return table


@kernel
def _pmap_alloc_pd(st: State, pmap: Record, va: np.uint64) -> Int:
    """Make the level-2 table for an address, and after it the one above if it is missing."""
    table = ptp_alloc(st)
    pml4e = st.pt[pmap_pml4e(pmap, va)]
    if (pml4e & pmap.PG_V) == NO_BITS:
        _pmap_alloc_pdp(st, pmap, va)
    else:
        st.ptp[table_of(pml4e)].wire_count += 1
    link_table(st, pmap_pdpe(st, pmap, va), table_entry(pmap, table))
    pmap.resident_count += 1
    return table


@kernel
def pmap_alloc_pt(st: State, pmap: Record, va: np.uint64) -> Int:
    """Make the level-1 table for an address, and after it those above that are missing (_pmap_allocpte)."""
    table = ptp_alloc(st)
    pmap_allocpde(st, pmap, va)
    link_table(st, pmap_pde(st, pmap, va), table_entry(pmap, table))
    pmap.resident_count += 1
    return table


@kernel
def pmap_allocpde(st: State, pmap: Record, va: np.uint64) -> Int:
    """Return the level-2 table for an address with its wire count raised for one more entry."""
    pdpe = pmap_pdpe(st, pmap, va)
    if pdpe != NULL and (st.pt[pdpe] & pmap.PG_V) != NO_BITS:
        table = table_of(st.pt[pdpe])
        st.ptp[table].wire_count += 1
        return table
    return _pmap_alloc_pd(st, pmap, va)


@kernel
def pmap_unwire_pdp(st: State, pmap: Record, va: np.uint64, table: Int) -> None:
    """Count one entry less in a level-3 table and free it with the last one."""
    st.ptp[table].wire_count -= 1
    if st.ptp[table].wire_count == 0:
        unlink_table(st, pmap_pml4e(pmap, va))
        pmap.resident_count -= 1
        ptp_free(st, table)


@kernel
def pmap_unwire_pd(st: State, pmap: Record, va: np.uint64, table: Int) -> None:
    """Count one entry less in a level-2 table and free it, and what becomes empty above, with the last one."""
    st.ptp[table].wire_count -= 1
    if st.ptp[table].wire_count == 0:
        unlink_table(st, pmap_pdpe(st, pmap, va))
        pmap.resident_count -= 1
        pmap_unwire_pdp(st, pmap, va, table_of(st.pt[pmap_pml4e(pmap, va)]))
        ptp_free(st, table)


@kernel
def pmap_unwire_pt(st: State, pmap: Record, va: np.uint64, table: Int) -> bool:
    """Count one entry less in a level-1 table; free it with the last one and return whether that was it."""
    st.ptp[table].wire_count -= 1
    if st.ptp[table].wire_count != 0:
        return False
    unlink_table(st, pmap_pde(st, pmap, va))
    pmap.resident_count -= 1
    pmap_unwire_pd(st, pmap, va, table_of(st.pt[pmap_pdpe(st, pmap, va)]))
    ptp_free(st, table)
    return True


@kernel
def pmap_insert_pt_page(st: State, pde: Int, table: Int) -> None:
    """Keep the page-table page that a superpage replaces, for the time when it is demoted."""
    st.pm_root[pde] = table


@kernel
def pmap_lookup_pt_page(st: State, pde: Int) -> Int:
    """Return the page-table page kept for a superpage, 0 for none."""
    return np.int64(st.pm_root[pde])


@kernel
def pmap_remove_pt_page(st: State, pde: Int) -> None:
    """Take back the page-table page kept for a superpage."""
    st.pm_root[pde] = 0
