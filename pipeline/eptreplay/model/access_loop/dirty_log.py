"""Dirty tracking: how a host learns what a guest wrote, and what that costs the guest afterwards.

There are two ways:

* a **harvest** asks every page (pmap_is_modified) and makes it clean (pmap_clear_modify), which demotes writable
  superpages, takes write access away and invalidates;
* **page-modification logging** (PML): whenever the processor sets a dirty bit in a leaf entry, it writes the address to a
  dirty log of 512 entries, one log per vCPU.  Before it sets any accessed or dirty bit, it checks whether the log is full,
  and if so there is a VM exit first.  Whoever collects the logs empties them.

Sources: pmap.c pmap_is_modified and pmap_clear_modify, FreeBSD 10.0; SDM volume 3, 28.2.5, page-modification logging.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import entry_point, kernel, part
from eptreplay.model._numba.arrays import allocated, array, assembled, structure_of_arrays
from eptreplay.model._numba.types import Int
from eptreplay.model.page.vm_page import vm_page_dirty
from eptreplay.model.pmap.invalidate import CAUSE_FAULT, CAUSE_HARVEST
from eptreplay.model.pmap.pmap_page import pmap_clear_modify, pmap_is_modified
from eptreplay.model.state.guest_pages import page_at
from eptreplay.model.state.pte import NPTEPG
from eptreplay.model.state.rows import OP_WRITE
from eptreplay.model.state.state import State, account, instance, instances_in
from eptreplay.model.statistics.intervals import IntervalStatistics, note_harvest
from eptreplay.model.vm.vm_fault import guest_access
from eptreplay.model.vm.vm_pageout import vm_pageout_if_woken

PML_ENTRIES = 512
NO_PML = -1


# fmt: off
@structure_of_arrays
class DirtyLog:
    """Dirty tracking in every instance: the logs of vCPUs, and what harvests did to pages."""

    pml: NDArray[np.int32] = array(
        np.int32, "instances", "vcpus", unit="entries", owner="access_loop/dirty_log",
        meaning="entries in each vCPU's log; NO_PML: the processor keeps none",
    )
    clean: NDArray[np.uint8] = array(
        np.uint8, "instances", "guest_pages", unit="flag", owner="access_loop/dirty_log",
        meaning="1: a harvest found it dirty and made it clean, and it was not written since",
    )
    split: NDArray[np.uint8] = array(
        np.uint8, "instances", "guest_blocks", unit="flag", owner="access_loop/dirty_log",
        meaning="1: a harvest demoted its superpage",
    )
    places: NDArray[np.int64]
# fmt: on


def new_dirty_log(pml: NDArray[np.bool_], pages: int, vcpus: int) -> DirtyLog:
    """Return empty logs.

    Args:
        pml: shape [instances]: whether the processor logs modifications.
        pages: flat guest pages.
        vcpus: virtual CPUs of all guests.
    """
    instances = len(pml)
    blocks = -(-pages // NPTEPG)
    logs = np.repeat(np.where(pml, 0, NO_PML).astype(np.int32)[:, None], vcpus, axis=1)
    lengths = {"instances": instances, "guest_pages": blocks * NPTEPG, "guest_blocks": blocks}
    return assembled(DirtyLog, allocated(DirtyLog, lengths, {"pml": logs}))


@part
def logged_access(
    st: State, log: DirtyLog, number: Int, guest: Int, gpa: np.uint64, op: Int, vcpu: Int, flat: Int
) -> None:
    """Make one access of a guest to its own memory in one instance, and record what dirty tracking sees of it and adds to it.

    Args:
        st: the instance.
        log: the logs of all instances.
        number: the instance's number.
        guest: the guest's number.
        gpa: guest-physical byte address.
        op: kind of access: 0 read, 1 write, 2 fetch.
        vcpu: the vCPU that makes it, a flat number.
        flat: the page of guest memory at that address.
    """
    st.host[0].guest = guest
    st.host[0].vcpu = vcpu
    st.host[0].cause = CAUSE_FAULT
    cnt = account(st)
    traps = cnt.traps
    promotions = cnt.promotions
    accessed_bits = cnt.accessed_bits
    dirty_bits = cnt.dirty_bits_4k + cnt.dirty_bits_2m
    guest_access(st, st.pmap[guest], gpa, op, flat)
    if log.pml[number, vcpu] != NO_PML:
        dirty = cnt.dirty_bits_4k + cnt.dirty_bits_2m != dirty_bits
        if dirty or cnt.accessed_bits != accessed_bits:
            pml_log(st, log.pml[number], vcpu, dirty)
    if cnt.harvests != 0 and log.clean[number, page_at(flat)] != 0:
        cnt.refaults += np.int64(cnt.traps != traps)
        log.clean[number, page_at(flat)] = np.uint8(op != OP_WRITE)
    if cnt.promotions != promotions and log.split[number, flat // NPTEPG] != 0:
        cnt.repromotions += 1
        log.split[number, flat // NPTEPG] = 0


@kernel
def pml_log(st: State, used: NDArray[np.int32], vcpu: Int, dirty: bool) -> None:
    """Record that the CPU sets a bit of an entry: a full log makes a VM exit first, and a dirty bit is logged."""
    if used[vcpu] == PML_ENTRIES:
        account(st).pml_exits += 1
        used[vcpu] = 0
    used[vcpu] += np.int32(dirty)
    account(st).pml_entries += np.int64(dirty)


@entry_point
def harvest(states: State, statistics: IntervalStatistics, log: DirtyLog) -> None:
    """In every instance, collect the pages that are dirty, in order, and make them clean, so that the next write shows again."""
    for guest in range(len(instance(states, 0).guests)):
        harvest_guest(states, statistics, log, guest)


@entry_point
def harvest_guest(states: State, statistics: IntervalStatistics, log: DirtyLog, guest: Int) -> None:
    """Harvest one guest in every instance."""
    for number in range(instances_in(states)):
        _harvest_instance(instance(states, number), log, number, guest)
        vm_pageout_if_woken(instance(states, number))
    known = instance(states, 0).guests[guest]
    note_harvest(statistics, states.fast_path, guest, np.int64(known.begin), np.int64(known.end))


@part
def _harvest_instance(st: State, log: DirtyLog, number: Int, guest: Int) -> None:
    """Harvest the pages of one guest in one instance, and empty the logs of its vCPUs."""
    known = st.guests[guest]
    st.host[0].guest = guest
    st.host[0].cause = CAUSE_HARVEST
    cnt = account(st)
    demotions = cnt.demotions
    ipis = cnt.ipis + cnt.x86_ipis
    invalidations = cnt.inv_page + cnt.inv_range + cnt.inv_all
    found: Int = 0
    for flat in range(known.begin, known.end, NPTEPG):
        found += _harvest_block(st, log, number, flat, min(flat + NPTEPG, known.end))
    cnt.dirty_last_harvest = found
    cnt.dirty_all_harvests += found
    cnt.sweeps += 1
    cnt.harvests += 1
    cnt.harvest_demotions += cnt.demotions - demotions
    cnt.harvest_ipis += cnt.ipis + cnt.x86_ipis - ipis
    cnt.harvest_invalidations += cnt.inv_page + cnt.inv_range + cnt.inv_all - invalidations
    for vcpu in range(known.first_vcpu, known.first_vcpu + known.vcpus):
        if log.pml[number, vcpu] != NO_PML:
            log.pml[number, vcpu] = 0


@part
def _harvest_block(st: State, log: DirtyLog, number: Int, first: Int, end: Int) -> Int:
    """Make the flat guest pages [first, end) of a block clean; return how many of them were dirty."""
    found: Int = 0
    demotions = account(st).demotions
    for flat in range(first, end):
        if st.object[page_at(flat)].frame > 0:
            dirty = _harvest_page(st, st.object[page_at(flat)].frame - 1)
            log.clean[number, page_at(flat)] |= np.uint8(dirty)
            found += dirty
    if account(st).demotions != demotions:
        log.split[number, first // NPTEPG] = 1
    return found


@part
def _harvest_page(st: State, m: Int) -> Int:
    """Make a page clean; return 1 if it was dirty, by its own field or by a mapping, else 0."""
    if st.page[m].dirty == 0 and pmap_is_modified(st, m):
        vm_page_dirty(st, m)
    dirty = np.int64(st.page[m].dirty)
    pmap_clear_modify(st, m)
    st.page[m].dirty = 0
    return dirty
