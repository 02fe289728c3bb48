"""Reuse distances: how many distinct pages were accessed since the last access to the same page.

Under LRU an access hits in a memory of c pages exactly if its reuse distance is below c, so the distribution of
distances is the miss ratio of every size of memory at once (Mattson et al., Evaluation techniques for storage hierarchies,
IBM Systems Journal 9(2), 1970).  The few pages used last are kept in a list, in order; the distance of a page in it is
its position.  Every other page has a mark at the time at which it left the list; its distance is the length of the list plus
the number of marks after its own (Bennett and Kruskal, LRU stack processing, IBM J. Res. Dev. 19(4), 1975).  Marks are
bits, 64 a word; a Fenwick tree sums the words but the last one, which is still being filled.

Where that is too much work for every page, a sample of the pages is enough: those whose hash is below a
threshold.  A distance among them stands for one that is larger by the inverse of the sampling rate, and each of their accesses
for so many more.  The size of the sample is limited; when it grows beyond that, the threshold is halved and the pages above
it are dropped (Waldspurger et al., Efficient MRC construction with SHARDS, FAST 2015: its fixed-size variant, but for
the halving, which takes the place of a queue by hash; sample.py).

First accesses, whose distance is infinite, are left out here: interval statistics know how many there are.  So are accesses of
distance 0: they are what is missing of all accesses in the end.  With a sample, that is at the same time the correction that
the paper calls SHARDS-adj.

Guests of a host are kept apart: each has its own list, marks and sample; pages have flat numbers (instances.py).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import entry_point, kernel, part
from eptreplay.model._numba.types import Int, Record, Records
from eptreplay.model.state.fast_path import NO_MEMORY
from eptreplay.model.state.guest_pages import page_at
from eptreplay.model.state.rows import Rows
from eptreplay.model.statistics.intervals import CHUNK_ROWS
from eptreplay.model.statistics.reuse_arrays import RECENT, Reuse
from eptreplay.model.statistics.reuse_buckets import BUCKETS, _start, bucket
from eptreplay.model.statistics.reuse_marks import _close_up, _mark, _marks_after, _unmark
from eptreplay.model.statistics.sample import (
    GROUPS,
    NO_PAGE,
    draw_pages,
    find_rows,
    find_rows_across,
    group_of,
    is_sampled,
    keep_rows,
    list_pages,
    list_pages_across,
)


class GuestReuse(NamedTuple):
    """What is known of one guest's reuse distances.

    Args:
        weight: how many accesses, and pages, one of the sample stands for; 1: every page is in it.
        distances: shape [GROUPS, BUCKETS]: accesses by distance; those of distance 0 are missing, and first accesses.
    """

    weight: int
    distances: NDArray[np.int64]


def reuse_of(reuse: Reuse, guest: int) -> GuestReuse:
    """Return what is known of one guest."""
    enter_at_rate(reuse, guest)
    return GuestReuse(int(reuse.state.weight[guest]), reuse.distances[guest])


@entry_point
def note_reuses(reuse: Reuse, fast_path: NDArray[np.uint8], rows: Rows, begin: Int, end: Int) -> None:
    """Take in the rows [begin, end).

    Args:
        reuse: updated.
        fast_path: shape [guest pages + 1]: State.fast_path, which says what is memory.
        rows: the rows.
        begin: the first one.
        end: the one after the last.
    """
    for first in range(begin, end, CHUNK_ROWS):
        last = min(first + CHUNK_ROWS, end)
        if len(rows.size) == 0:
            found = find_rows(reuse.watched, reuse.rows, rows, first, last)
        else:
            found = find_rows_across(reuse.watched, reuse.rows, rows, first, last)
        note_rows(reuse, fast_path, rows, found)


@kernel
def sampled_rows(reuse: Reuse, rows: Rows, of: NDArray[np.int32], number: Int) -> Int:
    """List in `reuse.rows` those of the first `number` rows in `of` that access the sample; return how many."""
    if len(reuse.state) == 0:
        return 0
    return keep_rows(reuse.watched, reuse.rows, rows, of, number)


@kernel
def rows_before(reuse: Reuse, found: Int, end: Int) -> Int:
    """Return how many of the first `found` of `reuse.rows`, which ascend, are before row `end`."""
    while found > 0 and reuse.rows[found - 1] >= end:
        found -= 1
    return found


@kernel
def note_rows(reuse: Reuse, fast_path: NDArray[np.uint8], rows: Rows, found: Int) -> None:
    """Take in the first `found` of `reuse.rows`."""
    if len(rows.size) == 0:
        pages = list_pages(reuse.rows, reuse.used, rows, found)
    else:
        pages = list_pages_across(reuse.rows, reuse.used, rows, found)
    for k in range(pages):
        _note_access(reuse, fast_path, np.int64(reuse.used[k]))


@kernel
def _guest_of(state: Records, page: Int) -> Int:
    """Return the guest that a flat page belongs to."""
    low: Int = 0
    high: Int = len(state) - 1
    while low < high:
        middle = (low + high + 1) >> 1
        if state[middle].begin <= page:
            low = middle
        else:
            high = middle - 1
    return low


@part
def _note_access(reuse: Reuse, fast_path: NDArray[np.uint8], page: Int) -> None:
    """Take in an access to a page, if the page is in the sample: it goes to the head of the list of those used last."""
    known = min(page, len(reuse.slot))
    if is_sampled(reuse.watched, np.uint64(known)) != 0 and (fast_path[page_at(known)] & NO_MEMORY) == 0:
        guest = _guest_of(reuse.state, page)
        group = group_of(page - np.int64(reuse.state[guest].begin))
        recent = reuse.recent[guest]
        pushed: Int = page
        place: Int = 0
        while place < RECENT:
            held = np.int64(recent[place])
            recent[place] = pushed
            if held == page:
                break
            pushed = held
            place += 1
        if place < RECENT:
            reuse.counts[guest, group, place] += 1
        else:
            _note_far_access(reuse, guest, group, page, pushed)


@part
def _note_far_access(reuse: Reuse, guest: Int, group: Int, page: Int, pushed: Int) -> None:
    """Take in an access to a page that was not among those used last; `pushed` has left the list for it, and gets a mark."""
    state = reuse.state[guest]
    slot = np.int64(reuse.slot[page_at(page)]) - 1
    if slot >= 0:
        later = _marks_after(reuse.marks[guest], reuse.tree[guest], state, slot)
        reuse.counts[guest, group, bucket(state.recent + later)] += 1
        _unmark(reuse, state, guest, page, slot)
    if pushed == NO_PAGE:
        state.recent += 1
    else:
        _mark(reuse, state, guest, pushed)
    while state.recent + state.marked > state.most_pages:
        _halve(reuse, state, guest)
    if state.next_slot == reuse.page.shape[1]:
        _close_up(reuse, state, guest)


@kernel
def _halve(reuse: Reuse, state: Record, guest: Int) -> None:
    """Halve the sampling rate of a guest."""
    enter_at_rate(reuse, guest)
    state.threshold >>= 1
    state.weight *= 2
    draw_pages(reuse.watched, np.int64(state.begin), np.int64(state.end), np.int64(state.threshold))
    recent = reuse.recent[guest]
    state.recent = 0
    for place in range(RECENT):
        page = recent[place]
        recent[place] = NO_PAGE
        if page != NO_PAGE and is_sampled(reuse.watched, np.uint64(page)) != 0:
            recent[state.recent] = page
            state.recent += 1
    _close_up(reuse, state, guest)


@entry_point
def enter_at_rate(reuse: Reuse, guest: Int) -> None:
    """Add what was counted of a guest's sample at its present rate to `distances`: each access stands for `weight` of them."""
    weight = reuse.state[guest].weight
    for start in range(BUCKETS):
        there = min(bucket(_start(start) * weight), BUCKETS - 1)  # none that large was ever counted
        for group in range(GROUPS):
            reuse.distances[guest, group, there] += reuse.counts[guest, group, start] * weight
            reuse.counts[guest, group, start] = 0
    reuse.distances[guest, :, 0] = 0
