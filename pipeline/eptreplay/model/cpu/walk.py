"""The page walker of the CPU: what hardware does with an address, and which bits it sets.

An address of 48 bits is split into four indices of nine bits, one per level of tables, and an offset of twelve:

     47      39 38      30 29      21 20      12 11           0
    +----------+----------+----------+----------+--------------+
    | PML4E: 9 | PDPE: 9  |  PDE: 9  |  PTE: 9  |  offset: 12  |
    +----------+----------+----------+----------+--------------+
      level 4    level 3    level 2    level 1

Each index picks one of the 512 entries of a table, and the entry leads to the table of the next level.  The last entry is the
leaf: a PTE, which maps 4 KB, or a PDE with PG_PS set, which maps 2 MB, so that the offset has 21 bits.

Every access is walked here, and so sees the tables as they are now.  TLBs, where they are modelled (tlb.py), decide before
this whether there is a walk.

Source: SDM volume 3, 4.6 (access rights), 4.8 (accessed and dirty), 28.2.3 (EPT violations), 28.2.4 (A/D in EPT).
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import kernel, part
from eptreplay.model._numba.types import Int, Record
from eptreplay.model.pmap.entry import set_bits
from eptreplay.model.pmap.ptp import table_of
from eptreplay.model.state.pte import (
    INDEX_MASK,
    NO_BITS,
    NPTEPG,
    PDE_LEVEL,
    PG_PS,
    PML4SHIFT,
    PTE_LEVEL,
    VM_PROT_EXECUTE,
    VM_PROT_WRITE,
)
from eptreplay.model.state.state import State, account

LEVELS = 4
NINE_BITS = np.uint64(9)


@part
def _leaf_slot(st: State, pmap: Record, va: np.uint64, access: Int) -> tuple[Int, Int]:
    """Return level and slot of the leaf that translates an access, 0 and 0 if some level does not allow it."""
    needed = pmap.PG_READ
    forbidden = NO_BITS
    if access == VM_PROT_WRITE:
        needed = pmap.PG_WRITE
    elif access == VM_PROT_EXECUTE:
        needed = pmap.PG_FETCH
        forbidden = pmap.PG_NOFETCH

    table: Int = np.int64(pmap.pm_pml4)
    shift = PML4SHIFT
    for level in range(LEVELS, 0, -1):
        slot = table * NPTEPG + np.int64((va >> shift) & INDEX_MASK)
        entry = st.pt[slot]
        if (entry & needed) != needed or (entry & forbidden) != NO_BITS:
            return 0, 0
        if level == PTE_LEVEL or (level == PDE_LEVEL and (entry & PG_PS) != NO_BITS):
            return level, slot
        table = table_of(entry)
        shift -= NINE_BITS
    return 0, 0


@kernel
def walk(st: State, pmap: Record, va: np.uint64, access: Int) -> bool:
    """Translate one access: return whether every level allows it, and if so set A, and D for a write, in the leaf.

    Args:
        st: the host.
        pmap: the address space; its masks say what the format asks for.
        va: byte address.
        access: VM_PROT_READ, VM_PROT_WRITE or VM_PROT_EXECUTE.
    """
    level, slot = _leaf_slot(st, pmap, va, access)
    if level == 0:
        return False
    entry = st.pt[slot]
    after = entry | _bits_set_by(pmap, access)
    account(st).accessed_bits += np.int64(((after ^ entry) & pmap.PG_HW_A) != NO_BITS)
    if ((after ^ entry) & pmap.PG_HW_M) != NO_BITS:
        account(st).dirty_bits_4k += np.int64(level == PTE_LEVEL)
        account(st).dirty_bits_2m += np.int64(level == PDE_LEVEL)
    set_bits(st, slot, after)
    return True


@kernel
def walk_allows(st: State, pmap: Record, va: np.uint64, access: Int) -> bool:
    """Return whether a walk for an access (see walk) would be allowed at every level."""
    level, _ = _leaf_slot(st, pmap, va, access)
    return level != 0


@kernel
def walk_changes_nothing(st: State, pmap: Record, va: np.uint64, access: Int) -> bool:
    """Return whether a walk for an access (see walk) would be allowed at every level and set no bit."""
    level, slot = _leaf_slot(st, pmap, va, access)
    bits = _bits_set_by(pmap, access)
    return level != 0 and (st.pt[slot] & bits) == bits


@kernel
def _bits_set_by(pmap: Record, access: Int) -> np.uint64:
    """Return the bits that the CPU sets in a leaf for an access."""
    return pmap.PG_HW_A | (pmap.PG_HW_M if access == VM_PROT_WRITE else NO_BITS)
