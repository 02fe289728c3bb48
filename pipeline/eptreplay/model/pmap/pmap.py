"""Address spaces: making one, and asking what one address maps to.

Mappings are entered in pmap_enter.py, and copied in pmap_copy.py.  What removes or restricts the mappings of a range is in
pmap_range.py, what concerns one physical page wherever it is mapped in pmap_page.py, accessed/dirty emulation in emulate.py.

Source: pmap.c pmap_pinit_type, pmap_extract, pmap_mincore, pmap_is_prefaultable, FreeBSD 10.0.
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import Int, Record
from eptreplay.model.pmap.ptp import (
    NULL,
    pmap_pde,
    pmap_pde_to_pte,
    pmap_pdpe,
    ptp_alloc,
)
from eptreplay.model.pmap.release import pinit_release
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
    NO_BITS,
    PAGE_MASK,
    PDE_LEVEL,
    PDRMASK,
    PG_FRAME,
    PG_MANAGED,
    PG_NX,
    PG_PS,
    PG_PS_FRAME,
    PG_U,
    PG_W,
    PMAP_EMULATE_AD_BITS,
    PMAP_PDE_SUPERPAGE,
    PMAP_SUPPORTS_EXEC_ONLY,
    PT_EPT,
    PT_X86,
    PTE_LEVEL,
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
from eptreplay.model.state.state import State

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
        pm_type: PT_X86, PT_EPT or PT_RVI.
        pm_flags: PMAP_* flags; PMAP_EMULATE_AD_BITS is for PT_EPT only.
        pm_address: what stands for its kernel address in the hash of pmap_ts_referenced; 9 bits matter.
    """
    pmap = st.pmap[pm_id]
    pmap.pm_id = pm_id
    pmap.pm_type = pm_type
    pmap.pm_flags = pm_flags
    pmap.pm_address = pm_address
    pmap.pm_nested = np.int32(pm_type != PT_X86)
    pmap.pm_emulate_ad_bits = np.int32((pm_flags & PMAP_EMULATE_AD_BITS) != 0)
    pmap.pm_ps_enabled = np.int32((pm_flags & PMAP_PDE_SUPERPAGE) != 0)
    pmap.pm_pml4 = ptp_alloc(st)
    if pm_type != PT_EPT:
        pmap.PG_V, pmap.PG_RW, pmap.PG_A, pmap.PG_M = X86_PG_V, X86_PG_RW, X86_PG_A, X86_PG_M
        pmap.PG_G = X86_PG_G if pm_type == PT_X86 else NO_BITS
        pmap.PG_CACHE_WB, pmap.PG_CACHE_UC = NO_BITS, X86_PG_NC_PCD | X86_PG_NC_PWT
        pmap.PG_PTE_PROMOTE = X86_PG_PTE_PAT | X86_PG_NC_PWT | X86_PG_NC_PCD
        pmap.PG_READ = X86_PG_V | X86_PG_U
        pmap.PG_WRITE = X86_PG_V | X86_PG_U | X86_PG_RW
        pmap.PG_FETCH = X86_PG_V | X86_PG_U
        pmap.PG_NOFETCH = PG_NX
        pmap.PG_HW_A, pmap.PG_HW_M = X86_PG_A, X86_PG_M
    else:
        if pmap.pm_emulate_ad_bits != 0:
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
    _pinit_rules(pmap)
    pinit_release(st, pmap)
    pmap.resident_count = pmap.pm_root_resident


@kernel
def _pinit_rules(pmap: Record) -> None:
    """Work out the masks that follow from the others: what promotion compares, and which leaves keep PG_A."""
    # The promotion rule: 512 PTEs become one PDE if they map 512 consecutive frames from a 2 MB boundary on, all of them
    # are valid and accessed, and they agree in every bit that the one PDE has to stand for: memory type, NX, managed,
    # wired, global, modified, accessed, user, writable, valid.  The rest of the rule is pmap_promote_pde.
    pmap.PG_PTE_PROMOTE |= PG_NX | PG_MANAGED | PG_W | pmap.PG_G
    pmap.PG_PTE_PROMOTE |= pmap.PG_M | pmap.PG_A | PG_U | pmap.PG_RW | pmap.PG_V
    # Emulated, PG_A is the right to read.  An entry that gives the right to write must give it, and so must one that
    # gives the right to execute, unless the CPU takes entries that can be executed only.
    pmap.PG_KEEPS_A = NO_BITS
    if pmap.pm_emulate_ad_bits != 0:
        pmap.PG_KEEPS_A = EPT_PG_WRITE
        if (pmap.pm_flags & PMAP_SUPPORTS_EXEC_ONLY) == 0:
            pmap.PG_KEEPS_A |= EPT_PG_EXECUTE


@kernel
def leaf_of(st: State, pmap: Record, va: np.uint64) -> tuple[Int, Int]:
    """Return the level (PTE_LEVEL, PDE_LEVEL; 0: none) and the slot of the valid leaf entry that maps an address."""
    pde = pmap_pde(st, pmap, va)
    if pde == NULL or (st.pt[pde] & pmap.PG_V) == NO_BITS:
        return 0, NULL
    if (st.pt[pde] & PG_PS) != NO_BITS:
        return PDE_LEVEL, pde
    slot = pmap_pde_to_pte(st, pde, va)
    if (st.pt[slot] & pmap.PG_V) == NO_BITS:
        return 0, NULL
    return PTE_LEVEL, slot


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
    if level == PDE_LEVEL:
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
