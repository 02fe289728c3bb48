"""Free frames of a host: the buddy allocator, and their number.

A free run of order o is 2^o frames that begin at a multiple of 2^o and are all free.  There is a list of free runs for every pool
and every order from 0 to 12.  Pools keep apart what guests use and what the kernel uses for itself, so that the kernel's pages,
which stay for long, do not spoil whole blocks all over memory.

The lists are rings through the elements of `State.pageq`, as the queues of pages are (vm_pagequeue.py).  A run is in its list by
its first frame, which has `order` and `pool`; of its other frames, neither means anything.  A frame in use that was given alone
keeps its pool; those of a reservation are all of the pool of guests, which they are given when the reservation is broken.

With identity placement (`VM.identity`) there are no lists, only the number of free frames.

Source: vm_phys.c vm_phys_alloc_pages, vm_phys_alloc_freelist_pages, vm_phys_split_pages, vm_phys_free_pages, vm_phys_set_pool,
vm_phys_add_page; vm_phys.h vm_phys_freecnt_adj; amd64 vmparam.h VM_NFREEPOOL, VM_NFREEORDER, FreeBSD 10.0.  Proven by recordings
of reservations (docs/conformance.md, "Free runs").
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import Int
from eptreplay.model.page.vm_pagequeue import free_list, insert_after, remove
from eptreplay.model.state.state import VM_NFREEORDER, VM_NFREEPOOL, State

VM_FREEPOOL_DEFAULT = 0  # guest pages
VM_FREEPOOL_DIRECT = 1  # the kernel's own: page-table pages and pv chunks
VM_FREEPOOL_CACHE = 2  # cached pages, of which there are none here

LARGEST = VM_NFREEORDER - 1
BLOCK_ORDER = 9  # of the 512 frames of a reservation


@kernel
def vm_phys_freecnt_adj(st: State, adj: Int) -> None:
    """Add to the number of free frames: -1 for a frame that is taken, 1 for one that is given back."""
    st.vm[0].v_free_count += adj


@kernel
def vm_phys_init(st: State, in_use: Int) -> None:
    """Make the frames of a host free, all of the pool of guests, as if they were freed singly, ascending (vm_phys_add_page).

    What comes of that is known: runs of the largest order, ascending, and then one of each order that the rest is made of.

    Of `in_use` whole blocks of 512 frames, evenly spread, the last frame is not free: somebody else has it for good.
    """
    frames = st.vm[0].v_page_count
    begin: Int = 0
    while begin < frames:
        order = LARGEST
        while begin + (1 << order) > frames:
            order -= 1
        _append(st, begin, order)
        begin += 1 << order
    whole = frames >> BLOCK_ORDER
    for block in range(whole):
        # The accumulated share passes a whole number at the blocks that are picked.
        if (block + 1) * in_use // whole != block * in_use // whole:
            _take_frame(st, (block << BLOCK_ORDER) + (1 << BLOCK_ORDER) - 1)
            st.vm[0].v_free_count -= 1
            st.vm[0].v_wire_count += 1


@kernel
def _take_frame(st: State, m: Int) -> None:
    """Take one free frame out of the run that it is in; the rest of the run goes to the tails of the lists of its halves."""
    order: Int = 0
    while st.pageq[m >> order << order].order != order + 1:
        order += 1
    begin = m >> order << order
    _unlist(st, begin)
    while order > 0:
        order -= 1
        half = begin + (1 << order)
        if m >= half:
            _append(st, begin, order)
            begin = half
        else:
            _append(st, half, order)


@kernel
def _append(st: State, m: Int, order: Int) -> None:
    """Put a free run at the tail of the list of its pool and order."""
    st.pageq[m].order = order + 1
    insert_after(st, st.pageq[free_list(st, np.int64(st.pageq[m].pool), order)].q_prev, m)


@kernel
def _unlist(st: State, m: Int) -> None:
    """Take a free run off its list."""
    remove(st, m)
    st.pageq[m].order = 0


@kernel
def vm_phys_alloc_pages(st: State, pool: Int, order: Int) -> Int:
    """Take a run of 2^order frames for a pool; return its first frame, -1 if no run is as large.

    The pool's own smallest run that is large enough comes first; else the largest run of any pool, all of which goes over to this one.
    What of a run is too much is halved: upper halves go to the heads of their lists.
    """
    found = order
    m = _first_run(st, pool, found)
    while m < 0 and found < LARGEST:
        found += 1
        m = _first_run(st, pool, found)
    if m < 0:
        found = VM_NFREEORDER
        while m < 0 and found > order:
            found -= 1
            source = 0
            while m < 0 and source < VM_NFREEPOOL:
                m = _first_run(st, source, found)
                source += 1
        if m < 0:
            return m
    _unlist(st, m)
    st.pageq[m].pool = pool
    while found > order:
        found -= 1
        half = m + (1 << found)
        st.pageq[half].pool = pool
        st.pageq[half].order = found + 1
        insert_after(st, free_list(st, pool, found), half)
    return m


@kernel
def _first_run(st: State, pool: Int, order: Int) -> Int:
    """Return the run at the head of a list, -1 if it is empty."""
    head = free_list(st, pool, order)
    m = st.pageq[head].q_next
    return -1 if m == head else m


@kernel
def vm_phys_free_pages(st: State, m: Int, order: Int) -> None:
    """Give back a run of 2^order frames to the pool of its first frame, joined with its buddies as far as they are free."""
    pool = np.int64(st.pageq[m].pool)
    while order < LARGEST:
        buddy = m ^ (1 << order)
        # The frames of a host need not be a power of two: the last ones have buddies that do not exist.
        if buddy >= st.vm[0].v_page_count or st.pageq[buddy].order != order + 1:
            break
        _unlist(st, buddy)
        order += 1
        m = m >> order << order
    st.pageq[m].pool = pool
    _append(st, m, order)


@kernel
def vm_phys_set_pool(st: State, begin: Int, end: Int, pool: Int) -> None:
    """Give the frames [begin, end) to a pool: they are about to be freed, or to stay in use, one by one."""
    for m in range(begin, end):
        st.pageq[m].pool = pool
