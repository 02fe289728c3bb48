"""Reverse mappings: which address spaces map a page, and where.

A managed page has a list of its own 4 KB mappings, and shares with the 511 other pages of its 2 MB block a
list of the superpages over that block.  Order matters: pmap_ts_referenced visits mappings in list order
and rotates them.  A list is a ring that is named by its last entry (see PV_ENTRY): functions that change a list
take its last entry and return the new one.

Entries come from chunks, each of them a page of the kernel's own with room for 168 entries of one pmap.  A pmap has a list of its chunks.
An entry is taken from the chunk at the head, its lowest one; a chunk that has no more goes to the tail.  An entry that is given back
brings its chunk to the head, and a chunk that is wholly free is freed.  So the chunks that have free entries are at the
head, before all those that have none, and a new chunk is taken, to the head, when the one there has none.

Source: pmap.c pmap_pvh_remove, pmap_pvh_free, pmap_pv_demote_pde, pmap_pv_promote_pde, get_pv_entry, free_pv_entry,
free_pv_chunk, reserve_pv_entries, FreeBSD 10.0.  Which chunks are taken and freed when is proven by recordings of reservations
(docs/conformance.md, "traces").
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import kernel
from eptreplay.model._numba.bits import first_bits, lowest
from eptreplay.model._numba.types import ONE, ZERO, Int, Record
from eptreplay.model.page.vm_page import take_zeroed
from eptreplay.model.page.vm_reserv import vm_phys_alloc_wired, vm_phys_free_wired
from eptreplay.model.state.address_space import _NPCM, _NPCPV
from eptreplay.model.state.pages import PGA_WRITEABLE
from eptreplay.model.state.pte import NPTEPG, PAGE_SIZE
from eptreplay.model.state.state import State

WORD_BITS = 64


@kernel
def _pc_insert_head(st: State, pmap: Record, chunk: Int) -> None:
    """Put a chunk that is on no list at the head of a pmap's list."""
    head = pmap.pm_pvchunk_first
    st.pvc[chunk].pc_prev = 0
    st.pvc[chunk].pc_next = head
    if head != 0:
        st.pvc[head].pc_prev = chunk
    else:
        pmap.pm_pvchunk_last = chunk
    pmap.pm_pvchunk_first = chunk


@kernel
def _pc_insert_tail(st: State, pmap: Record, chunk: Int) -> None:
    """Put a chunk that is on no list at the tail of a pmap's list."""
    tail = pmap.pm_pvchunk_last
    st.pvc[chunk].pc_next = 0
    st.pvc[chunk].pc_prev = tail
    if tail != 0:
        st.pvc[tail].pc_next = chunk
    else:
        pmap.pm_pvchunk_first = chunk
    pmap.pm_pvchunk_last = chunk


@kernel
def _pc_remove(st: State, pmap: Record, chunk: Int) -> None:
    """Take a chunk off a pmap's list."""
    before, after = st.pvc[chunk].pc_prev, st.pvc[chunk].pc_next
    if before != 0:
        st.pvc[before].pc_next = after
    else:
        pmap.pm_pvchunk_first = after
    if after != 0:
        st.pvc[after].pc_prev = before
    else:
        pmap.pm_pvchunk_last = before


