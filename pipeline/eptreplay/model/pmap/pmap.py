"""Address spaces: making one, mapping pages into it, asking what it maps.

What removes or restricts mappings of a range stands in pmap_range.py, what concerns one physical page
wherever it is mapped in pmap_page.py, accessed/dirty emulation in emulate.py.

Source: pmap.c pmap_pinit_type, pmap_enter, pmap_enter_quick_locked, pmap_enter_object,
pmap_object_init_pt, pmap_copy, pmap_extract, pmap_mincore, pmap_is_prefaultable, FreeBSD 10.0.
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
    pmap_next_pde,
    pmap_pde,
    pmap_pde_to_pte,
    pmap_pdpe,
    pmap_unwire_pt,
    ptp_alloc,
    table_of,
)
from eptreplay.model.pmap.pv import clear_writeable_if_unmapped, pv_free_page, pv_insert_page, pv_insert_pde
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
    EPT_PG_A,
    EPT_PG_EMUL_RW,
    EPT_PG_EMUL_V,
    EPT_PG_EXECUTE,
    EPT_PG_IGNORE_PAT,
    EPT_PG_M,
    EPT_PG_MT_MASK,
    EPT_PG_MT_WB,
    EPT_PG_READ,
    EPT_PG_WRITE,
    INDEX_MASK,
    NBPDR,
    NO_BITS,
    NPTEPG,
    PAGE_MASK,
    PAGE_SHIFT,
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
    PMAP_EMULATE_AD_BITS,
    PT_X86,
    VM_PROT_EXECUTE,
    VM_PROT_WRITE,
    X86_PG_A,
    X86_PG_G,
    X86_PG_M,
    X86_PG_NC_PCD,
    X86_PG_NC_PWT,
    X86_PG_PTE_PAT,
    X86_PG_RW,
    X86_PG_U,
    X86_PG_V,
)
from eptreplay.model.state.state import State, account

# What pmap_mincore answers (sys/mman.h MINCORE_*).
MINCORE_INCORE = 0x01  # mapped
MINCORE_REFERENCED = 0x02  # used through this pmap
MINCORE_MODIFIED = 0x04  # written through this pmap
MINCORE_REFERENCED_OTHER = 0x08  # used by somebody
MINCORE_MODIFIED_OTHER = 0x10  # written by somebody
MINCORE_SUPER = 0x20  # by a superpage


@kernel
def pmap_pinit_type(st: State, pm_id: Int, pm_type: Int, pm_flags: Int, pm_address: Int) -> None:
    """Make an empty address space of one entry format, with the masks that its kind of CPU asks for.

    Args:
        st: the host it belongs to.
        pm_id: its number.
        pm_type: PT_X86 or PT_EPT.
        pm_flags: PMAP_* flags; PMAP_EMULATE_AD_BITS is for PT_EPT only.
        pm_address: what stands for its kernel address in the hash of pmap_ts_referenced; 9 bits matter.
    """
    pmap = st.pmap[pm_id]
    pmap.pm_id = pm_id
    pmap.pm_type = pm_type
    pmap.pm_flags = pm_flags
    pmap.pm_address = pm_address
    pmap.pm_pml4 = ptp_alloc(st)
    if pm_type == PT_X86:
        pmap.PG_V, pmap.PG_RW, pmap.PG_A, pmap.PG_M = X86_PG_V, X86_PG_RW, X86_PG_A, X86_PG_M
        pmap.PG_G, pmap.PG_CACHE_WB, pmap.PG_CACHE_UC = X86_PG_G, NO_BITS, X86_PG_NC_PCD | X86_PG_NC_PWT
        pmap.PG_PTE_PROMOTE = X86_PG_PTE_PAT | X86_PG_NC_PWT | X86_PG_NC_PCD
        pmap.PG_READ = X86_PG_V | X86_PG_U
        pmap.PG_WRITE = X86_PG_V | X86_PG_U | X86_PG_RW
        pmap.PG_FETCH = X86_PG_V | X86_PG_U
        pmap.PG_NOFETCH = PG_NX
        pmap.PG_HW_A, pmap.PG_HW_M = X86_PG_A, X86_PG_M
    else:
        if (pm_flags & PMAP_EMULATE_AD_BITS) != 0:
            # The CPU's own read and write rights stand for accessed and modified: taking them away is
            # what makes the next access leave the guest, so that software can record it.
            pmap.PG_V, pmap.PG_RW, pmap.PG_A, pmap.PG_M = (
                EPT_PG_EMUL_V,
                EPT_PG_EMUL_RW,
                EPT_PG_READ,
                EPT_PG_WRITE,
            )
            pmap.PG_HW_A, pmap.PG_HW_M = NO_BITS, NO_BITS
        else:
            pmap.PG_V, pmap.PG_RW, pmap.PG_A, pmap.PG_M = EPT_PG_READ, EPT_PG_WRITE, EPT_PG_A, EPT_PG_M
            pmap.PG_HW_A, pmap.PG_HW_M = EPT_PG_A, EPT_PG_M
        pmap.PG_G = NO_BITS
        pmap.PG_CACHE_WB = EPT_PG_IGNORE_PAT | EPT_PG_MT_WB
        pmap.PG_CACHE_UC = EPT_PG_IGNORE_PAT  # memory type 0
        pmap.PG_PTE_PROMOTE = EPT_PG_IGNORE_PAT | EPT_PG_MT_MASK
        pmap.PG_READ = EPT_PG_READ
        pmap.PG_WRITE = EPT_PG_WRITE
        pmap.PG_FETCH = EPT_PG_EXECUTE
        pmap.PG_NOFETCH = NO_BITS
    pmap.PG_PTE_PROMOTE |= PG_NX | PG_MANAGED | PG_W | pmap.PG_G
    pmap.PG_PTE_PROMOTE |= pmap.PG_M | pmap.PG_A | PG_U | pmap.PG_RW | pmap.PG_V


@kernel
def pmap_enter(st: State, pmap: Record, va: np.uint64, access: Int, m: Int, prot: Int, wired: bool) -> None:
    """Map page `m` at `va`, whatever was there before, then try to promote.

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
    managed = (st.page[m].oflags & VPO_UNMANAGED) == 0
    if not managed and (newpte & pmap.PG_RW) != NO_BITS:
        # Nobody asks whether device memory is dirty: spare the fault that would find out.
        newpte |= pmap.PG_M

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
def _track_mapping(
    st: State, pmap: Record, va: np.uint64, m: Int, newpte: np.uint64, managed: bool
) -> np.uint64:
    """Record a new mapping of a managed page; return its entry, marked as managed."""
    if not managed:
        return newpte
    pv_insert_page(st, pmap, va, m)
    if (newpte & pmap.PG_RW) != NO_BITS:
        st.page[m].aflags |= PGA_WRITEABLE
    return newpte | PG_MANAGED


