"""Single operations on a pmap, as a recording of a real kernel lists them, and what they leave behind.

A recording is a sequence of operations (code, arguments); after each, the model's answer and the visible
part of its state are written down in the same form, so that the two can be laid side by side.
docs/conformance.md describes every operation, argument and result.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import entry_point, kernel
from eptreplay.model._numba.types import ZERO, Int, Record, Records
from eptreplay.model.page.vm_page import vm_page_alloc, vm_page_free
from eptreplay.model.pmap.emulate import pmap_emulate_accessed_dirty
from eptreplay.model.pmap.pmap import (
    leaf_of,
    pmap_copy,
    pmap_enter,
    pmap_enter_object,
    pmap_enter_quick,
    pmap_extract,
    pmap_is_prefaultable,
    pmap_mincore,
    pmap_object_init_pt,
    pmap_pinit_type,
)
from eptreplay.model.pmap.pmap_page import (
    pmap_clear_modify,
    pmap_is_modified,
    pmap_is_referenced,
    pmap_page_exists_quick,
    pmap_page_is_mapped,
    pmap_page_wired_mappings,
    pmap_remove_all,
    pmap_remove_write,
    pmap_ts_referenced,
)
from eptreplay.model.pmap.pmap_range import (
    pmap_advise,
    pmap_change_wiring,
    pmap_protect,
    pmap_remove,
    pmap_remove_pages,
)
from eptreplay.model.recorded.checksum import pmap_state_sum
from eptreplay.model.state.pages import PGA_REFERENCED, PGA_WRITEABLE
from eptreplay.model.state.pte import NBPDR, NO_BITS, PAGE_SHIFT, PAGE_SIZE, PG_W, VM_PROT_ALL
from eptreplay.model.state.state import State, account
from eptreplay.model.vm.vm_fault import EMULATED, FAULTED, HIT, REFUSED, access_page


class Operation(IntEnum):
    """Codes of the operations."""

    ENTER = 1
    ENTER_RUN = 2
    REMOVE = 3
    PROTECT = 4
    REMOVE_ALL = 5
    REMOVE_WRITE = 6
    CLEAR_MODIFY = 7
    IS_MODIFIED = 8
    IS_REFERENCED = 9
    TS_REFERENCED = 10
    TS_RUN = 11
    CHANGE_WIRING = 12
    CHANGE_WIRING_RUN = 13
    ADVISE = 14
    EXTRACT = 15
    EMULATE_AD = 16
    ENTER_OBJECT = 17
    ENTER_QUICK = 18
    OBJECT_INIT_PT = 19
    MINCORE = 20
    COPY = 21
    ACCESS = 22
    ACCESS_FAULT = 23
    ACCESS_RUN = 24
    SET_ACTIVE = 25
    ALLOC_RUN = 26
    PAGE_FREE = 27
    UNDIRTY = 28
    REMOVE_PAGES = 29
    WIRED_MAPPINGS = 30
    IS_MAPPED = 31
    IS_PREFAULTABLE = 32
    EXISTS_QUICK = 33
    ACCESS_PERM_RUN = 34


# One operation.  `pm` is 255 and `page` -1 where an operation has none.
ARGUMENTS = np.dtype(
    [
        ("op", np.int64),  # code, see Operation
        ("pm", np.int64),  # number of the pmap
        ("va", np.uint64),  # byte address
        ("eva", np.uint64),  # end of the range, byte address
        ("page", np.int64),  # page
        ("n", np.int64),  # pages in a run
        ("prot", np.int64),  # rights, VM_PROT_*
        ("access", np.int64),  # kind of access, VM_PROT_*
        ("wired", np.int64),  # 0 or 1
        ("arg", np.uint64),  # advice, CPU mask, other pmap or stride
        ("want_sum", np.int64),  # 1: compute state_sum
    ],
    align=True,
)

# What an operation answered, and the state after it.
RESULTS = np.dtype(
    [
        ("ret", np.int64),
        ("leaf_level", np.int64),  # 0 nothing mapped at va, 1 a PTE, 2 a superpage
        ("leaf", np.uint64),  # that entry
        ("traps", np.int64),  # hardware faults taken in this operation, at most 255
        ("eptgen0", np.int64),
        ("eptgen1", np.int64),
        ("ipis", np.int64),
        ("x86_ipis", np.int64),
        ("resident0", np.int64),
        ("resident1", np.int64),
        ("wired0", np.int64),
        ("wired1", np.int64),
        ("promotions", np.int64),
        ("demotions", np.int64),
        ("mappings", np.int64),
        ("p_failures", np.int64),
        ("inv_page", np.int64),
        ("inv_range", np.int64),
        ("inv_all", np.int64),
        ("dirty_calls", np.int64),
        ("pg_dirty", np.int64),
        ("pg_ref", np.int64),
        ("pg_writeable", np.int64),
        ("state_sum", np.uint64),
    ],
    align=True,
)

NO_PAGE = -1
MOST_TRAPS = 255
RUN_SHIFT = 16

# Plain integers: a kernel reads members of an enumeration as constants only through names like these.
ENTER = int(Operation.ENTER)
ENTER_RUN = int(Operation.ENTER_RUN)
REMOVE = int(Operation.REMOVE)
PROTECT = int(Operation.PROTECT)
REMOVE_ALL = int(Operation.REMOVE_ALL)
REMOVE_WRITE = int(Operation.REMOVE_WRITE)
CLEAR_MODIFY = int(Operation.CLEAR_MODIFY)
IS_MODIFIED = int(Operation.IS_MODIFIED)
IS_REFERENCED = int(Operation.IS_REFERENCED)
TS_REFERENCED = int(Operation.TS_REFERENCED)
TS_RUN = int(Operation.TS_RUN)
CHANGE_WIRING = int(Operation.CHANGE_WIRING)
CHANGE_WIRING_RUN = int(Operation.CHANGE_WIRING_RUN)
ADVISE = int(Operation.ADVISE)
EXTRACT = int(Operation.EXTRACT)
EMULATE_AD = int(Operation.EMULATE_AD)
ENTER_OBJECT = int(Operation.ENTER_OBJECT)
ENTER_QUICK = int(Operation.ENTER_QUICK)
OBJECT_INIT_PT = int(Operation.OBJECT_INIT_PT)
MINCORE = int(Operation.MINCORE)
COPY = int(Operation.COPY)
ACCESS = int(Operation.ACCESS)
ACCESS_FAULT = int(Operation.ACCESS_FAULT)
ACCESS_RUN = int(Operation.ACCESS_RUN)
SET_ACTIVE = int(Operation.SET_ACTIVE)
ALLOC_RUN = int(Operation.ALLOC_RUN)
PAGE_FREE = int(Operation.PAGE_FREE)
UNDIRTY = int(Operation.UNDIRTY)
REMOVE_PAGES = int(Operation.REMOVE_PAGES)
WIRED_MAPPINGS = int(Operation.WIRED_MAPPINGS)
IS_MAPPED = int(Operation.IS_MAPPED)
IS_PREFAULTABLE = int(Operation.IS_PREFAULTABLE)
EXISTS_QUICK = int(Operation.EXISTS_QUICK)
ACCESS_PERM_RUN = int(Operation.ACCESS_PERM_RUN)


@entry_point
def run_operations(
    st: State, regions: NDArray[np.uint64], pmaps: Int, arguments: Records, results: Records
) -> Int:
    """Carry out operations in order and write down the answer and the state after each; return how many.

    They end before one that no kernel survives: pmap_change_wiring where it finds no mapping whose wiring it
    could change.

    Args:
        st: the host.
        regions: shape [pmaps, regions]: where each 2 MB region begins in each pmap, byte addresses; region r
            is home to pages 512 r to 512 r + 511.
        pmaps: how many address spaces there are, 1 or 2.
        arguments: ARGUMENTS [operations].
        results: RESULTS [operations], written for those carried out.
    """
    for i in range(len(arguments)):
        op = arguments[i]
        if op.op == CHANGE_WIRING and not _can_change_wiring(st, st.pmap[op.pm], op.va, op.wired != 0):
            return i
        before = account(st).traps
        results[i].ret = _page_operation(st, op) if op.pm >= pmaps else _pmap_operation(st, regions, op)
        results[i].traps = min(account(st).traps - before, MOST_TRAPS)
        _observe(st, pmaps, op, results[i])
        if st.host[0].exhausted != 0:
            return i
    return len(arguments)


@kernel
def _observe(st: State, pmaps: Int, op: Record, result: Record) -> None:
    """Write down the visible state."""
    if op.pm < pmaps and op.op not in (SET_ACTIVE, REMOVE_PAGES):
        level, slot = leaf_of(st, st.pmap[op.pm], op.va)
        result.leaf_level = level
        if level != 0:
            result.leaf = st.pt[slot]
    result.eptgen0 = st.pmap[0].pm_eptgen
    result.resident0 = st.pmap[0].resident_count
    result.wired0 = st.pmap[0].wired_count
    if pmaps > 1:
        result.eptgen1 = st.pmap[1].pm_eptgen
        result.resident1 = st.pmap[1].resident_count
        result.wired1 = st.pmap[1].wired_count
    cnt = account(st)
    result.ipis = cnt.ipis
    result.x86_ipis = cnt.x86_ipis
    result.promotions = cnt.promotions
    result.demotions = cnt.demotions
    result.mappings = cnt.mappings
    result.p_failures = cnt.p_failures
    result.inv_page = cnt.inv_page
    result.inv_range = cnt.inv_range
    result.inv_all = cnt.inv_all
    result.dirty_calls = cnt.dirty_calls
    result.pg_dirty = result.pg_ref = result.pg_writeable = NO_PAGE
    if op.page != NO_PAGE:
        m = st.page[op.page]
        result.pg_dirty = m.dirty
        result.pg_ref = np.int64((m.aflags & PGA_REFERENCED) != 0)
        result.pg_writeable = np.int64((m.aflags & PGA_WRITEABLE) != 0)
    if op.want_sum != 0:
        total = ZERO
        for pm in range(pmaps):
            total += pmap_state_sum(st, st.pmap[pm])
        result.state_sum = total


@kernel
def _page_operation(st: State, op: Record) -> Int:
    """Carry out an operation on a page, or a run of pages."""
    m = op.page
    ret: Int = 0
    if op.op == REMOVE_ALL:
        pmap_remove_all(st, m)
    elif op.op == REMOVE_WRITE:
        pmap_remove_write(st, m)
    elif op.op == CLEAR_MODIFY:
        pmap_clear_modify(st, m)
    elif op.op == IS_MODIFIED:
        ret = np.int64(pmap_is_modified(st, m))
    elif op.op == IS_REFERENCED:
        ret = np.int64(pmap_is_referenced(st, m))
    elif op.op == TS_REFERENCED:
        ret = pmap_ts_referenced(st, m)
    elif op.op == TS_RUN:
        for page in range(m, m + op.n):
            if st.page[page].allocated != 0:
                ret += pmap_ts_referenced(st, page)
    elif op.op == ALLOC_RUN:
        for page in range(m, m + op.n):
            vm_page_alloc(st, page)
    elif op.op == PAGE_FREE:
        pmap_remove_all(st, m)
        vm_page_free(st, m)
    elif op.op == UNDIRTY:
        st.page[m].dirty = 0
    elif op.op == WIRED_MAPPINGS:
        ret = pmap_page_wired_mappings(st, m)
    elif op.op == IS_MAPPED:
        ret = np.int64(pmap_page_is_mapped(st, m))
    return ret


@kernel
def _pmap_operation(st: State, regions: NDArray[np.uint64], op: Record) -> Int:
    """Carry out an operation on an address space."""
    pmap = st.pmap[op.pm]
    code = op.op
    ret: Int = 0
    if code in (ENTER, ENTER_RUN):
        for k in range(op.n if code == ENTER_RUN else 1):
            vm_page_alloc(st, op.page + k)
            va = op.va + (np.uint64(k) << PAGE_SHIFT)
            pmap_enter(st, pmap, va, op.access, op.page + k, op.prot, op.wired != 0)
    elif code == REMOVE:
        pmap_remove(st, pmap, op.va, op.eva)
    elif code == PROTECT:
        pmap_protect(st, pmap, op.va, op.eva, op.prot)
    elif code == CHANGE_WIRING:
        pmap_change_wiring(st, pmap, op.va, op.wired != 0)
    elif code == CHANGE_WIRING_RUN:
        ret = _change_wiring_run(st, pmap, op)
    elif code == ADVISE:
        pmap_advise(st, pmap, op.va, op.eva, np.int64(op.arg))
    elif code == EXTRACT:
        ret = np.int64(pmap_extract(st, pmap, op.va))
    elif code == EMULATE_AD:
        ret = pmap_emulate_accessed_dirty(st, pmap, op.va, op.access)
    elif code == ENTER_OBJECT:
        pmap_enter_object(st, pmap, op.va, op.eva, op.page, op.prot)
    elif code == ENTER_QUICK:
        pmap_enter_quick(st, pmap, op.va, op.page, op.prot)
    elif code == OBJECT_INIT_PT:
        for page in range(op.page, op.page + op.n):
            vm_page_alloc(st, page)
        pmap_object_init_pt(st, pmap, op.va, op.page, np.uint64(op.n) << PAGE_SHIFT)
    elif code == MINCORE:
        ret = pmap_mincore(st, pmap, op.va)
    elif code == COPY:
        pmap_copy(st, st.pmap[np.int64(op.arg)], pmap, op.va, op.eva)
    elif code == ACCESS:
        ret = access_page(st, pmap, op.va, op.access)
    elif code == ACCESS_FAULT:
        ret = _access_fault(st, pmap, regions[op.pm], op.va, op.access)
    elif code in (ACCESS_RUN, ACCESS_PERM_RUN):
        ret = _access_run(st, pmap, regions[op.pm], op)
    elif code == SET_ACTIVE:
        pmap.pm_active = _popcount(op.arg)
    elif code == REMOVE_PAGES:
        pmap_remove_pages(st, pmap)
    elif code == IS_PREFAULTABLE:
        ret = np.int64(pmap_is_prefaultable(st, pmap, op.va))
    elif code == EXISTS_QUICK:
        ret = np.int64(pmap_page_exists_quick(st, pmap, op.page))
    return ret


@kernel
def _popcount(mask: np.uint64) -> Int:
    """Return how many bits of a mask are set."""
    count: Int = 0
    while mask != ZERO:
        mask &= mask - np.uint64(1)
        count += 1
    return count


@kernel
def _home_page(regions: NDArray[np.uint64], va: np.uint64) -> Int:
    """Return the page that belongs at an address, NO_PAGE outside every region."""
    for r in range(len(regions)):
        if regions[r] <= va < regions[r] + NBPDR:
            return r * 512 + np.int64((va - regions[r]) >> PAGE_SHIFT)
    return NO_PAGE


@kernel
def _access_fault(st: State, pmap: Record, regions: NDArray[np.uint64], va: np.uint64, access: Int) -> Int:
    """Make one access; a fault maps the address's home page with all rights and leaves its dirty field alone."""
    outcome = access_page(st, pmap, va, access)
    if outcome != REFUSED:
        return outcome
    m = _home_page(regions, va)
    if m == NO_PAGE:
        return REFUSED
    while outcome == REFUSED:
        vm_page_alloc(st, m)
        pmap_enter(st, pmap, va, access, m, VM_PROT_ALL, False)
        outcome = access_page(st, pmap, va, access)
    return FAULTED