@kernel
def _pc_words(st: State, chunk: Int) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Return the map of the free entries of a chunk, lowest first."""
    at = _NPCM * chunk
    return st.pc_map[at], st.pc_map[at + 1], st.pc_map[at + 2]


@kernel
def _new_pv_chunk(st: State, pmap: Record) -> Int:
    """Take a page of the kernel's own as a chunk all of whose entries are free, to the head of a pmap's list."""
    host = st.host[0]
    chunk = np.int64(host.pc_free)
    if chunk != 0:
        host.pc_free = st.pvc[chunk].pc_next
    elif host.pc_used < len(st.pvc):
        chunk = np.int64(host.pc_used)
        host.pc_used += 1
    else:
        host.exhausted = 1
        return chunk
    m = vm_phys_alloc_wired(st)
    st.pvc[chunk].frame = m + 1
    if m >= 0:
        take_zeroed(st, m)
    at = _NPCM * chunk
    st.pc_map[at] = ~ZERO
    st.pc_map[at + 1] = ~ZERO
    st.pc_map[at + 2] = first_bits(_NPCPV - 2 * WORD_BITS)
    _pc_insert_head(st, pmap, chunk)
    return chunk


@kernel
def _free_pv_chunk(st: State, pmap: Record, chunk: Int) -> None:
    """Give back the page of a chunk all of whose entries are free."""
    _pc_remove(st, pmap, chunk)
    vm_phys_free_wired(st, np.int64(st.pvc[chunk].frame) - 1)
    st.pvc[chunk].pc_next = st.host[0].pc_free
    st.host[0].pc_free = chunk


@kernel
def get_pv_entry(st: State, pmap: Record, va: np.uint64) -> Int:
    """Take a pv entry and fill it in for a mapping; it is on no list yet."""
    chunk: Int = np.int64(pmap.pm_pvchunk_first)
    low, middle, high = _pc_words(st, chunk)
    if chunk == 0 or (low | middle | high) == ZERO:
        chunk = _new_pv_chunk(st, pmap)
        if chunk == 0:
            return chunk  # the pool is exhausted
        low, middle, high = _pc_words(st, chunk)
    at = _NPCM * chunk
    pv = _NPCPV * chunk
    if low != ZERO:
        pv += np.int64(lowest(low))
        low &= low - ONE
        st.pc_map[at] = low
    elif middle != ZERO:
        pv += np.int64(lowest(middle)) + WORD_BITS
        middle &= middle - ONE
        st.pc_map[at + 1] = middle
    elif high != ZERO:
        pv += np.int64(lowest(high)) + 2 * WORD_BITS
        high &= high - ONE
        st.pc_map[at + 2] = high
    if (low | middle | high) == ZERO and chunk != pmap.pm_pvchunk_last:
        _pc_remove(st, pmap, chunk)
        _pc_insert_tail(st, pmap, chunk)
    st.pv[pv].pv_va = va
    st.pv[pv].pv_pmap = pmap.pm_id
    return pv


@kernel
def free_pv_entry(st: State, pv: Int) -> None:
    """Give back a pv entry that is on no list."""
    pmap = st.pmap[st.pv[pv].pv_pmap]
    chunk = pv // _NPCPV
    bit = pv - chunk * _NPCPV
    st.pc_map[_NPCM * chunk + bit // WORD_BITS] |= ONE << np.uint64(bit % WORD_BITS)
    low, middle, high = _pc_words(st, chunk)
    if (low & middle) == ~ZERO and high == first_bits(_NPCPV - 2 * WORD_BITS):
        _free_pv_chunk(st, pmap, chunk)
    elif chunk != pmap.pm_pvchunk_first:
        _pc_remove(st, pmap, chunk)
        _pc_insert_head(st, pmap, chunk)


@kernel
def _bits_set(word: np.uint64) -> Int:
    """Return how many bits of a word are set."""
    count: Int = 0
    while word != ZERO:
        word &= word - ONE
        count += 1
    return count


@kernel
def reserve_pv_entries(st: State, pmap: Record, needed: Int) -> None:
    """Take as many chunks as it needs beforehand to have `needed` free entries."""
    available: Int = 0
    chunk = np.int64(pmap.pm_pvchunk_first)
    while chunk != 0 and available < needed:
        low, middle, high = _pc_words(st, chunk)
        if (low | middle | high) == ZERO:
            break
        available += _bits_set(low) + _bits_set(middle) + _bits_set(high)
        chunk = np.int64(st.pvc[chunk].pc_next)
    while available < needed:
        _new_pv_chunk(st, pmap)
        available += _NPCPV


@kernel
def pv_first(st: State, last: Int) -> Int:
    """Return the head of a list, 0 if it is empty."""
    return np.int64(st.pv[last].pv_next) if last != 0 else 0


@kernel
def pv_next(st: State, last: Int, pv: Int) -> Int:
    """Return the entry after `pv` in a list, 0 if it is the last."""
    return np.int64(st.pv[pv].pv_next) if pv != last else 0


@kernel
def pv_append(st: State, last: Int, pv: Int) -> Int:
    """Put an entry at the tail of a list; return the list's new last entry."""
    if last == 0:
        st.pv[pv].pv_next = pv
    else:
        st.pv[pv].pv_next = st.pv[last].pv_next
        st.pv[last].pv_next = pv
    return pv