@kernel
def _replace_mapping(st: State, pmap: Record, va: np.uint64, slot: Int, newpte: np.uint64) -> None:
    """Put a new PTE in the place of a valid one: save what the old one knew, invalidate if CPUs may differ."""
    origpte = pte_load_store(st, pmap, va, slot, newpte)
    written = (origpte & (pmap.PG_M | pmap.PG_RW)) == (pmap.PG_M | pmap.PG_RW)
    managed = (origpte & PG_MANAGED) != NO_BITS
    if (origpte & PG_FRAME) != (newpte & PG_FRAME):
        if managed:
            om = phys_to_vm_page(st, origpte & PG_FRAME)
            if written:
                vm_page_dirty(st, om)
            if (origpte & pmap.PG_A) != NO_BITS:
                st.page[om].aflags |= PGA_REFERENCED
            pv_free_page(st, pmap, va, om)
            clear_writeable_if_unmapped(st, om)
    elif (newpte & pmap.PG_M) == NO_BITS and written:
        # CPUs may still write through the old translation without setting the bit that is now clear.
        if managed:
            vm_page_dirty(st, phys_to_vm_page(st, origpte & PG_FRAME))
    elif (origpte & PG_NX) != NO_BITS or (newpte & PG_NX) == NO_BITS:
        return  # only rights were added
    if (origpte & pmap.PG_A) != NO_BITS:
        pmap_invalidate_page(st, pmap)


