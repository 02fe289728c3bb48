"""Physical pages: addresses, allocation, the dirty field, and whether their 2 MB reservation is full.

Source: vm_page.c vm_page_dirty, vm_page_alloc; vm_reserv.c vm_reserv_level_iffullpop, FreeBSD 10.0.
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import Int
from eptreplay.model.state.pages import PG_ZERO
from eptreplay.model.state.pte import NPTEPG, PAGE_SHIFT
from eptreplay.model.state.state import State, account


@kernel
def phys_to_vm_page(st: State, pa: np.uint64) -> Int:
    """Return the page at a physical address (bytes)."""
    return np.int64((pa - st.host[0].pbase) >> PAGE_SHIFT)


@kernel
def vm_page_to_phys(st: State, m: Int) -> np.uint64:
    """Return the physical address of a page, bytes."""
    return st.host[0].pbase + (np.uint64(m) << PAGE_SHIFT)


@kernel
def vm_page_dirty(st: State, m: Int) -> None:
    """Mark a page dirty in the machine-independent field, whatever its page tables say."""
    st.page[m].dirty = 1
    account(st).dirty_calls += 1


@kernel
def vm_page_alloc(st: State, m: Int) -> None:
    """Give a page to an object, unless it has been given already."""
    if st.page[m].allocated == 0:
        st.page[m].allocated = 1
        st.reserv[m // NPTEPG] += 1
        account(st).pages_allocated += 1


@kernel
def take_zeroed(st: State, m: Int) -> bool:
    """Return whether a page that was just taken is all zero already, which it does not stay (PG_ZERO)."""
    zeroed = (st.page[m].oflags & PG_ZERO) != 0
    if zeroed:
        st.page[m].oflags &= ~PG_ZERO
    return bool(zeroed)


@kernel
def vm_page_free(st: State, m: Int) -> None:
    """Take an unmapped page from its object, and clear its flags and its dirty field."""
    if st.page[m].allocated != 0:
        st.page[m].allocated = 0
        st.reserv[m // NPTEPG] -= 1
    st.page[m].dirty = 0
    st.page[m].aflags = 0


@kernel
def vm_reserv_is_full(st: State, m: Int) -> bool:
    """Return whether a page is in a reservation all of whose 512 pages are allocated (vm_reserv_level_iffullpop)."""
    return st.reserv[m // NPTEPG] == NPTEPG and st.rv[m // NPTEPG].singly == 0