@kernel
def pv_remove(st: State, last: Int, pmap: Record, va: np.uint64) -> tuple[Int, Int]:
    """Take the entry of one mapping from a list; return the list's new last entry, and the entry (0: not found)."""
    before = last
    pv = pv_first(st, last)
    while pv != 0:
        if st.pv[pv].pv_pmap == pmap.pm_id and st.pv[pv].pv_va == va:
            if pv == before:
                return 0, pv
            st.pv[before].pv_next = st.pv[pv].pv_next
            return (before if pv == last else last), pv
        before = pv
        pv = pv_next(st, last, pv)
    return last, 0


@kernel
def pv_insert_page(st: State, pmap: Record, va: np.uint64, m: Int) -> None:
    """Record a new 4 KB mapping of a page."""
    st.page[m].pv_last = pv_append(st, st.page[m].pv_last, get_pv_entry(st, pmap, va))


@kernel
def pv_insert_pde(st: State, pmap: Record, va: np.uint64, m: Int) -> None:
    """Record a new 2 MB mapping of the block that page `m` begins."""
    block = m // NPTEPG
    st.pv_table[block] = pv_append(st, st.pv_table[block], get_pv_entry(st, pmap, va))


@kernel
def pv_free_page(st: State, pmap: Record, va: np.uint64, m: Int) -> None:
    """Drop the pv entry of a 4 KB mapping of a page (pmap_pvh_free)."""
    last, pv = pv_remove(st, st.page[m].pv_last, pmap, va)
    st.page[m].pv_last = last
    free_pv_entry(st, pv)


@kernel
def pv_free_pde(st: State, pmap: Record, va: np.uint64, m: Int) -> None:
    """Drop the pv entry of a 2 MB mapping of the block that page `m` begins (pmap_pvh_free)."""
    block = m // NPTEPG
    last, pv = pv_remove(st, st.pv_table[block], pmap, va)
    st.pv_table[block] = last
    free_pv_entry(st, pv)


@kernel
def page_is_mapped(st: State, m: Int) -> bool:
    """Return whether a page is on the list of any mapping, of 4 KB or 2 MB."""
    return st.page[m].pv_last != 0 or st.pv_table[m // NPTEPG] != 0


@kernel
def clear_writeable_if_unmapped(st: State, m: Int) -> None:
    """Clear PGA_WRITEABLE of a page that has no mapping any more."""
    if not page_is_mapped(st, m):
        st.page[m].aflags &= ~PGA_WRITEABLE


@kernel
def pmap_pv_promote_pde(st: State, pmap: Record, va: np.uint64, m: Int) -> None:
    """Replace the pv entries of 512 4 KB mappings from page `m` by one of a 2 MB mapping.

    The first page's entry moves over; those of the others are given back, in order.
    """
    last, pv = pv_remove(st, st.page[m].pv_last, pmap, va)
    st.page[m].pv_last = last
    block = m // NPTEPG
    st.pv_table[block] = pv_append(st, st.pv_table[block], pv)
    for k in range(1, NPTEPG):
        pv_free_page(st, pmap, va + np.uint64(k) * PAGE_SIZE, m + k)


@kernel
def pmap_pv_demote_pde(st: State, pmap: Record, va: np.uint64, m: Int) -> None:
    """Replace the pv entry of a 2 MB mapping of page `m`'s block by one for each of its 512 pages.

    The caller has made sure that there are entries for it (reserve_pv_entries).
    """
    block = m // NPTEPG
    last, pv = pv_remove(st, st.pv_table[block], pmap, va)
    st.pv_table[block] = last
    st.page[m].pv_last = pv_append(st, st.page[m].pv_last, pv)
    for k in range(1, NPTEPG):
        pv_insert_page(st, pmap, va + np.uint64(k) * PAGE_SIZE, m + k)
