"""Telling CPUs that a mapping changed: every invalidation of every address space ends here.

A nested page table cannot be flushed from outside the way a process's can: translations of a guest stay in
the TLB of a CPU that is not running it.  So the pmap counts its invalidations (`pm_eptgen`), every CPU
compares that count with the one it saw last before it enters the guest, and the CPUs that are in the guest
right now are interrupted so that they come out and compare.

Source: pmap.c pmap_invalidate_ept, pmap_invalidate_page, pmap_invalidate_range, pmap_invalidate_all, FreeBSD 10.0.
"""

from __future__ import annotations

from eptreplay.model import pte
from eptreplay.model._jit import kernel
from eptreplay.model.state import Record, State

PT_EPT = pte.PT_EPT


@kernel
def _shoot_down(st: State, pmap: Record) -> None:
    """Make every CPU that runs in the address space forget its translations."""
    if pmap.pm_type == PT_EPT:
        pmap.pm_eptgen += 1
        st.cnt[0].ipis += pmap.pm_active
    else:
        st.cnt[0].x86_ipis += pmap.pm_active


@kernel
def pmap_invalidate_page(st: State, pmap: Record) -> None:
    """Invalidate the translation of one page, 4 KB or 2 MB, in all CPUs."""
    st.cnt[0].inv_page += 1
    _shoot_down(st, pmap)


@kernel
def pmap_invalidate_all(st: State, pmap: Record) -> None:
    """Invalidate every translation of an address space in all CPUs."""
    st.cnt[0].inv_all += 1
    _shoot_down(st, pmap)
