"""Device memory: a guest's accesses to the BARs of devices that were passed through to it.

The first access to a page of a BAR faults.  The pager of its object (OBJT_SG) makes a fictitious page for the physical
address, uncacheable, since nested tables ignore what the host's MTRRs say of it.  Then vm_fault maps it.  A page
that is not managed is entered as accessed and, if it may be written, as modified: nobody asks for these bits, so no later
access need fault to set them.  Until an event removes the mapping, no bit of it changes, whether the CPU sets accessed and
dirty bits or software emulates them.

Accesses of a guest to a BAR are no accesses to memory, and are counted separately (GUEST.bar_accesses).

Source: sg_pager.c sg_pager_getpages; vm_page.c vm_page_initfake; vm_fault.c vm_fault; amd64/vmm/vmm_mem.c
vmm_mmio_alloc, FreeBSD 10.0.
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import Int
from eptreplay.model.cpu.vmm import vm_enter, vm_exit
from eptreplay.model.pmap.invalidate import CAUSE_FAULT
from eptreplay.model.pmap.pmap_enter import pmap_enter
from eptreplay.model.state.guest_pages import page_at
from eptreplay.model.state.pages import PG_FICTITIOUS, UNCACHEABLE, VPO_UNMANAGED
from eptreplay.model.state.pte import PAGE_SHIFT
from eptreplay.model.state.state import State, account
from eptreplay.model.vm.vm_fault import REFUSED, access_page
from eptreplay.model.vm.vm_map_entry import max_protection
from eptreplay.model.vm.vm_pageout import vm_pageout_if_woken


@kernel
def device_access(st: State, guest: Int, vcpu: Int, bar: Int, page: Int, op: Int, accesses: Int) -> None:
    """Make an access of a guest to a page of a BAR, see it through and count it.

    Args:
        st: the host.
        guest: the guest's number.
        vcpu: the vCPU that makes it, a flat number.
        bar: number of the BAR.
        page: guest page, in the BAR.
        op: kind of access: 0 read, 1 write, 2 fetch.
        accesses: how many accesses it stands for.
    """
    st.host[0].guest = guest
    st.host[0].vcpu = vcpu
    st.host[0].cause = CAUSE_FAULT
    st.guests[guest].bar_accesses[bar, op] += accesses
    pmap = st.pmap[guest]
    va = np.uint64(page) << PAGE_SHIFT
    outcome = access_page(st, pmap, va, 1 << op)
    if outcome == REFUSED:
        seen = vm_exit(st, pmap)
        while outcome == REFUSED and _vm_fault(st, guest, bar, page, 1 << op):
            outcome = access_page(st, pmap, va, 1 << op)
        vm_pageout_if_woken(st)
        vm_enter(st, pmap, seen)


@kernel
def _vm_fault(st: State, guest: Int, bar: Int, page: Int, access: Int) -> bool:
    """Resolve a fault on a BAR with every right its entry gives; return whether the access may go on."""
    known = st.guests[guest]
    offset = page - known.bar_page[bar]
    rights = max_protection(bar) & ~st.object[page_at(known.bar_flat[bar] + offset)].taken
    if (access & ~rights) != 0:
        account(st).denied += 1
        return False
    m = _sg_pager_getpages(st, known.bar_frame[bar] + offset)
    pmap_enter(st, st.pmap[guest], np.uint64(page) << PAGE_SHIFT, access, m, rights, False)
    known.bar_faults[bar] += 1
    return True


@kernel
def _sg_pager_getpages(st: State, m: Int) -> Int:
    """Return page `m` as one that stands for device memory (vm_page_initfake)."""
    st.page[m].oflags = PG_FICTITIOUS | VPO_UNMANAGED | UNCACHEABLE
    return m
