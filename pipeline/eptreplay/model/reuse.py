"""Reuse distances: how many distinct pages were accessed since the last access to the same page.

Under LRU an access hits in a memory of c pages exactly if its reuse distance is below c, so the distribution of
distances is the miss ratio of every size of memory at once (Mattson et al., Evaluation techniques for storage hierarchies,
IBM Systems Journal 9(2), 1970).  Each page has a mark at the time of its last access; a distance is the number of marks
after one of them (Bennett and Kruskal, LRU stack processing, IBM J. Res. Dev. 19(4), 1975).  Marks are bits,
64 a word; a Fenwick tree sums the words but the last one, which is still being filled.

Where that is too much work for every page, a sample of the pages is enough: those whose hash lies below a
threshold.  A distance among them stands for one that is larger by the inverse of the sampling rate, and so does
each of their accesses.  There are at most so many samples; when one more comes, the threshold is halved and those above
it are forgotten (Waldspurger et al., Efficient MRC construction with SHARDS, FAST 2015: its fixed-size variant, but for
the halving, which takes the place of a queue by hash).

Every distance of 0 is left out here: what is missing of all accesses in the end are the distances of 0.  Among
the sample, that is at the same time the correction that the paper calls SHARDS-adj.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.model import pte
from eptreplay.model._jit import entry_point, kernel
from eptreplay.model.books import crosses
from eptreplay.model.state import NO_MEMORY, Int, Record, Records, records

PAGE_MASK = pte.PAGE_MASK
PAGE_SHIFT = pte.PAGE_SHIFT
PAGE_SIZE = pte.PAGE_SIZE

ONE = np.uint64(1)
WORD_SHIFT = 6
WORD_MASK = 63
HASH_BITS = 24
EVERY_PAGE = 1 << HASH_BITS  # threshold at which all pages are in the sample
_HASH_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio, odd (Knuth, TAOCP 3, 6.4)
_HASH_MIX = np.uint64(0xBF58476D1CE4E5B9)
_HASH_SHIFT = np.uint64(64 - HASH_BITS)
_FOLD_SHIFT = np.uint64(32)
GROUPS = 16  # parts of the sample, of which the error is estimated
_GROUP_MASK = np.uint64(GROUPS - 1)

NEAR_WORDS = 8  # up to so many words are summed one by one
SLOTS_PER_PAGE = 4  # the more, the more rarely slots are closed up

# Buckets of distances: one each below 16, then eight an octave.
FINE = 16
FINE_SHIFT = 4
PARTS_SHIFT = 3
PARTS = 1 << PARTS_SHIFT
OCTAVES_END = 48
BUCKETS = FINE + PARTS * (OCTAVES_END - FINE_SHIFT)

# All that is one number.
REUSE = np.dtype(
    [
        ("threshold", np.int64),  # pages whose hash is below it are in the sample
        ("weight", np.float64),  # accesses, and pages, that one of the sample stands for
        ("most_pages", np.int64),  # the most pages the sample may have
        ("pages", np.int64),  # pages in the sample, each with a mark
        ("next_slot", np.int64),  # the first slot that was not used yet
        ("last_page", np.int64),  # the page of the sample that was accessed last; -1: none
    ],
    align=True,
)


class Reuse(NamedTuple):
    """Reuse distances of one trace.  The arrays are shared, not copied, when the tuple is."""

    state: Records  # REUSE [1]
    slot: NDArray[np.int32]  # [guest pages]: 1 + the slot of the page's last access; 0: it has none
    page: NDArray[np.int32]  # [slots]: the page whose access a slot was given to
    marks: NDArray[np.uint64]  # [slots / 64]: bit s % 64 of word s / 64: that access is still the page's last
    tree: NDArray[np.int32]  # [slots / 64 + 1]: Fenwick tree over the marks in words that are full
    distances: NDArray[np.float64]  # [GROUPS, BUCKETS]: accesses by distance
    first: NDArray[np.float64]  # [GROUPS]: first accesses, of infinite distance


def new_reuse(pages: int, most_pages: int) -> Reuse:
    """Return reuse distances of a trace of which nothing was seen.

    Args:
        pages: guest pages.
        most_pages: the most pages in the sample; `pages` or more: every page is in it.
    """
    words = (SLOTS_PER_PAGE * (min(pages, most_pages) + 1) >> WORD_SHIFT) + 1
    state = records(1, REUSE)
    state.threshold = EVERY_PAGE
    state.weight = 1
    state.most_pages = most_pages
    state.last_page = -1
    return Reuse(
        state=state,
        slot=np.zeros(pages, np.int32),
        page=np.zeros(words << WORD_SHIFT, np.int32),
        marks=np.zeros(words, np.uint64),
        tree=np.zeros(words + 1, np.int32),
        distances=np.zeros((GROUPS, BUCKETS)),
        first=np.zeros(GROUPS),
    )


@entry_point
def note_reuses(
    reuse: Reuse, quiet: NDArray[np.uint8], gpa: NDArray[np.uint64], size: NDArray[np.uint16]
) -> None:
    """Take in consecutive rows.

    Args:
        reuse: updated.
        quiet: shape [guest pages + 1]: State.quiet, which says what is no memory.
        gpa: shape [rows]: guest-physical byte addresses.
        size: shape [rows]: bytes; shape [0] when no row crosses a page (may_cross).
    """
    last, threshold = _expected(reuse)
    for i in range(len(gpa)):
        page = gpa[i] >> PAGE_SHIFT
        if page != last and _hash(page) < threshold:
            _note_access(reuse, quiet, page)
            last, threshold = _expected(reuse)
        if crosses(gpa[i], size, i):
            page += ONE
            if page != last and _hash(page) < threshold:
                _note_access(reuse, quiet, page)
                last, threshold = _expected(reuse)


@kernel
def _expected(reuse: Reuse) -> tuple[np.uint64, np.uint64]:
    """Return the page of which another access is of distance 0, and the threshold."""
    return np.uint64(reuse.state[0].last_page), np.uint64(reuse.state[0].threshold)


@kernel
def _hash(page: np.uint64) -> np.uint64:
    """Return HASH_BITS bits that look random."""
    product = page * _HASH_FACTOR
    return ((product ^ (product >> _FOLD_SHIFT)) * _HASH_MIX) >> _HASH_SHIFT


@kernel
def _note_access(reuse: Reuse, quiet: NDArray[np.uint8], gpn: np.uint64) -> None:
    """Take in an access to a page of the sample that is not the one accessed last."""
    state = reuse.state[0]
    page = np.int64(gpn)
    if page >= len(reuse.slot):
        return
    group = np.int64(_hash(gpn) & _GROUP_MASK)
    slot = np.int64(reuse.slot[page]) - 1
    if slot >= 0:
        distance = np.int64(_marks_after(reuse, state, slot) * state.weight)
        reuse.distances[group, bucket(distance)] += state.weight
        _unmark(reuse, state, slot)
    elif (quiet[page] & NO_MEMORY) == 0:
        reuse.first[group] += state.weight
    else:
        return
    _mark(reuse, state, page)
    state.last_page = page
    while state.pages > state.most_pages:
        _halve(reuse, state)
    if state.next_slot == len(reuse.page):
        _close_up(reuse, state)


@kernel
def bucket(distance: Int) -> Int:
    """Return the number of the bucket that a distance falls into."""
    if distance < FINE:
        return distance
    octave: Int = FINE_SHIFT
    while distance >> (octave + 1) != 0:
        octave += 1
    return FINE + (octave - FINE_SHIFT) * PARTS + ((distance >> (octave - PARTS_SHIFT)) & (PARTS - 1))


def bucket_starts() -> NDArray[np.int64]:
    """Return the smallest distance of every bucket, shape [BUCKETS]."""
    octaves = np.arange(FINE_SHIFT, OCTAVES_END)[:, None]
    parts = np.arange(PARTS, 2 * PARTS)[None, :]
    return np.concatenate([np.arange(FINE), (parts << (octaves - PARTS_SHIFT)).reshape(-1)])


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
def _marks_after(reuse: Reuse, state: Record, slot: Int) -> Int:
    """Return how many marks come after that of a slot."""
    word = slot >> WORD_SHIFT
    # Two shifts: by up to 63 bits, and one more.
    count = _ones((reuse.marks[word] >> np.uint64(slot & WORD_MASK)) >> ONE)
    newest = state.next_slot >> WORD_SHIFT
    if newest - word <= NEAR_WORDS:
        for later in range(word + 1, newest + 1):
            count += _ones(reuse.marks[later])
        return count
    count += state.pages
    node = word + 1
    while node > 0:
        count -= np.int64(reuse.tree[node])
        node &= node - 1
    return count


@kernel
def _add(tree: NDArray[np.int32], word: Int, marks: Int) -> None:
    """Add to the marks of a word in the tree."""
    node = word + 1
    while node < len(tree):
        tree[node] += np.int32(marks)
        node += node & -node


@kernel
def _unmark(reuse: Reuse, state: Record, slot: Int) -> None:
    """Take the mark of a slot away."""
    word = slot >> WORD_SHIFT
    reuse.marks[word] &= ~(ONE << np.uint64(slot & WORD_MASK))
    state.pages -= 1
    if word < state.next_slot >> WORD_SHIFT:
        _add(reuse.tree, word, -1)


@kernel
def _mark(reuse: Reuse, state: Record, page: Int) -> None:
    """Give the next slot to a page; a word that is full goes into the tree."""
    slot = np.int64(state.next_slot)
    word = slot >> WORD_SHIFT
    reuse.page[slot] = page
    reuse.slot[page] = slot + 1
    reuse.marks[word] |= ONE << np.uint64(slot & WORD_MASK)
    state.pages += 1
    state.next_slot = slot + 1
    if (slot & WORD_MASK) == WORD_MASK:
        _add(reuse.tree, word, _ones(reuse.marks[word]))


@kernel
def _close_up(reuse: Reuse, state: Record) -> None:
    """Move all marks to the first slots, in their order, but for pages that are no longer in the sample."""
    used: Int = 0
    for slot in range(state.next_slot):
        word = slot >> WORD_SHIFT
        if (reuse.marks[word] >> np.uint64(slot & WORD_MASK)) & ONE:
            page = reuse.page[slot]
            reuse.slot[page] = 0
            if _hash(np.uint64(page)) < np.uint64(state.threshold):
                reuse.page[used] = page
                used += 1
    reuse.marks[:] = 0
    reuse.tree[:] = 0
    state.next_slot = 0
    state.pages = 0
    for slot in range(used):
        _mark(reuse, state, np.int64(reuse.page[slot]))


@kernel
def _halve(reuse: Reuse, state: Record) -> None:
    """Halve the sampling rate."""
    state.threshold >>= 1
    state.weight *= 2
    state.last_page = -1
    _close_up(reuse, state)
