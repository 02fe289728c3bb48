"""What each recorded operation does to the model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import ZERO, Int, Record
from eptreplay.model.page.vm_page import vm_page_alloc, vm_page_free
from eptreplay.model.pmap.emulate import pmap_emulate_accessed_dirty
from eptreplay.model.pmap.pmap import (
    leaf_of,
    pmap_extract,
    pmap_is_prefaultable,
    pmap_mincore,
)
from eptreplay.model.pmap.pmap_copy import pmap_copy
from eptreplay.model.pmap.pmap_enter import (
    pmap_enter,
    pmap_enter_object,
    pmap_enter_quick,
    pmap_object_init_pt,
)
from eptreplay.model.pmap.pmap_enter_2m import pmap_enter_2m
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
from eptreplay.model.pmap.pmap_unwire import pmap_unwire
from eptreplay.model.pmap.release import set_allow_2m_x_ept
from eptreplay.model.recorded.codes import (
    ACCESS,
    ACCESS_FAULT,
    ACCESS_PERM_RUN,
    ACCESS_RUN,
    ADVISE,
    ALLOC_RUN,
    CHANGE_WIRING,
    CHANGE_WIRING_RUN,
    CLEAR_MODIFY,
    COPY,
    EMULATE_AD,
    ENTER,
    ENTER_2M,
    ENTER_OBJECT,
    ENTER_QUICK,
    ENTER_RUN,
    EXISTS_QUICK,
    EXTRACT,
    IS_MAPPED,
    IS_MODIFIED,
    IS_PREFAULTABLE,
    IS_REFERENCED,
    MINCORE,
    NO_PAGE,
    OBJECT_INIT_PT,
    PAGE_FREE,
    PROTECT,
    REMOVE,
    REMOVE_ALL,
    REMOVE_PAGES,
    REMOVE_WRITE,
    RUN_SHIFT,
    SET_ACTIVE,
    SET_ALLOW_2M_X,
    TS_REFERENCED,
    TS_RUN,
    UNDIRTY,
    UNWIRE,
    UNWIRE_RUN,
    WIRED_MAPPINGS,
)
from eptreplay.model.state.pte import NBPDR, NO_BITS, PAGE_SHIFT, PAGE_SIZE, PG_W, VM_PROT_ALL
from eptreplay.model.state.state import State
from eptreplay.model.vm.vm_fault import EMULATED, FAULTED, HIT, REFUSED, access_page


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
    elif op.op == SET_ALLOW_2M_X:
        set_allow_2m_x_ept(st, np.int64(op.arg))
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
    elif code == ENTER_2M:
        ret = pmap_enter_2m(st, pmap, op.va, op.access, op.page, op.prot, op.wired != 0)
    elif code == UNWIRE:
        pmap_unwire(st, pmap, op.va, op.eva)
    elif code == UNWIRE_RUN:
        ret = _unwire_run(st, pmap, op)
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
    """Make one access; a fault maps the address's home page with all rights and leaves its dirty field alone.

    The answer is what resolved it last: a page that vm_fault maps may become part of a superpage that was not accessed, which
    emulation then has to say that it was.
    """
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
    return FAULTED if outcome == HIT else outcome


@kernel
def _access_run(st: State, pmap: Record, regions: NDArray[np.uint64], op: Record) -> Int:
    """Make `n` accesses, one per page, in order or by a stride; return how many came out how, in fields of 16 bits."""
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


@kernel
def _unwire_run(st: State, pmap: Record, op: Record) -> Int:
    """Unwire those of `n` pages from `va` that are wired, one by one; return how many were."""
    done: Int = 0
    for k in range(op.n):
        va = op.va + np.uint64(k) * PAGE_SIZE
        level, slot = leaf_of(st, pmap, va)
        if level != 0 and (st.pt[slot] & PG_W) != NO_BITS:
            pmap_unwire(st, pmap, va, va + PAGE_SIZE)
            done += 1
    return done
