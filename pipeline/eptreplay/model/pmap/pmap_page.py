"""What is asked of, or done to, one physical page in every address space that maps it.

Each function visits the superpages over the page (unless it is device memory, over which there are none) and the page's own
4 KB mappings, in list order: superpages first where it changes something, last where it only looks.

Source: pmap.c pmap_remove_all, pmap_remove_write, pmap_clear_modify, pmap_ts_referenced,
pmap_page_test_mappings, pmap_is_modified, pmap_is_referenced, pmap_page_wired_mappings,
pmap_page_is_mapped, pmap_page_exists_quick, FreeBSD 10.0.  What later releases do otherwise are facts of the pmap (release.py).
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import kernel, part
from eptreplay.model._numba.types import Int, Record
from eptreplay.model.page.vm_page import vm_page_dirty, vm_page_to_phys
from eptreplay.model.pmap.emulate import safe_to_clear_referenced
from eptreplay.model.pmap.entry import pde_clear_bits, pte_clear_bits, pte_load_clear
from eptreplay.model.pmap.invalidate import pmap_invalidate_page
from eptreplay.model.pmap.pmap_range import pmap_remove_pte
from eptreplay.model.pmap.ptp import pmap_free_zero_pages, pmap_pde, pmap_pde_to_pte, pmap_unwire_pt
from eptreplay.model.pmap.pv import free_pv_entry, page_is_mapped, pv_first, pv_next, pv_remove
from eptreplay.model.pmap.superpage import pmap_demote_pde
from eptreplay.model.state.pages import PG_FICTITIOUS, PGA_REFERENCED, PGA_WRITEABLE, VPO_UNMANAGED
from eptreplay.model.state.pte import INDEX_MASK, NO_BITS, NPTEPG, PAGE_SHIFT, PDRSHIFT, PG_W
from eptreplay.model.state.state import State

PMAP_TS_REFERENCED_MAX = 5  # references after which pmap_ts_referenced stops counting
EXISTS_QUICK_MAX = 16  # mappings that pmap_page_exists_quick looks at


@kernel
def _pv_slot_4k(st: State, pv: Int) -> Int:
    """Return the slot of the PTE behind a pv entry of a page's own list."""
    pmap = st.pmap[st.pv[pv].pv_pmap]
    va = st.pv[pv].pv_va
    return pmap_pde_to_pte(st, pmap_pde(st, pmap, va), va)


@kernel
def _pv_slot_2m(st: State, pv: Int) -> Int:
    """Return the slot of the PDE behind a pv entry of a block's list."""
    return pmap_pde(st, st.pmap[st.pv[pv].pv_pmap], st.pv[pv].pv_va)


@kernel
def _va_in_superpage(m: Int, va: np.uint64) -> np.uint64:
    """Return the address of page `m` in a superpage over its block that begins at `va`."""
    return va + (np.uint64(m % NPTEPG) << PAGE_SHIFT)


@kernel
def pmap_remove_all(st: State, m: Int) -> None:
    """Remove every mapping of a page, which inherits what the entries recorded of uses and writes."""
    block = m // NPTEPG
    if (st.page[m].oflags & PG_FICTITIOUS) == 0:
        pv = pv_first(st, st.pv_table[block])
        while pv != 0:
            pmap = st.pmap[st.pv[pv].pv_pmap]
            pmap_demote_pde(st, pmap, _pv_slot_2m(st, pv), st.pv[pv].pv_va)
            pv = pv_first(st, st.pv_table[block])
    pv = pv_first(st, st.page[m].pv_last)
    while pv != 0:
        _remove_first_mapping(st, m, pv)
        pv = pv_first(st, st.page[m].pv_last)
    st.page[m].aflags &= ~PGA_WRITEABLE
    pmap_free_zero_pages(st)