@kernel
def pmap_enter_quick(st: State, pmap: Record, va: np.uint64, m: Int, prot: Int) -> None:
    """Map page `m` at `va` read-only and unused, unless something is mapped there; never promotes."""
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


@kernel
def pmap_copy(st: State, dst: Record, src: Record, start: np.uint64, end: np.uint64) -> None:
    """Copy the managed mappings of [start, end) to the same place of another pmap: a hint, so parts may be left out.

    Emulated pmaps are left alone: a copy without A and M could be executable only, which some CPUs refuse.
    """
    if dst.pm_type != src.pm_type or (dst.pm_flags & PMAP_EMULATE_AD_BITS) != 0:
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
    """Copy one superpage, unwired, into an empty place."""
    table = pmap_allocpde(st, dst, va)
    pde = table * NPTEPG + np.int64((va >> PDRSHIFT) & INDEX_MASK)
    if st.pt[pde] != EMPTY:
        st.ptp[table].wire_count -= 1
        return
    if (srcpde & PG_MANAGED) != NO_BITS:
        pv_insert_pde(st, dst, va, phys_to_vm_page(st, srcpde & PG_PS_FRAME))
    pte_store(st, pde, srcpde & ~PG_W)
    dst.resident_count += NPTEPG


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


@kernel
def leaf_of(st: State, pmap: Record, va: np.uint64) -> tuple[Int, Int]:
    """Return the level (0 none, 1 PTE, 2 superpage) and the slot of the valid leaf entry that maps an address."""
    pde = pmap_pde(st, pmap, va)
    if pde == NULL or (st.pt[pde] & pmap.PG_V) == NO_BITS:
        return 0, NULL
    if (st.pt[pde] & PG_PS) != NO_BITS:
        return 2, pde
    slot = pmap_pde_to_pte(st, pde, va)
    if (st.pt[slot] & pmap.PG_V) == NO_BITS:
        return 0, NULL
    return 1, slot


@kernel
def pmap_extract(st: State, pmap: Record, va: np.uint64) -> np.uint64:
    """Return the physical address that `va` maps to; 0 where there is no table, the page offset where no PTE."""
    pdpe = pmap_pdpe(st, pmap, va)
    if pdpe == NULL or (st.pt[pdpe] & pmap.PG_V) == NO_BITS:
        return EMPTY
    pde = pmap_pde(st, pmap, va)
    if (st.pt[pde] & pmap.PG_V) == NO_BITS:
        return EMPTY
    if (st.pt[pde] & PG_PS) != NO_BITS:
        return (st.pt[pde] & PG_PS_FRAME) | (va & PDRMASK)
    return (st.pt[pmap_pde_to_pte(st, pde, va)] & PG_FRAME) | (va & PAGE_MASK)


@kernel
def pmap_mincore(st: State, pmap: Record, va: np.uint64) -> Int:
    """Return MINCORE_* flags: whether `va` is mapped, used, written, and by a superpage."""
    level, slot = leaf_of(st, pmap, va)
    if level == 0:
        return 0
    val = MINCORE_INCORE
    if level == 2:
        val |= MINCORE_SUPER
    if (st.pt[slot] & (pmap.PG_M | pmap.PG_RW)) == (pmap.PG_M | pmap.PG_RW):
        val |= MINCORE_MODIFIED | MINCORE_MODIFIED_OTHER
    if (st.pt[slot] & pmap.PG_A) != NO_BITS:
        val |= MINCORE_REFERENCED | MINCORE_REFERENCED_OTHER
    return val


@kernel
def pmap_is_prefaultable(st: State, pmap: Record, va: np.uint64) -> bool:
    """Return whether there is a page-table page for an address but no mapping."""
    pde = pmap_pde(st, pmap, va)
    if pde == NULL or (st.pt[pde] & (PG_PS | pmap.PG_V)) != pmap.PG_V:
        return False
    return (st.pt[pmap_pde_to_pte(st, pde, va)] & pmap.PG_V) == NO_BITS
