"""Page-table entries: the only file that writes them, and so the only place that weakens a leaf.

The access loop skips an access when `State.fast_path` says that one of its kind changes nothing.  For that to be true, the
NO_OP bits of a page must go whenever something may be taken away from its leaf entry.  The functions of the first group here do
both at once, and only they may take something away.  Those of the second group take nothing away: they fill what was empty, add
bits, or replace an entry by one that allows and records the same.

Source of the operations: pte_load_clear, pte_load_store, pte_store, atomic_clear_long, atomic_set_long, pde_store and
pmap_update_pde in pmap.h and pmap.c, FreeBSD 10.0.
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import Int, Record
from eptreplay.model.state.fast_path import NO_OP
from eptreplay.model.state.guest_pages import page_at
from eptreplay.model.state.pte import EMPTY, NPTEPG, PAGE_SHIFT
from eptreplay.model.state.state import State


@kernel
def _weaken(st: State, pmap: Record, va: np.uint64, pages: Int) -> None:
    """Clear the NO_OP bits of `pages` pages from `va`: the next access to each of them takes the slow path."""
    first = np.int64(va >> PAGE_SHIFT)
    end = min(first + pages, pmap.pm_fast_path_pages)
    lost = np.uint8(0)
    for page in range(first, end):
        lost |= st.fast_path[page_at(pmap.pm_fast_path + page)]
        st.fast_path[page_at(pmap.pm_fast_path + page)] &= ~NO_OP
    st.host[0].disturbed |= np.int32(lost & NO_OP != 0)


# ---- what may weaken a leaf ----------------------------------------------------------------------


@kernel
def pte_load_clear(st: State, pmap: Record, va: np.uint64, slot: Int) -> np.uint64:
    """Empty a PTE and return what was in it."""
    old = st.pt[slot]
    st.pt[slot] = EMPTY
    _weaken(st, pmap, va, 1)
    return old


@kernel
def pte_load_store(st: State, pmap: Record, va: np.uint64, slot: Int, new: np.uint64) -> np.uint64:
    """Replace a PTE and return what was in it."""
    old = st.pt[slot]
    st.pt[slot] = new
    _weaken(st, pmap, va, 1)
    return old


@kernel
def pte_clear_bits(st: State, pmap: Record, va: np.uint64, slot: Int, bits: np.uint64) -> None:
    """Clear bits of a PTE (atomic_clear_long)."""
    st.pt[slot] &= ~bits
    _weaken(st, pmap, va, 1)


@kernel
def pde_load_store(st: State, pmap: Record, va: np.uint64, slot: Int, new: np.uint64) -> np.uint64:
    """Replace the PDE of a superpage that begins at `va` by something weaker and return what was in it."""
    old = st.pt[slot]
    st.pt[slot] = new
    _weaken(st, pmap, va, NPTEPG)
    return old


@kernel
def pde_clear_bits(st: State, pmap: Record, va: np.uint64, slot: Int, bits: np.uint64) -> None:
    """Clear bits of the PDE of a superpage that begins at `va` (atomic_clear_long)."""
    st.pt[slot] &= ~bits
    _weaken(st, pmap, va, NPTEPG)


# ---- what takes nothing away ---------------------------------------------------------------------


@kernel
def set_bits(st: State, slot: Int, bits: np.uint64) -> None:
    """Set bits of an entry (atomic_set_long): nothing that was allowed or recorded before is taken away."""
    st.pt[slot] |= bits


@kernel
def pte_store(st: State, slot: Int, new: np.uint64) -> None:
    """Fill an entry that was empty, or one of a table that no entry leads to yet: no access was a no-op because of it."""
    st.pt[slot] = new


@kernel
def pde_promote(st: State, slot: Int, new: np.uint64) -> None:
    """Replace a PDE that leads to 512 PTEs by a superpage that allows what each of them did (PG_PTE_PROMOTE)."""
    st.pt[slot] = new


@kernel
def pde_demote(st: State, slot: Int, table: np.uint64) -> None:
    """Replace the PDE of a superpage by one that leads to 512 PTEs, each of which allows what it did."""
    st.pt[slot] = table


@kernel
def link_table(st: State, slot: Int, table: np.uint64) -> None:
    """Let an entry that was empty lead to a page-table page without a valid entry."""
    st.pt[slot] = table


@kernel
def unlink_table(st: State, slot: Int) -> None:
    """Empty an entry that leads to a page-table page without a valid entry."""
    st.pt[slot] = EMPTY
