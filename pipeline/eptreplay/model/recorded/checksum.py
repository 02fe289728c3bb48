"""What is compared of page tables: a checksum of the leaf entries, and a list of all entries.

Source: the definition in the recorded vectors (docs/conformance.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import entry_point, kernel
from eptreplay.model._numba.types import ZERO, Int, Record
from eptreplay.model.pmap.ptp import NULL, pmap_next_pde, table_of
from eptreplay.model.state.pte import (
    EMPTY,
    NO_BITS,
    NPTEPG,
    PAGE_SHIFT,
    PAGE_SIZE,
    PG_FRAME,
    PG_PS,
    VM_MAXUSER_ADDRESS,
)
from eptreplay.model.state.state import State, instance

MIX_ADDRESS = np.uint64(0x9E3779B97F4A7C15)
MIX_RESULT = np.uint64(0xBF58476D1CE4E5B9)
LEVEL_SHIFT = np.uint64(60)
PMAP_SHIFT = np.uint64(57)
HALF = np.uint64(32)


@kernel
def leaf_hash(raw: np.uint64, va: np.uint64, level: Int, pm_id: Int) -> np.uint64:
    """Return the contribution of one leaf entry to the checksum."""
    x = raw ^ ((va >> PAGE_SHIFT) * MIX_ADDRESS)
    x ^= (np.uint64(level) << LEVEL_SHIFT) ^ (np.uint64(pm_id) << PMAP_SHIFT)
    x *= MIX_RESULT
    return x ^ (x >> HALF)


@kernel
def pmap_state_sum(st: State, pmap: Record) -> np.uint64:
    """Return the checksum of one pmap: the sum, modulo 2^64, over its leaf entries that are not zero."""
    total = ZERO
    va = ZERO
    while va < VM_MAXUSER_ADDRESS:
        pde, va_next = pmap_next_pde(st, pmap, va)
        if pde != NULL and st.pt[pde] != EMPTY:
            if (st.pt[pde] & PG_PS) != NO_BITS:
                total += leaf_hash(st.pt[pde], va, 2, pmap.pm_id)
            else:
                table = table_of(st.pt[pde])
                for k in range(NPTEPG):
                    entry = st.pt[table * NPTEPG + k]
                    if entry != EMPTY:
                        total += leaf_hash(entry, va + np.uint64(k) * PAGE_SIZE, 1, pmap.pm_id)
        va = va_next
    return total


@entry_point
def state_sums(states: State, sums: NDArray[np.uint64]) -> None:
    """Write to `sums`, shape [instances], the sum of the checksums of all pmaps of each instance."""
    for number in range(len(sums)):
        st = instance(states, number)
        sums[number] = ZERO
        for pm in range(len(st.pmap)):
            sums[number] += pmap_state_sum(st, st.pmap[pm])


@entry_point
def dump_entries(
    st: State, pm_id: Int, levels: NDArray[np.uint8], vas: NDArray[np.uint64], raws: NDArray[np.uint64]
) -> Int:
    """List every entry of a pmap that is not zero, from the root down; return how many there are.

    Writes level, start address and raw entry to three arrays of equal length, as far as they reach.  The
    frame of an entry that points to a table is left out: where tables are has no meaning.
    """
    found = _dump_table(st, np.int64(st.pmap[pm_id].pm_pml4), ZERO, 4, 0, levels, vas, raws)
    for level in range(4, 1, -1):
        for i in range(min(found, len(levels))):
            if levels[i] == level and not (level == 2 and (raws[i] & PG_PS) != NO_BITS):
                found = _dump_table(st, table_of(raws[i]), vas[i], level - 1, found, levels, vas, raws)
                raws[i] &= ~PG_FRAME
    return found


@kernel
def _dump_table(
    st: State,
    table: Int,
    base: np.uint64,
    level: Int,
    found: Int,
    levels: NDArray[np.uint8],
    vas: NDArray[np.uint64],
    raws: NDArray[np.uint64],
) -> Int:
    """Append the entries of one table that are not zero; return the new count."""
    shift = np.uint64(12 + 9 * (level - 1))
    for k in range(NPTEPG):
        entry = st.pt[table * NPTEPG + k]
        if entry != EMPTY:
            if found < len(levels):
                levels[found] = level
                vas[found] = base + (np.uint64(k) << shift)
                raws[found] = entry
            found += 1
    return found
