"""Single operations on a pmap, as a recording of a real kernel lists them, and what they leave behind.

A recording is a sequence of operations (code, arguments); after each, the model's answer and the visible
part of its state are written down in the same form, so that the two can be compared.
docs/conformance.md describes every operation, argument and result.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import entry_point, kernel
from eptreplay.model._numba.types import ZERO, Int, Record, Records
from eptreplay.model.pmap.pmap import (
    leaf_of,
    pmap_pinit_type,
)
from eptreplay.model.recorded.checksum import pmap_state_sum
from eptreplay.model.recorded.codes import CHANGE_WIRING, MOST_TRAPS, NO_PAGE, REMOVE_PAGES, SET_ACTIVE
from eptreplay.model.recorded.pmap_operations import _can_change_wiring, _page_operation, _pmap_operation
from eptreplay.model.state.pages import PGA_REFERENCED, PGA_WRITEABLE
from eptreplay.model.state.state import State, account


@entry_point
def run_operations(
    st: State, regions: NDArray[np.uint64], pmaps: Int, arguments: Records, results: Records
) -> Int:
    """Carry out operations in order and write down the answer and the state after each; return how many were carried out.

    They end before an operation at which every kernel panics: pmap_change_wiring without a mapping whose wiring can change;
    and at one in which something occurs that the kernel asserts never does (HOST.asserted).

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
        if st.host[0].exhausted != 0 or st.host[0].asserted != 0:
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


@entry_point
def init_pmap(st: State, pm_id: Int, pm_type: Int, pm_flags: Int, pm_address: Int) -> None:
    """Make an empty address space; see pmap_pinit_type."""
    pmap_pinit_type(st, pm_id, pm_type, pm_flags, pm_address)
