"""What recordings of wiring do: accesses seen through, wiring, holds, advice, protection of one guest, step by step.

Source: docs/conformance.md, "Wiring".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import entry_point, kernel
from eptreplay.model._numba.types import Int
from eptreplay.model.page.vm_pagequeue import PQ_ACTIVE, PQ_INACTIVE
from eptreplay.model.pmap.invalidate import CAUSE_FAULT
from eptreplay.model.pmap.pmap import leaf_of
from eptreplay.model.recorded.queue_hash import queue_hash
from eptreplay.model.state.guest_pages import page_at
from eptreplay.model.state.pages import PGA_REFERENCED, PGA_WRITEABLE
from eptreplay.model.state.state import State, account, instance
from eptreplay.model.vm import answers
from eptreplay.model.vm.hypervisor import hold, process_access, release
from eptreplay.model.vm.vm_fault import EMULATED, REFUSED, access_page, vm_fault
from eptreplay.model.vm.vm_map import vm_map_delete, vm_map_madvise, vm_map_protect
from eptreplay.model.vm.vm_map_entry import address_of, pages_mapped
from eptreplay.model.vm.vm_object import swap_slot, vm_page_lookup
from eptreplay.model.vm.vm_pageout import vm_pageout_idle
from eptreplay.model.vm.vm_wire import vm_map_unwire, vm_map_wire

# Steps: rows of an array [steps, 4] of code, first page, pages, and a kind of access, rights or advice.
ACCESS = 0
HOST_ACCESS = 1
WIRE = 2
UNWIRE = 3
HOLD = 4
RELEASE = 5
ADVISE = 6
PROTECT = 7
UNMAP = 8
TICK = 9

# What an access answers.
ANSWER_HIT = 0
ANSWER_EMULATED = 1
ANSWER_FAULTED = 2
ANSWER_DENIED = 9

KERN_SUCCESS = 0
KERN_INVALID_ADDRESS = 1
HELD = 1
NOT_HELD = -1

# Columns of the answers of a step.
RC = 0
PAGE = 1  # and what follows: see PAGE_FACTS
PAGE_FACTS = 11  # resident, copy in swap, queue, act_count, dirty, wire_count, hold_count, seen_once, referenced, writeable, level
FREE = PAGE + PAGE_FACTS
ACTIVE = FREE + 1
INACTIVE = FREE + 2
ANSWERS = FREE + 3

# Columns of the tally of accesses.
TALLY_EMULATED = 0
TALLY_FAULTS = 1
TALLY_DENIED = 2
TALLIES = 3


@entry_point
def run_wiring_steps(
    states: State,
    steps: NDArray[np.int64],
    found: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    tally: NDArray[np.int64],
) -> None:
    """Carry out steps on the one guest of the one instance.

    Args:
        states: the instance.
        steps: shape [steps, 4], above.
        found: shape [steps, ANSWERS]: what is known after every step; written.
        hashes: shape [steps, 2]: of the active and the inactive queue; written.
        tally: shape [TALLIES]: accesses settled by emulation, calls of vm_fault for accesses, those it refused; updated.
    """
    st = instance(states, 0)
    for i in range(len(steps)):
        code, flat, pages, argument = steps[i, 0], steps[i, 1], steps[i, 2], steps[i, 3]
        found[i, RC] = _step(states, code, flat, pages, argument, tally)
        if code != TICK:
            _page_facts(st, flat, found, i)
        found[i, FREE] = st.vm[0].v_free_count
        found[i, ACTIVE] = st.vm[0].v_active_count
        found[i, INACTIVE] = st.vm[0].v_inactive_count
        hashes[i, 0] = queue_hash(st, PQ_ACTIVE)
        hashes[i, 1] = queue_hash(st, PQ_INACTIVE)


@kernel
def _step(states: State, code: Int, flat: Int, pages: Int, argument: Int, tally: NDArray[np.int64]) -> Int:
    """Carry out one step and return its answer."""
    if code == ACCESS:
        answer: Int = ANSWER_HIT
        for page in range(flat, flat + pages):
            answer = max(answer, _access(instance(states, 0), page, 1 << argument, tally))
        return answer
    if code == HOST_ACCESS:
        st = instance(states, 0)
        st.host[0].cause = CAUSE_FAULT
        faulted = process_access(st, 0, flat, 1 << argument)
        tally[TALLY_FAULTS] += np.int64(faulted)
        return ANSWER_FAULTED if faulted else ANSWER_HIT
    if code == TICK:
        vm_pageout_idle(instance(states, 0))
        return KERN_SUCCESS
    if code == HOLD:
        return HELD if hold(states, 0, flat, argument) == answers.OK else NOT_HELD
    if code == RELEASE:
        return KERN_SUCCESS if release(states, 0, flat) == answers.OK else NOT_HELD
    return _step_on_range(states, code, flat, pages, argument)


@kernel
def _step_on_range(states: State, code: Int, flat: Int, pages: Int, argument: Int) -> Int:
    """Carry out a step on a range, as far as it is mapped, and return its answer."""
    mapped = pages_mapped(states, 0, flat, pages)
    answer: Int = answers.OK
    if mapped == 0:
        answer = answers.NOT_MEMORY
    elif code == WIRE:
        answer = vm_map_wire(states, 0, flat, mapped)
    elif code == UNWIRE:
        vm_map_unwire(states, 0, flat, mapped)  # of what is not wired does nothing
    elif code == ADVISE:
        answer = vm_map_madvise(states, 0, flat, mapped, argument)
    elif code == PROTECT:
        answer = vm_map_protect(states, 0, flat, mapped, argument)
    else:
        answer = vm_map_delete(states, 0, flat, mapped)
    return KERN_SUCCESS if answer == answers.OK else KERN_INVALID_ADDRESS


@kernel
def _access(st: State, flat: Int, access: Int, tally: NDArray[np.int64]) -> Int:
    """Make one access of the guest, see it through, and return how it came out."""
    st.host[0].guest = 0
    st.host[0].cause = CAUSE_FAULT
    pmap, va = st.pmap[0], address_of(st, 0, flat)
    faulted = False
    while True:
        refused = account(st).traps
        outcome = access_page(st, pmap, va, access)
        tally[TALLY_EMULATED] += account(st).traps - refused - np.int64(outcome == REFUSED)
        if outcome != REFUSED:
            break
        tally[TALLY_FAULTS] += 1
        if st.object[page_at(flat)].absent != 0 or not vm_fault(st, pmap, va, access, flat):
            tally[TALLY_DENIED] += 1
            return ANSWER_DENIED
        faulted = True
    if faulted:
        return ANSWER_FAULTED
    return ANSWER_EMULATED if outcome == EMULATED else ANSWER_HIT


@kernel
def _page_facts(st: State, flat: Int, found: NDArray[np.int64], i: Int) -> None:
    """Write what is known of a guest page; of one that is not in memory, only whether it has a copy in swap."""
    m = vm_page_lookup(st, flat)
    found[i, PAGE + 1] = np.int64(swap_slot(st, flat) != 0)
    if m < 0:
        return
    level, _ = leaf_of(st, st.pmap[0], address_of(st, 0, flat))
    page = st.pageq[m]
    found[i, PAGE] = 1
    found[i, PAGE + 2] = page.queue
    found[i, PAGE + 3] = page.act_count
    found[i, PAGE + 4] = st.page[m].dirty
    found[i, PAGE + 5] = page.wire_count
    found[i, PAGE + 6] = page.hold_count
    found[i, PAGE + 7] = page.seen_once
    found[i, PAGE + 8] = np.int64((st.page[m].aflags & PGA_REFERENCED) != 0)
    found[i, PAGE + 9] = np.int64((st.page[m].aflags & PGA_WRITEABLE) != 0)
    found[i, PAGE + 10] = level


@entry_point
def page_entry(states: State, flat: Int, found: NDArray[np.uint64]) -> None:
    """Write what maps a guest page: level (0: nothing) and entry."""
    st = instance(states, 0)
    level, slot = leaf_of(st, st.pmap[0], address_of(st, 0, flat))
    found[0] = np.uint64(level)
    found[1] = st.pt[slot] if level != 0 else np.uint64(0)
