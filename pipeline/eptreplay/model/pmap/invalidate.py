"""Telling CPUs that a mapping changed: every invalidation of every address space ends here.

Translations of a guest stay in the TLB of a CPU even while it is not running the guest, and nobody can flush them from outside,
as is done for a process.  So the pmap counts its invalidations (`pm_eptgen`, the generation), every CPU compares that count with
the one it saw last before it enters the guest, and the CPUs that are in the guest right now get an IPI, so that they leave it
and compare (TLB shootdown).

Each invalidation is counted by its cause (`HOST.cause`).

Source: pmap.c pmap_invalidate_ept, pmap_invalidate_page, pmap_invalidate_range, pmap_invalidate_all, FreeBSD 10.0;
pmap_invalidate_pde_page, 14.0-CURRENT.
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import Int, Record
from eptreplay.model.state.pte import NO_BITS
from eptreplay.model.state.state import State, account

# Why an invalidation happens: HOST.cause, the first index of COUNTERS.invalidations and its like.
CAUSE_FAULT = 0  # a vCPU's own fault
CAUSE_AGING = 1  # references being collected: an aging sweep, an idle scan of the page daemon
CAUSE_HARVEST = 2  # dirty pages being collected
CAUSE_PAGE_DAEMON = 3  # pages being freed or written to swap
CAUSE_DEMOTION = 4  # a superpage that was removed instead of demoted, since it was never used
CAUSE_PROTECT = 5  # rights being taken from a range
CAUSE_UNMAP = 6  # a range being unmapped
CAUSE_ADVISE = 7  # a range declared as not needed
CAUSE_WIRING = 8  # pages being wired or unwired
CAUSE_HOST_ACCESS = 9  # the hypervisor reaching into the guest's memory

# How much is invalidated: second index of COUNTERS.invalidations.
KIND_PAGE = 0
KIND_RANGE = 1  # never under 10.0: no caller of pmap_invalidate_range has a guest's pmap
KIND_ALL = 2


@kernel
def _shoot_down(st: State, pmap: Record, kind: Int, times: Int) -> None:
    """Make every CPU that executes in the address space drop its translations, `times` times."""
    cause = st.host[0].cause
    cnt = account(st)
    if pmap.pm_process != 0:
        cnt.host_ipis += pmap.pm_active * times  # of the hypervisor process: not the guest's translations
        return
    cnt.invalidations[cause, kind] += times
    cnt.ipis_saved[cause] += (pmap.pm_vcpus - pmap.pm_active) * times
    ipis = pmap.pm_active * times
    pmap.pm_cause = cause
    if pmap.pm_nested != 0:
        pmap.pm_eptgen += times
        cnt.ipis += ipis
        cnt.ipis_by_cause[cause] += ipis
        cnt.invepts[cause] += ipis  # each CPU leaves the guest, enters it again and finds a new generation
    else:
        cnt.x86_ipis += ipis
        cnt.x86_ipis_by_cause[cause] += ipis


@kernel
def pmap_invalidate_page(st: State, pmap: Record) -> None:
    """Invalidate the translation of one page, 4 KB or 2 MB, in all CPUs."""
    pmap_invalidate_pages(st, pmap, 1)


@kernel
def pmap_invalidate_pages(st: State, pmap: Record, pages: Int) -> None:
    """Invalidate the translations of several pages, one after the other."""
    if pages != 0:
        account(st).inv_page += pages
        _shoot_down(st, pmap, KIND_PAGE, pages)


@kernel
def pmap_invalidate_range(st: State, pmap: Record) -> None:
    """Invalidate the translations of a range in all CPUs; one of 16 MB or more, which none is, would be pmap_invalidate_all."""
    account(st).inv_range += 1
    _shoot_down(st, pmap, KIND_RANGE, 1)


@kernel
def pmap_invalidate_pde_page(st: State, pmap: Record, pde: np.uint64) -> None:
    """Invalidate the translation of what was a superpage: CPUs may still hold 512 small ones of one that was promoted."""
    if (pde & pmap.PG_PROMOTED) != NO_BITS:
        pmap_invalidate_range(st, pmap)
    else:
        pmap_invalidate_page(st, pmap)


@kernel
def pmap_invalidate_all(st: State, pmap: Record) -> None:
    """Invalidate every translation of an address space in all CPUs."""
    account(st).inv_all += 1
    _shoot_down(st, pmap, KIND_ALL, 1)
