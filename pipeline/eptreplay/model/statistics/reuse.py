"""Reuse distances: how many distinct pages were accessed since the last access to the same page.

Under LRU an access hits in a memory of c pages exactly if its reuse distance is below c, so the distribution of
distances is the miss ratio of every size of memory at once (Mattson et al., Evaluation techniques for storage hierarchies,
IBM Systems Journal 9(2), 1970).  The few pages used last are kept in a list, in order; of a page in it the distance is
its place.  Every other page has a mark at the time it left the list; its distance is the length of the list and
the number of marks after its own (Bennett and Kruskal, LRU stack processing, IBM J. Res. Dev. 19(4), 1975).  Marks are
bits, 64 a word; a Fenwick tree sums the words but the last one, which is still being filled.

Where that is too much work for every page, a sample of the pages is enough: those whose hash lies below a
threshold.  A distance among them stands for one that is larger by the inverse of the sampling rate, and so does
each of their accesses.  There are at most so many samples; when one more comes, the threshold is halved and those above
it are forgotten (Waldspurger et al., Efficient MRC construction with SHARDS, FAST 2015: its fixed-size variant, but for
the halving, which takes the place of a queue by hash; sample.py).

First accesses, whose distance is infinite, are left out here: the interval statistics know how many there are.  So are distances of 0:
what is missing of all accesses in the end are those.  Among the sample, that is at the same time the correction that
the paper calls SHARDS-adj.

The guests of a host are kept apart: each has its own list, marks and sample, and its pages have flat numbers (instances.py).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import entry_point, kernel, part
from eptreplay.model._numba.arrays import (
    Field,
    allocated,
    array,
    assembled,
    record_type,
    records,
    structure_of_arrays,
)
from eptreplay.model._numba.types import Int, Record, Records
from eptreplay.model.state.fast_path import NO_MEMORY, UNSAMPLED
from eptreplay.model.state.rows import Rows
from eptreplay.model.statistics.intervals import CHUNK_ROWS
from eptreplay.model.statistics.sample import (
    EVERY_PAGE,
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

ONE = np.uint64(1)
WORD_SHIFT = 6
WORD_MASK = 63
RECENT = 8  # pages in the list of those used last
NEAR_WORDS = 8  # up to so many words are summed one by one
SLOTS_PER_PAGE = 4  # the more, the more rarely slots are closed up

# Buckets of distances: one each below 16, then eight an octave.
FINE = 16
FINE_SHIFT = 4
PARTS_SHIFT = 3
PARTS = 1 << PARTS_SHIFT
OCTAVES_END = 48
BUCKETS = FINE + PARTS * (OCTAVES_END - FINE_SHIFT)

# All of a guest that is one number.
# fmt: off
REUSE_FIELDS = (
    #     name          type      unit     owner               meaning
    Field("begin",      np.int64, "",      "statistics/reuse", "flat number of the guest's page 0"),
    Field("end",        np.int64, "",      "statistics/reuse", "flat number after its last page"),
    Field("threshold",  np.int64, "pages", "statistics/reuse", "pages whose hash is below it are in the sample"),
    Field("weight",     np.int64, "",      "statistics/reuse", "accesses, and pages, that one of the sample stands for"),
    Field("most_pages", np.int64, "pages", "statistics/reuse", "the most pages the sample may have"),
    Field("recent",     np.int64, "pages", "statistics/reuse", "pages in the list of those used last"),
    Field("marked",     np.int64, "pages", "statistics/reuse", "pages of the sample that are not in the list, each with a mark"),
    Field("next_slot",  np.int64, "",      "statistics/reuse", "the first slot that was not used yet"),
)
# fmt: on
REUSE = record_type(REUSE_FIELDS)


# fmt: off
@structure_of_arrays
class Reuse:
    """Reuse distances of the guests of a host; no guests: none are kept."""

    state: Records = array(REUSE, "guests", meaning="what is one number a guest")
    watched: NDArray[np.uint8] = array(
        np.uint8, "watched_bytes", unit="flags", owner="statistics/sample",
        meaning="UNSAMPLED is a bit of it, one byte a flat page; the last one stands for all beyond, and has it",
    )
    rows: NDArray[np.int32] = array(
        np.int32, "chunk", unit="row", owner="statistics/sample", meaning="rows of a chunk that access the sample"
    )
    used: NDArray[np.int64] = array(
        np.int64, "two_chunks", unit="page", owner="statistics/sample", meaning="pages that they access, but for repetitions"
    )
    recent: NDArray[np.int64] = array(
        np.int64, "guests", "recent", unit="page", owner="statistics/reuse",
        meaning="flat pages used last, the latest first; NO_PAGE behind them",
    )
    slot: NDArray[np.int32] = array(
        np.int32, "guest_pages", unit="number + 1", owner="statistics/reuse", meaning="1 + the slot of the page's mark; 0: it has none"
    )
    page: NDArray[np.int32] = array(
        np.int32, "guests", "slots", unit="page", owner="statistics/reuse", meaning="the page that a slot was given to"
    )
    marks: NDArray[np.uint64] = array(
        np.uint64, "guests", "words", unit="flags", owner="statistics/reuse",
        meaning="bit s % 64 of word s / 64: slot s is a page's mark",
    )
    tree: NDArray[np.int32] = array(
        np.int32, "guests", "tree_nodes", unit="marks", owner="statistics/reuse",
        meaning="Fenwick tree over the marks in words that are full",
    )
    counts: NDArray[np.int64] = array(
        np.int64, "guests", "groups", "buckets", unit="accesses", owner="statistics/reuse",
        meaning="accesses to the sample by distance among it, at this rate",
    )
    distances: NDArray[np.int64] = array(
        np.int64, "guests", "groups", "buckets", unit="accesses", owner="statistics/reuse",
        meaning="accesses by distance, at higher rates before",
    )
    places: NDArray[np.int64]
# fmt: on


def new_reuse(
    bases: NDArray[np.int64], most_pages: int, weight: int = 1, watched: NDArray[np.uint8] | None = None
) -> Reuse:
    """Return reuse distances of guests of which nothing was seen.

    Args:
        bases: shape [guests + 1]: flat number of every guest's page 0, and of the page after the last one's.
        most_pages: the most pages in the sample of each guest.
        weight: pages that one of the sample stands for at the beginning, a power of two; 1: every page is in it.
        watched: shape [flat pages + 1]: UNSAMPLED all over; None: an array for this alone.
    """
    guests, pages = len(bases) - 1, int(bases[-1])
    longest = int(np.diff(bases).max(initial=0))
    words = (SLOTS_PER_PAGE * (min(longest, most_pages) + 1) >> WORD_SHIFT) + 1
    state = records(guests, REUSE)
    state.begin = bases[:-1]
    state.end = bases[1:]
    state.threshold = EVERY_PAGE // weight
    state.weight = weight
    state.most_pages = most_pages
    lengths = {
        "guests": guests,
        "guest_pages": pages,
        "chunk": CHUNK_ROWS,
        "two_chunks": 2 * CHUNK_ROWS,
        "slots": words << WORD_SHIFT,
        "words": words,
        "tree_nodes": words + 1,
        "groups": GROUPS,
        "buckets": BUCKETS,
    }
    given = {
        "state": state,
        "watched": np.full(pages + 1, UNSAMPLED) if watched is None else watched,
        "recent": np.full((guests, RECENT), NO_PAGE, np.int64),
    }
    reuse = assembled(Reuse, allocated(Reuse, lengths, given))
    draw_sample(reuse)
    return reuse


def no_reuse() -> Reuse:
    """Return what stands for reuse distances where none are kept."""
    return new_reuse(np.zeros(1, np.int64), 0)


@entry_point
def draw_sample(reuse: Reuse) -> None:
    """Write which pages of every guest are in its sample."""
    for guest in range(len(reuse.state)):
        known = reuse.state[guest]
        draw_pages(reuse.watched, np.int64(known.begin), np.int64(known.end), np.int64(known.threshold))


class GuestReuse(NamedTuple):
    """What is known of one guest's reuse distances.

    Args:
        weight: accesses, and pages, that one of the sample stands for; 1: every page is in it.
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
        fast_path: shape [flat pages + 1]: State.fast_path, which says what is no memory.
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
    """Note in `reuse.rows` which of the first `number` rows in `of` matter here; return how many."""
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
    """Take in an access to a page, if it is in the sample: it goes to the head of the list of those used last."""
    known = min(page, len(reuse.slot))
    if is_sampled(reuse.watched, np.uint64(known)) != 0 and (fast_path[known] & NO_MEMORY) == 0:
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
    slot = np.int64(reuse.slot[page]) - 1
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
def _marks_after(marks: NDArray[np.uint64], tree: NDArray[np.int32], state: Record, slot: Int) -> Int:
    """Return how many marks of a guest come after that of a slot."""
    word = slot >> WORD_SHIFT
    # Two shifts: by up to 63 bits, and one more.
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
    reuse.slot[page] = 0
    reuse.marks[guest, word] &= ~(ONE << np.uint64(slot & WORD_MASK))
    state.marked -= 1
    if word < state.next_slot >> WORD_SHIFT:
        _add(reuse.tree[guest], word, -1)


