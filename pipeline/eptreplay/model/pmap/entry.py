"""Changing a leaf entry: the only place where the word of a leaf entry is written.

The access loop skips an access when `State.fast_path` says that one of its kind changes nothing.  That stays
right by construction: whatever may take something away from a leaf entry is written here, and here the
pages that the entry maps lose their NO_OP bits.  Adding a bit to an entry never disturbs.

Source of the operations: pte_load_clear, pte_load_store, atomic_clear_long, pde_store in pmap.h and pmap.c.
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import Int, Record
from eptreplay.model.state.fast_path import NO_OP
from eptreplay.model.state.pte import EMPTY, NPTEPG, PAGE_SHIFT
from eptreplay.model.state.state import State


@kernel
def _disturb(st: State, pmap: Record, va: np.uint64, pages: Int) -> None:
    """Make the next access to each of `pages` pages from `va` go through the model again."""
    first = np.int64(va >> PAGE_SHIFT)
    end = min(first + pages, pmap.pm_fast_path_pages)
    lost = np.uint8(0)
    for page in range(first, end):
        lost |= st.fast_path[pmap.pm_fast_path + page]
        st.fast_path[pmap.pm_fast_path + page] &= ~NO_OP
    st.host[0].disturbed |= np.int32(lost & NO_OP != 0)


@kernel
def pte_load_clear(st: State, pmap: Record, va: np.uint64, slot: Int) -> np.uint64:
    """Empty a PTE and return what was in it."""
    old = st.pt[slot]
    st.pt[slot] = EMPTY
    _disturb(st, pmap, va, 1)
    return old


@kernel
def pte_load_store(st: State, pmap: Record, va: np.uint64, slot: Int, new: np.uint64) -> np.uint64:
    """Replace a PTE and return what was in it."""
    old = st.pt[slot]
    st.pt[slot] = new
    _disturb(st, pmap, va, 1)
    return old


@kernel
def pte_clear_bits(st: State, pmap: Record, va: np.uint64, slot: Int, bits: np.uint64) -> None:
    """Clear bits of a PTE (atomic_clear_long)."""
    st.pt[slot] &= ~bits
    _disturb(st, pmap, va, 1)


@kernel
def pde_load_store(st: State, pmap: Record, va: np.uint64, slot: Int, new: np.uint64) -> np.uint64:
    """Replace the PDE of a superpage that begins at `va` by something weaker and return what was in it."""
    old = st.pt[slot]
    st.pt[slot] = new
    _disturb(st, pmap, va, NPTEPG)
    return old


@kernel
def pde_clear_bits(st: State, pmap: Record, va: np.uint64, slot: Int, bits: np.uint64) -> None:
    """Clear bits of the PDE of a superpage that begins at `va` (atomic_clear_long)."""
    st.pt[slot] &= ~bits
    _disturb(st, pmap, va, NPTEPG)


@kernel
def set_bits(st: State, slot: Int, bits: np.uint64) -> None:
    """Set bits of an entry; nothing that was allowed or recorded before is taken away."""
    st.pt[slot] |= bits
