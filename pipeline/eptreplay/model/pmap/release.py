"""What differs between releases: the facts of a pmap that later FreeBSDs decide otherwise, each worked out here alone.

Rules ask for these facts (PMAP), never for the release.  docs/releases.md lists the differences with the rule of each.

Source: pmap.c of FreeBSD 10.0 and of 14.0-CURRENT, July 2022; for FREEBSD_14_LATER the changes of pmap.c until October 2023, among
them 34eeabff5a86.
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import Int, Record
from eptreplay.model.state.pte import (
    EPT_PG_EXECUTE,
    NO_BITS,
    PG_PROMOTED,
    PG_W,
    PT_EPT,
    VM_PROT_ALL,
    VM_PROT_EXECUTE,
    VM_PROT_READ,
    VM_PROT_WRITE,
)
from eptreplay.model.state.releases import FREEBSD_10_0, FREEBSD_14_LATER
from eptreplay.model.state.state import State


@kernel
def pinit_release(st: State, pmap: Record) -> None:
    """Work out the facts of a pmap that depend on the release, for one whose other facts are known."""
    release = st.host[0].release
    _pinit_10_0(pmap)
    if release != FREEBSD_10_0:
        _pinit_14_0(pmap)
    if release == FREEBSD_14_LATER:
        _pinit_14_later(pmap)
    forbid_2m_x(st, pmap)


@kernel
def _pinit_10_0(pmap: Record) -> None:
    """Set the facts to what 10.0 does."""
    pmap.PG_PROMOTED = NO_BITS
    pmap.PG_PROMOTABLE = pmap.PG_A | pmap.PG_V
    pmap.PG_COPY_DROPS = PG_W
    pmap.PG_STALE_UNMANAGED = pmap.PG_A
    pmap.pm_root_resident = 0
    pmap.pm_2m_x_failure = 1
    pmap.pm_copy_mappings = 0
    pmap.pm_protect_keeps = VM_PROT_READ
    pmap.pm_protect_dirties = VM_PROT_WRITE | VM_PROT_EXECUTE
    pmap.pm_ts_dirties = 0
    pmap.pm_advise_last = 0
    pmap.pm_quick_promotes = 0
    pmap.pm_promotes_unused = 0
    pmap.pm_unwires_pde = 0
    pmap.pm_asserts = 0


@kernel
def _pinit_14_0(pmap: Record) -> None:
    """Set the facts that 14.0 changed."""
    pmap.PG_PROMOTED = PG_PROMOTED
    pmap.PG_COPY_DROPS = PG_W | pmap.PG_A
    pmap.PG_STALE_UNMANAGED = pmap.PG_V
    pmap.pm_root_resident = 1
    pmap.pm_copy_mappings = 1
    pmap.pm_protect_keeps = VM_PROT_ALL
    pmap.pm_protect_dirties = VM_PROT_WRITE
    pmap.pm_ts_dirties = 1
    pmap.pm_advise_last = 1
    pmap.pm_unwires_pde = 1
    pmap.pm_asserts = 1


@kernel
def _pinit_14_later(pmap: Record) -> None:
    """Set the facts that changed until October 2023: promotion asks for A in no PTE, and so compares it in none."""
    pmap.PG_PROMOTABLE = pmap.PG_V
    pmap.PG_PTE_PROMOTE &= ~pmap.PG_A
    pmap.pm_2m_x_failure = 0
    pmap.pm_quick_promotes = 1
    pmap.pm_promotes_unused = 1


@kernel
def forbid_2m_x(st: State, pmap: Record) -> None:
    """Work out which entries must not become superpages: executable ones in EPT, where the kernel forbids them.

    An executable 2 MB translation can crash the whole machine on CPUs that do not report IF_PSCHANGE_MC_NO (CVE-2018-12207).
    Every guest mapping is executable, so on these CPUs nothing of a guest is promoted.
    """
    forbidden = pmap.pm_type == PT_EPT and st.host[0].allow_2m_x_ept != 0
    pmap.PG_NO_2M = EPT_PG_EXECUTE if forbidden and st.host[0].release != FREEBSD_10_0 else NO_BITS


@kernel
def set_allow_2m_x_ept(st: State, value: Int) -> None:
    """Write the sysctl vm.pmap.allow_2m_x_ept of a running kernel; mappings that exist stay.  1 forbids, whatever the name says."""
    st.host[0].allow_2m_x_ept = np.int32(value)
    for pm in range(len(st.pmap)):
        forbid_2m_x(st, st.pmap[pm])


@kernel
def pmap_allow_2m_x_page(pmap: Record, entry: np.uint64) -> bool:
    """Return whether an entry may map 2 MB, as far as the 2m_x rule goes."""
    return (entry & pmap.PG_NO_2M) == NO_BITS


@kernel
def assert_that(st: State, pmap: Record, holds: bool, assertion: Int) -> None:
    """Note that something occurs that the kernel asserts never does; the first is kept (HOST.asserted)."""
    if pmap.pm_asserts != 0 and not holds and st.host[0].asserted == 0:
        st.host[0].asserted = np.int32(assertion)
