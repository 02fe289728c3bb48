"""Marks: one bit per page of the sample, at the time at which it left the list of those used last (see reuse.py)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import kernel, part
from eptreplay.model._numba.types import ONE, Int, Record
from eptreplay.model.state.guest_pages import page_at
from eptreplay.model.statistics.reuse_arrays import WORD_MASK, WORD_SHIFT, Reuse
from eptreplay.model.statistics.sample import (
    is_sampled,
)

NEAR_WORDS = 8  # up to so many words are summed one by one


@kernel
def _ones(word: np.uint64) -> Int:
    """Return the number of bits that are set (Hacker's Delight, 5-1)."""
    pairs = word - ((word >> ONE) & np.uint64(0x5555555555555555))
    fours = (pairs & np.uint64(0x3333333333333333)) + (
        (pairs >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    bytes_ = (fours + (fours >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((bytes_ * np.uint64(0x0101010101010101)) >> np.uint64(56))


@kernel
def _marks_after(marks: NDArray[np.uint64], tree: NDArray[np.int32], state: Record, slot: Int) -> Int:
    """Return how many marks of a guest come after that of a slot."""
    word = slot >> WORD_SHIFT
    # Two shifts, since a word can be shifted by at most 63 bits at once.
    count = _ones((marks[word] >> np.uint64(slot & WORD_MASK)) >> ONE)
    newest = state.next_slot >> WORD_SHIFT
    if newest - word <= NEAR_WORDS:
        for later in range(word + 1, newest + 1):
            count += _ones(marks[later])
        return count
    count += state.marked
    node = word + 1
    while node > 0:
        count -= np.int64(tree[node])
        node &= node - 1
    return count


@kernel
def _add(tree: NDArray[np.int32], word: Int, marks: Int) -> None:
    """Add to the marks of a word in the tree."""
    node = word + 1
    while node < len(tree):
        tree[node] += np.int32(marks)
        node += node & -node


@part
def _unmark(reuse: Reuse, state: Record, guest: Int, page: Int, slot: Int) -> None:
    """Take the mark of a page away."""
    word = slot >> WORD_SHIFT
    reuse.slot[page_at(page)] = 0
    reuse.marks[guest, word] &= ~(ONE << np.uint64(slot & WORD_MASK))
    state.marked -= 1
    if word < state.next_slot >> WORD_SHIFT:
        _add(reuse.tree[guest], word, -1)


@part
def _mark(reuse: Reuse, state: Record, guest: Int, page: Int) -> None:
    """Give the next slot to a page; when a word becomes full, its marks are added to the tree."""
    slot = np.int64(state.next_slot)
    word = slot >> WORD_SHIFT
    reuse.page[guest, slot] = page
    reuse.slot[page_at(page)] = slot + 1
    reuse.marks[guest, word] |= ONE << np.uint64(slot & WORD_MASK)
    state.marked += 1
    state.next_slot = slot + 1
    if (slot & WORD_MASK) == WORD_MASK:
        _add(reuse.tree[guest], word, _ones(reuse.marks[guest, word]))


@kernel
def _close_up(reuse: Reuse, state: Record, guest: Int) -> None:
    """Move all marks of a guest together, to the first slots, in their order; drop those of pages that left the sample."""
    marks, pages = reuse.marks[guest], reuse.page[guest]
    used: Int = 0
    for slot in range(state.next_slot):
        if (marks[slot >> WORD_SHIFT] >> np.uint64(slot & WORD_MASK)) & ONE:
            page = pages[slot]
            reuse.slot[page_at(page)] = 0
            if is_sampled(reuse.watched, np.uint64(page)) != 0:
                pages[used] = page
                used += 1
    marks[:] = 0
    reuse.tree[guest][:] = 0
    state.next_slot = 0
    state.marked = 0
    for slot in range(used):
        _mark(reuse, state, guest, np.int64(pages[slot]))