@kernel
def _access_run(st: State, pmap: Record, regions: NDArray[np.uint64], op: Record) -> Int:
    """Make `n` accesses, one a page, in order or by a stride; return the outcomes, 16 bits a count."""
    hit: Int = 0
    emulated: Int = 0
    refused: Int = 0
    faulted: Int = 0
    for k in range(op.n):
        page = k if op.op == ACCESS_RUN else (k * np.int64(op.arg)) % op.n
        va = op.va + np.uint64(page) * PAGE_SIZE
        outcome = _access_fault(st, pmap, regions, va, op.access)
        hit += np.int64(outcome == HIT)
        emulated += np.int64(outcome == EMULATED)
        refused += np.int64(outcome == REFUSED)
        faulted += np.int64(outcome == FAULTED)
    return hit + (emulated << RUN_SHIFT) + (refused << 2 * RUN_SHIFT) + (faulted << 3 * RUN_SHIFT)


@kernel
def _can_change_wiring(st: State, pmap: Record, va: np.uint64, wired: bool) -> bool:
    """Return whether an address is mapped in a way that lets pmap_change_wiring wire or unwire it.

    A superpage that was never used cannot be demoted, so the wiring of a part of it cannot change.
    """
    level, slot = leaf_of(st, pmap, va)
    if level == 0:
        return False
    entry = st.pt[slot]
    return level == 1 or (entry & pmap.PG_A) != NO_BITS or ((entry & PG_W) != NO_BITS) == wired


@kernel
def _change_wiring_run(st: State, pmap: Record, op: Record) -> Int:
    """Wire or unwire `n` pages from `va`; return how many were mapped in a way that can be."""
    done: Int = 0
    for k in range(op.n):
        va = op.va + np.uint64(k) * PAGE_SIZE
        if _can_change_wiring(st, pmap, va, op.wired != 0):
            pmap_change_wiring(st, pmap, va, op.wired != 0)
            done += 1
    return done


@entry_point
def init_pmap(st: State, pm_id: Int, pm_type: Int, pm_flags: Int, pm_address: Int) -> None:
    """Make an empty address space; see pmap_pinit_type."""
    pmap_pinit_type(st, pm_id, pm_type, pm_flags, pm_address)
