"""Reverse mappings: which address spaces map a page, and where.

A managed page has a list of its own 4 KB mappings, and shares with the 511 other pages of its 2 MB block a
list of the superpages over that block.  Order matters: pmap_ts_referenced visits mappings in list order
and rotates them.  A list is a ring that is named by its last entry (see PV_ENTRY): functions that change a list
take its last entry and return the new one.

Source: pmap.c pmap_pvh_remove, pmap_pvh_free, pmap_pv_demote_pde, pmap_pv_promote_pde, get_pv_entry, FreeBSD 10.0.
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import Int, Record
from eptreplay.model.state.pages import PGA_WRITEABLE
from eptreplay.model.state.pte import NPTEPG, PAGE_SIZE
from eptreplay.model.state.state import State


@kernel
def get_pv_entry(st: State, pmap: Record, va: np.uint64) -> Int:
    """Take a pv entry and fill it in for a mapping; it is on no list yet."""
    host = st.host[0]
    pv = np.int64(host.pv_free)
    if pv != 0:
        host.pv_free = st.pv[pv].pv_next
    elif host.pv_used < len(st.pv):
        pv = np.int64(host.pv_used)
        host.pv_used += 1
    else:
        host.exhausted = 1
    st.pv[pv].pv_va = va
    st.pv[pv].pv_pmap = pmap.pm_id
    return pv


@kernel
def free_pv_entry(st: State, pv: Int) -> None:
    """Give back a pv entry that is on no list."""
    st.pv[pv].pv_next = st.host[0].pv_free
    st.host[0].pv_free = pv


@kernel
def pv_first(st: State, last: Int) -> Int:
    """Return the head of a list, 0 if it is empty."""
    return np.int64(st.pv[last].pv_next) if last != 0 else 0


@kernel
def pv_next(st: State, last: Int, pv: Int) -> Int:
    """Return the entry after `pv` in a list, 0 if it is the last."""
    return np.int64(st.pv[pv].pv_next) if pv != last else 0


@kernel
def pv_append(st: State, last: Int, pv: Int) -> Int:
    """Put an entry at the tail of a list; return the list's new last entry."""
    if last == 0:
        st.pv[pv].pv_next = pv
    else:
        st.pv[pv].pv_next = st.pv[last].pv_next
        st.pv[last].pv_next = pv
    return pv


@kernel
def pv_remove(st: State, last: Int, pmap: Record, va: np.uint64) -> tuple[Int, Int]:
    """Take the entry of one mapping from a list; return the list's new last entry, and the entry (0: not found)."""
    before = last
    pv = pv_first(st, last)
    while pv != 0:
        if st.pv[pv].pv_pmap == pmap.pm_id and st.pv[pv].pv_va == va:
            if pv == before:
                return 0, pv
            st.pv[before].pv_next = st.pv[pv].pv_next
            return (before if pv == last else last), pv
        before = pv
        pv = pv_next(st, last, pv)
    return last, 0


@kernel
def pv_insert_page(st: State, pmap: Record, va: np.uint64, m: Int) -> None:
    """Record a new 4 KB mapping of a page."""
    st.page[m].pv_last = pv_append(st, st.page[m].pv_last, get_pv_entry(st, pmap, va))


@kernel
def pv_insert_pde(st: State, pmap: Record, va: np.uint64, m: Int) -> None:
    """Record a new 2 MB mapping of the block that page `m` begins."""
    block = m // NPTEPG
    st.pv_table[block] = pv_append(st, st.pv_table[block], get_pv_entry(st, pmap, va))


@kernel
def pv_free_page(st: State, pmap: Record, va: np.uint64, m: Int) -> None:
    """Drop the pv entry of a 4 KB mapping of a page (pmap_pvh_free)."""
    last, pv = pv_remove(st, st.page[m].pv_last, pmap, va)
    st.page[m].pv_last = last
    free_pv_entry(st, pv)


@kernel
def pv_free_pde(st: State, pmap: Record, va: np.uint64, m: Int) -> None:
    """Drop the pv entry of a 2 MB mapping of the block that page `m` begins (pmap_pvh_free)."""
    block = m // NPTEPG
    last, pv = pv_remove(st, st.pv_table[block], pmap, va)
    st.pv_table[block] = last
    free_pv_entry(st, pv)


@kernel
def page_is_mapped(st: State, m: Int) -> bool:
    """Return whether a page is on the list of any mapping, of 4 KB or 2 MB."""
    return st.page[m].pv_last != 0 or st.pv_table[m // NPTEPG] != 0


@kernel
def clear_writeable_if_unmapped(st: State, m: Int) -> None:
    """Clear PGA_WRITEABLE of a page that has no mapping any more."""
    if not page_is_mapped(st, m):
        st.page[m].aflags &= ~PGA_WRITEABLE


@kernel
def pmap_pv_promote_pde(st: State, pmap: Record, va: np.uint64, m: Int) -> None:
    """Replace the pv entries of 512 4 KB mappings from page `m` by one of a 2 MB mapping.

    The first page's entry moves over; the others are freed.
    """
    last, pv = pv_remove(st, st.page[m].pv_last, pmap, va)
    st.page[m].pv_last = last
    block = m // NPTEPG
    st.pv_table[block] = pv_append(st, st.pv_table[block], pv)
    for k in range(1, NPTEPG):
        pv_free_page(st, pmap, va + np.uint64(k) * PAGE_SIZE, m + k)


@kernel
def pmap_pv_demote_pde(st: State, pmap: Record, va: np.uint64, m: Int) -> None:
    """Replace the pv entry of a 2 MB mapping of page `m`'s block by one for each of its 512 pages."""
    block = m // NPTEPG
    last, pv = pv_remove(st, st.pv_table[block], pmap, va)
    st.pv_table[block] = last
    st.page[m].pv_last = pv_append(st, st.page[m].pv_last, pv)
    for k in range(1, NPTEPG):
        pv_insert_page(st, pmap, va + np.uint64(k) * PAGE_SIZE, m + k)
