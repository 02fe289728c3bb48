"""A hash of a queue of the page daemon: its pages, their order and their state.

Source: the definition in the recorded page daemon replays (docs/conformance.md); FNV-1a, word by word.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import entry_point, kernel
from eptreplay.model._numba.types import Int
from eptreplay.model.page.vm_pagequeue import PQ_ACTIVE, PQ_INACTIVE, queue_head
from eptreplay.model.state.state import State, instance
from eptreplay.model.vm.vm_object import guest_of

FNV_OFFSET = np.uint64(0xCBF29CE484222325)
FNV_PRIME = np.uint64(0x100000001B3)
ACT_COUNT_SHIFT = np.uint64(40)
DIRTY_SHIFT = np.uint64(56)
GUEST_SHIFT = np.uint64(60)


@kernel
def queue_hash(st: State, queue: Int) -> np.uint64:
    """Return the hash of PQ_ACTIVE or PQ_INACTIVE, from its head on."""
    total = FNV_OFFSET
    head = queue_head(st, queue)
    m = st.pageq[head].q_next
    while m != head:
        page = st.pageq[m]
        flat = st.page[m].pindex
        guest = guest_of(st, flat)
        word = np.uint64(flat - st.guests[guest].begin)
        word |= np.uint64(page.act_count) << ACT_COUNT_SHIFT
        word |= np.uint64(st.page[m].dirty) << DIRTY_SHIFT
        word |= np.uint64(guest) << GUEST_SHIFT
        total = (total ^ word) * FNV_PRIME
        m = page.q_next
    return total


@entry_point
def queue_hashes(states: State, hashes: NDArray[np.uint64]) -> None:
    """Write the hashes of every instance's queues to `hashes`, shape [instances, 2]: active, inactive."""
    for number in range(len(hashes)):
        st = instance(states, number)
        hashes[number, 0] = queue_hash(st, PQ_ACTIVE)
        hashes[number, 1] = queue_hash(st, PQ_INACTIVE)


@entry_point
def queue_entries(states: State, number: Int, queue: Int, entries: NDArray[np.int64]) -> Int:
    """Write the first pages of a queue of an instance to `entries`, shape [pages, 4]; return the length of the whole queue.

    An entry is the page of its guest, act_count, the dirty field, and whether it was passed over once.
    """
    st = instance(states, number)
    head = queue_head(st, queue)
    length: Int = 0
    m = st.pageq[head].q_next
    while m != head:
        if length < len(entries):
            flat = st.page[m].pindex
            entries[length, 0] = flat - st.guests[guest_of(st, flat)].begin
            entries[length, 1] = st.pageq[m].act_count
            entries[length, 2] = st.page[m].dirty
            entries[length, 3] = st.pageq[m].seen_once
        length += 1
        m = st.pageq[m].q_next
    return length
