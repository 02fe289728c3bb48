"""What recordings of reservations do and hash: frames given and taken back, the queue of reservations, the lists of free runs.

Source: docs/conformance.md, "Reservations".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import entry_point, kernel
from eptreplay.model._numba.types import Int
from eptreplay.model.page.vm_page import vm_page_alloc, vm_page_free
from eptreplay.model.page.vm_pagequeue import free_list
from eptreplay.model.page.vm_reserv import (
    NO_FRAME,
    partpop_head,
    vm_phys_alloc,
    vm_phys_alloc_wired,
    vm_phys_free,
    vm_phys_free_wired,
)
from eptreplay.model.recorded.queue_hash import FNV_OFFSET, FNV_PRIME
from eptreplay.model.state.state import VM_NFREEORDER, VM_NFREEPOOL, State, account, instance
from eptreplay.model.vm.vm_object import vm_page_insert, vm_page_lookup, vm_page_remove

# Steps: rows of an array [steps, 3] of code, object (or the number of a kernel page) and page.
ALLOC = 0
FREE = 1
KALLOC = 2
KFREE = 3

# How a page got its frame.
SINGLE = 0
IN_RESERVATION = 1
NEW_RESERVATION = 2
REFUSED = -1

REFUSED_STEP = -2
"""The frame of a step that makes no sense: the page is in memory already, or is not."""


@kernel
def _has_free(st: State) -> bool:
    """Return whether more frames are free than the reserve, so that a page is given (vm_page_alloc)."""
    return bool(st.vm[0].v_free_count > st.vm[0].v_free_reserved)


@entry_point
def run_frame_steps(
    states: State, steps: NDArray[np.int64], kernel_frames: NDArray[np.int64], answers: NDArray[np.int64]
) -> Int:
    """Carry out steps in the first instance; return how many, all unless one makes no sense.

    Args:
        states: the instances.
        steps: shape [steps, 3], above; pages are flat numbers.
        kernel_frames: by the number of a kernel page 1 + its frame, 0: it has none; updated.
        answers: shape [steps, 2]: the frame of every step, and how; written.
    """
    st = instance(states, 0)
    for i in range(len(steps)):
        frame: Int = REFUSED
        how: Int = REFUSED
        code, who, page = steps[i, 0], steps[i, 1], steps[i, 2]
        if code == ALLOC:
            if vm_page_lookup(st, page) >= 0:
                return i
            st.host[0].guest = who
            if _has_free(st):
                frame, how = _alloc(st, who, page)
        elif code == FREE:
            frame = vm_page_lookup(st, page)
            if frame < 0:
                return i
            vm_page_remove(st, frame)
            vm_page_free(st, frame)
            vm_phys_free(st, frame, page)
        elif code == KALLOC:
            if _has_free(st):
                frame = vm_phys_alloc_wired(st)
            kernel_frames[who] = frame + 1
        else:
            if kernel_frames[who] == 0:
                return i
            vm_phys_free_wired(st, kernel_frames[who] - 1)
            kernel_frames[who] = 0
        answers[i, 0], answers[i, 1] = frame, how
    return len(steps)


@kernel
def _alloc(st: State, guest: Int, flat: Int) -> tuple[Int, Int]:
    """Give a frame to a page; return it, and how."""
    before, reserved = account(st).reservations, account(st).pages_reserved
    m = vm_phys_alloc(st, guest, flat)
    if m == NO_FRAME:
        return REFUSED, REFUSED
    vm_page_alloc(st, m)
    vm_page_insert(st, m, guest, flat)
    how = NEW_RESERVATION if account(st).reservations != before else IN_RESERVATION
    return m, how if account(st).pages_reserved != reserved else SINGLE


@kernel
def _mix(digest: np.uint64, word: np.uint64) -> np.uint64:
    """Take one word into a digest (FNV-1a)."""
    return (digest ^ word) * FNV_PRIME


@kernel
def partpop_digest(st: State) -> np.uint64:
    """Return the digest of the queue of reservations with free frames, head first: block and frames in use."""
    digest = FNV_OFFSET
    head = partpop_head(st)
    block = st.rv[head].rv_next
    while block != head:
        digest = _mix(digest, np.uint64(block) | (np.uint64(st.reserv[block]) << np.uint64(32)))
        block = st.rv[block].rv_next
    return digest


@entry_point
def frame_digests(states: State, number: Int, found: NDArray[np.uint64]) -> None:
    """Write of an instance: the digest of the queue of reservations, that of the lists of free runs, and how many whole blocks are free."""
    st = instance(states, number)
    found[0] = partpop_digest(st)
    digest = FNV_OFFSET
    whole: Int = 0
    for pool in range(VM_NFREEPOOL):
        for order in range(VM_NFREEORDER):
            head = free_list(st, pool, order)
            m = st.pageq[head].q_next
            while m != head:
                word = np.uint64(m) | (np.uint64(order) << np.uint64(40)) | (np.uint64(pool) << np.uint64(48))
                digest = _mix(digest, word)
                whole += (1 << order) >> 9
                m = st.pageq[m].q_next
    found[1] = digest
    found[2] = np.uint64(whole)


@entry_point
def list_partpop(states: State, found: NDArray[np.int64]) -> Int:
    """Write the queue of the first instance, head first, to `found`, shape [entries, 2]: block and frames in use; return its length."""
    st = instance(states, 0)
    count: Int = 0
    head = partpop_head(st)
    block = st.rv[head].rv_next
    while block != head:
        found[count, 0], found[count, 1] = block, st.reserv[block]
        count += 1
        block = st.rv[block].rv_next
    return count


@entry_point
def list_free_runs(states: State, found: NDArray[np.int64]) -> Int:
    """Write the free runs of the first instance to `found`, shape [entries, 3]: pool, order, first frame; return how many."""
    st = instance(states, 0)
    count: Int = 0
    for pool in range(VM_NFREEPOOL):
        for order in range(VM_NFREEORDER):
            head = free_list(st, pool, order)
            m = st.pageq[head].q_next
            while m != head:
                found[count, 0], found[count, 1], found[count, 2] = pool, order, m
                count += 1
                m = st.pageq[m].q_next
    return count
