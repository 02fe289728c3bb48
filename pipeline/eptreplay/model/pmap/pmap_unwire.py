"""Unwiring a range: what releases after 10.0 have instead of pmap_change_wiring.

There is no operation that wires: a mapping is wired when it is entered so.

Source: pmap.c pmap_unwire, 14.0-CURRENT.
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import Int, Record
from eptreplay.model.pmap.entry import pde_clear_bits, pte_clear_bits
from eptreplay.model.pmap.pmap_range import pmap_change_wiring
from eptreplay.model.pmap.ptp import NULL, pmap_next_pde, pmap_pde_to_pte
from eptreplay.model.pmap.release import assert_that
from eptreplay.model.pmap.superpage import pmap_demote_pde
from eptreplay.model.state.pte import NBPDR, NO_BITS, NPTEPG, PAGE_SIZE, PG_PS, PG_W
from eptreplay.model.state.releases import ASSERT_UNWIRE
from eptreplay.model.state.state import State


@kernel
def pmap_unwire(st: State, pmap: Record, sva: np.uint64, eva: np.uint64) -> None:
    """Unwire every mapping of [sva, eva), all of which are wired; a whole superpage stays one.  Never invalidates."""
    va = sva
    while va < eva:
        pde, va_next = pmap_next_pde(st, pmap, va)
        if pde != NULL and (st.pt[pde] & pmap.PG_V) != NO_BITS:
            if (st.pt[pde] & PG_PS) == NO_BITS:
                _unwire_ptes(st, pmap, pde, va, min(va_next, eva))
            elif va + NBPDR == va_next and eva >= va_next:
                _unwire_pde(st, pmap, pde, va)
            elif pmap_demote_pde(st, pmap, pde, va):
                _unwire_ptes(st, pmap, pde, va, min(va_next, eva))
        va = va_next


@kernel
def _unwire_pde(st: State, pmap: Record, pde: Int, va: np.uint64) -> None:
    """Unwire a superpage in place."""
    assert_that(st, pmap, (st.pt[pde] & PG_W) != NO_BITS, ASSERT_UNWIRE)
    pde_clear_bits(st, pmap, va, pde, PG_W)
    pmap.wired_count -= NPTEPG


@kernel
def _unwire_ptes(st: State, pmap: Record, pde: Int, sva: np.uint64, eva: np.uint64) -> None:
    """Unwire the 4 KB mappings of [sva, eva), within one table."""
    slot = pmap_pde_to_pte(st, pde, sva)
    va = sva
    while va < eva:
        if (st.pt[slot] & pmap.PG_V) != NO_BITS:
            assert_that(st, pmap, (st.pt[slot] & PG_W) != NO_BITS, ASSERT_UNWIRE)
            pte_clear_bits(st, pmap, va, slot, PG_W)
            pmap.wired_count -= 1
        slot += 1
        va += PAGE_SIZE


@kernel
def unwire_page(st: State, pmap: Record, va: np.uint64) -> None:
    """Unwire the one page that is mapped at `va`, as the release does it."""
    if pmap.pm_unwires_pde != 0:
        pmap_unwire(st, pmap, va, va + PAGE_SIZE)
    else:
        pmap_change_wiring(st, pmap, va, False)