@part
def _mark(reuse: Reuse, state: Record, guest: Int, page: Int) -> None:
    """Give the next slot to a page; a word that is full goes into the tree."""
    slot = np.int64(state.next_slot)
    word = slot >> WORD_SHIFT
    reuse.page[guest, slot] = page
    reuse.slot[page] = slot + 1
    reuse.marks[guest, word] |= ONE << np.uint64(slot & WORD_MASK)
    state.marked += 1
    state.next_slot = slot + 1
    if (slot & WORD_MASK) == WORD_MASK:
        _add(reuse.tree[guest], word, _ones(reuse.marks[guest, word]))


@kernel
def _close_up(reuse: Reuse, state: Record, guest: Int) -> None:
    """Move all marks of a guest to the first slots, in their order, but for pages that are no longer in the sample."""
    marks, pages = reuse.marks[guest], reuse.page[guest]
    used: Int = 0
    for slot in range(state.next_slot):
        if (marks[slot >> WORD_SHIFT] >> np.uint64(slot & WORD_MASK)) & ONE:
            page = pages[slot]
            reuse.slot[page] = 0
            if is_sampled(reuse.watched, np.uint64(page)) != 0:
                pages[used] = page
                used += 1
    marks[:] = 0
    reuse.tree[guest][:] = 0
    state.next_slot = 0
    state.marked = 0
    for slot in range(used):
        _mark(reuse, state, guest, np.int64(pages[slot]))


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
    """Enter what a guest's sample counted at its present rate in the distances: each stands for `weight` of them."""
    weight = reuse.state[guest].weight
    for start in range(BUCKETS):
        there = bucket(_start(start) * weight)
        for group in range(GROUPS):
            reuse.distances[guest, group, there] += reuse.counts[guest, group, start] * weight
            reuse.counts[guest, group, start] = 0
    reuse.distances[guest, :, 0] = 0


@kernel
def _start(number: Int) -> Int:
    """Return the smallest distance of a bucket."""
    if number < FINE:
        return number
    octave, part = divmod(number - FINE, PARTS)
    return (PARTS + part) << (octave + FINE_SHIFT - PARTS_SHIFT)