@kernel
def _remove_first_mapping(st: State, m: Int, pv: Int) -> None:
    """Remove the 4 KB mapping that heads a page's list."""
    pmap = st.pmap[st.pv[pv].pv_pmap]
    va = st.pv[pv].pv_va
    slot = _pv_slot_4k(st, pv)
    pmap.resident_count -= 1
    oldpte = pte_load_clear(st, pmap, va, slot)
    if (oldpte & PG_W) != NO_BITS:
        pmap.wired_count -= 1
    if (oldpte & pmap.PG_A) != NO_BITS:
        st.page[m].aflags |= PGA_REFERENCED
    if (oldpte & (pmap.PG_M | pmap.PG_RW)) == (pmap.PG_M | pmap.PG_RW):
        vm_page_dirty(st, m)
    pmap_unwire_pt(st, pmap, va, slot // NPTEPG)
    pmap_invalidate_page(st, pmap)
    last, pv = pv_remove(st, st.page[m].pv_last, pmap, va)
    st.page[m].pv_last = last
    free_pv_entry(st, pv)


@kernel
def _demote_writable(st: State, m: Int, write_protect: bool) -> None:
    """Demote the writable superpages over a page.

    With `write_protect`, the page's own 4 KB mapping that comes of it then loses the right to write, unless it is wired, so
    that a later write faults and can promote again.
    """
    block = m // NPTEPG
    pv = pv_first(st, st.pv_table[block])
    while pv != 0:
        following = pv_next(st, st.pv_table[block], pv)
        pmap = st.pmap[st.pv[pv].pv_pmap]
        base = st.pv[pv].pv_va
        pde = _pv_slot_2m(st, pv)
        oldpde = st.pt[pde]
        if (oldpde & pmap.PG_RW) != NO_BITS and pmap_demote_pde(st, pmap, pde, base):  # noqa: SIM102 - two subjects
            if write_protect and (oldpde & PG_W) == NO_BITS:
                va = _va_in_superpage(m, base)
                pte_clear_bits(st, pmap, va, pmap_pde_to_pte(st, pde, va), pmap.PG_M | pmap.PG_RW)
                vm_page_dirty(st, m)
                pmap_invalidate_page(st, pmap)
        pv = following


@kernel
def pmap_remove_write(st: State, m: Int) -> None:
    """Take the right to write from every mapping of a page; it is dirty if one had been written."""
    if (st.page[m].aflags & PGA_WRITEABLE) == 0:
        return
    if (st.page[m].oflags & PG_FICTITIOUS) == 0:
        _demote_writable(st, m, False)
    pv = pv_first(st, st.page[m].pv_last)
    while pv != 0:
        pmap = st.pmap[st.pv[pv].pv_pmap]
        slot = _pv_slot_4k(st, pv)
        oldpte = st.pt[slot]
        if (oldpte & pmap.PG_RW) != NO_BITS:
            pte_clear_bits(st, pmap, st.pv[pv].pv_va, slot, pmap.PG_RW | pmap.PG_M)
            if (oldpte & pmap.PG_M) != NO_BITS:
                vm_page_dirty(st, m)
            pmap_invalidate_page(st, pmap)
        pv = pv_next(st, st.page[m].pv_last, pv)
    st.page[m].aflags &= ~PGA_WRITEABLE


@kernel
def pmap_clear_modify(st: State, m: Int) -> None:
    """Clear the modified bit of every mapping of a page, so that the next write shows.

    4 KB mappings stay writable, and their modified bit is not passed on to the page.  A superpage is demoted and the mapping
    of the page write-protected, which makes the page dirty.
    """
    if (st.page[m].aflags & PGA_WRITEABLE) == 0:
        return
    if (st.page[m].oflags & PG_FICTITIOUS) == 0:
        _demote_writable(st, m, True)
    pv = pv_first(st, st.page[m].pv_last)
    while pv != 0:
        pmap = st.pmap[st.pv[pv].pv_pmap]
        slot = _pv_slot_4k(st, pv)
        if (st.pt[slot] & (pmap.PG_M | pmap.PG_RW)) == (pmap.PG_M | pmap.PG_RW):
            pte_clear_bits(st, pmap, st.pv[pv].pv_va, slot, pmap.PG_M)
            pmap_invalidate_page(st, pmap)
        pv = pv_next(st, st.page[m].pv_last, pv)


@kernel
def pmap_ts_referenced(st: State, m: Int) -> Int:
    """Count the mappings through which a page was used since the last call, and clear their accessed bits where possible.

    A superpage has one accessed bit for 512 pages.  It is cleared only on behalf of one of them, which a hash of page,
    address and pmap picks.  Where clearing the bit would leave an entry that the CPU rejects, the mapping is removed
    instead, so that the next access faults.
    """
    count: Int = 0
    if (st.page[m].oflags & PG_FICTITIOUS) == 0:
        count = _ts_referenced_2m(st, m)
        if count >= PMAP_TS_REFERENCED_MAX:
            return count
    first = pv_first(st, st.page[m].pv_last)
    pv = first
    while pv != 0:
        if first == 0:
            first = pv
        referenced, removed = _ts_referenced_pte(st, m, pv)
        count += referenced
        if not removed:
            st.page[m].pv_last = pv  # rotated: the head becomes the tail
        elif first == pv:
            first = 0
        pv = pv_first(st, st.page[m].pv_last)
        if pv == first or count >= PMAP_TS_REFERENCED_MAX:
            break
    pmap_free_zero_pages(st)
    return count


@kernel
def _pass_on_write(st: State, pmap: Record, m: Int, entry: np.uint64) -> None:
    """Make a page dirty that an entry says was written, where pmap_ts_referenced does so (PMAP.pm_ts_dirties)."""
    written = pmap.PG_M | pmap.PG_RW
    if pmap.pm_ts_dirties != 0 and (entry & written) == written:
        vm_page_dirty(st, m)


@kernel
def _ts_referenced_pte(st: State, m: Int, pv: Int) -> tuple[Int, bool]:
    """Return whether a 4 KB mapping was used (0 or 1), and whether it had to be removed to clear that."""
    pmap = st.pmap[st.pv[pv].pv_pmap]
    va = st.pv[pv].pv_va
    slot = _pv_slot_4k(st, pv)
    _pass_on_write(st, pmap, m, st.pt[slot])
    if (st.pt[slot] & pmap.PG_A) == NO_BITS:
        return 0, False
    if safe_to_clear_referenced(pmap, st.pt[slot]):
        pte_clear_bits(st, pmap, va, slot, pmap.PG_A)
        pmap_invalidate_page(st, pmap)
        return 1, False
    if (st.pt[slot] & PG_W) != NO_BITS:
        return 1, False  # a wired page is never paged out: its age does not matter
    pmap_remove_pte(st, pmap, va, slot)
    pmap_invalidate_page(st, pmap)
    return 1, True


@part
def _ts_referenced_2m(st: State, m: Int) -> Int:
    """Count the superpages over a page that were used, rotating their list."""
    block = m // NPTEPG
    count: Int = 0
    first = pv_first(st, st.pv_table[block])
    pv = first
    while pv != 0:
        if first == 0:
            first = pv
        referenced, demoted = _ts_referenced_pde(st, m, pv)
        count += referenced
        if not demoted:
            st.pv_table[block] = pv  # rotated: the head becomes the tail
        elif first == pv:
            first = 0
        pv = pv_first(st, st.pv_table[block])
        if pv == first or count >= PMAP_TS_REFERENCED_MAX:
            break
    return count


@part
def _ts_referenced_pde(st: State, m: Int, pv: Int) -> tuple[Int, bool]:
    """Return whether a superpage was used (0 or 1), and whether it had to be demoted to clear that."""
    pmap = st.pmap[st.pv[pv].pv_pmap]
    base = st.pv[pv].pv_va
    pde = _pv_slot_2m(st, pv)
    _pass_on_write(st, pmap, m, st.pt[pde])
    if (st.pt[pde] & pmap.PG_A) == NO_BITS:
        return 0, False
    chosen = (vm_page_to_phys(st, m) >> PAGE_SHIFT) ^ (base >> PDRSHIFT) ^ pmap.pm_address
    if (chosen & INDEX_MASK) != NO_BITS or (st.pt[pde] & PG_W) != NO_BITS:
        return 1, False
    if safe_to_clear_referenced(pmap, st.pt[pde]):
        pde_clear_bits(st, pmap, base, pde, pmap.PG_A)
        pmap_invalidate_page(st, pmap)
        return 1, False
    if pmap_demote_pde(st, pmap, pde, base):
        va = _va_in_superpage(m, base)
        pmap_remove_pte(st, pmap, va, pmap_pde_to_pte(st, pde, va))
        pmap_invalidate_page(st, pmap)
    return 1, True


@kernel
def _page_test_mappings(st: State, m: Int, accessed: bool) -> bool:
    """Return whether any mapping of a page was used (`accessed`), or else may be written and was."""
    pv = pv_first(st, st.page[m].pv_last)
    while pv != 0:
        if _entry_shows(st.pmap[st.pv[pv].pv_pmap], st.pt[_pv_slot_4k(st, pv)], accessed):
            return True
        pv = pv_next(st, st.page[m].pv_last, pv)
    if (st.page[m].oflags & PG_FICTITIOUS) != 0:
        return False
    block = m // NPTEPG
    pv = pv_first(st, st.pv_table[block])
    while pv != 0:
        if _entry_shows(st.pmap[st.pv[pv].pv_pmap], st.pt[_pv_slot_2m(st, pv)], accessed):
            return True
        pv = pv_next(st, st.pv_table[block], pv)
    return False


@kernel
def _entry_shows(pmap: Record, entry: np.uint64, accessed: bool) -> bool:
    """Return whether a leaf entry shows a use (`accessed`) or a write."""
    mask = (pmap.PG_V | pmap.PG_A) if accessed else (pmap.PG_RW | pmap.PG_M)
    return (entry & mask) == mask


@kernel
def pmap_is_modified(st: State, m: Int) -> bool:
    """Return whether a page was written through a mapping that still shows it."""
    return (st.page[m].aflags & PGA_WRITEABLE) != 0 and _page_test_mappings(st, m, False)


@kernel
def pmap_is_referenced(st: State, m: Int) -> bool:
    """Return whether a page was used through a mapping that still shows it."""
    return _page_test_mappings(st, m, True)


@kernel
def pmap_page_wired_mappings(st: State, m: Int) -> Int:
    """Return how many mappings of a page are wired."""
    if (st.page[m].oflags & VPO_UNMANAGED) != 0:
        return 0
    count: Int = 0
    pv = pv_first(st, st.page[m].pv_last)
    while pv != 0:
        count += np.int64((st.pt[_pv_slot_4k(st, pv)] & PG_W) != NO_BITS)
        pv = pv_next(st, st.page[m].pv_last, pv)
    if (st.page[m].oflags & PG_FICTITIOUS) != 0:
        return count
    block = m // NPTEPG
    pv = pv_first(st, st.pv_table[block])
    while pv != 0:
        count += np.int64((st.pt[_pv_slot_2m(st, pv)] & PG_W) != NO_BITS)
        pv = pv_next(st, st.pv_table[block], pv)
    return count


@kernel
def pmap_page_is_mapped(st: State, m: Int) -> bool:
    """Return whether a page is mapped anywhere; False for unmanaged pages, whose mappings are not tracked."""
    return (st.page[m].oflags & VPO_UNMANAGED) == 0 and page_is_mapped(st, m)


@kernel
def pmap_page_exists_quick(st: State, pmap: Record, m: Int) -> bool:
    """Return whether one of the first 16 mappings of a page is in a given pmap."""
    loops = 0
    pv = pv_first(st, st.page[m].pv_last)
    while pv != 0:
        if st.pv[pv].pv_pmap == pmap.pm_id:
            return True
        loops += 1
        if loops >= EXISTS_QUICK_MAX:
            return False
        pv = pv_next(st, st.page[m].pv_last, pv)
    if (st.page[m].oflags & PG_FICTITIOUS) != 0:
        return False
    block = m // NPTEPG
    pv = pv_first(st, st.pv_table[block])
    while pv != 0:
        if st.pv[pv].pv_pmap == pmap.pm_id:
            return True
        loops += 1
        if loops >= EXISTS_QUICK_MAX:
            return False
        pv = pv_next(st, st.pv_table[block], pv)
    return False
