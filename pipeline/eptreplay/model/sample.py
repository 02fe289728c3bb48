"""A sample of pages: those whose hash is below a threshold, and the rows of a trace that access them.

A bit a page says whether it is in the sample, so that an access to any other costs a look at that bit: all bits of a
guest of some GB fit into a core's first cache.  A byte a page says the same, and which part of the sample it is in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.model import pte
from eptreplay.model._jit import kernel
from eptreplay.model.books import crosses
from eptreplay.model.state import Int

PAGE_SHIFT = pte.PAGE_SHIFT

HASH_BITS = 24
EVERY_PAGE = 1 << HASH_BITS  # threshold at which all pages are in the sample
_HASH_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio, odd (Knuth, TAOCP 3, 6.4)
_HASH_MIX = np.uint64(0xBF58476D1CE4E5B9)
_HASH_SHIFT = np.uint64(64 - HASH_BITS)
_FOLD_SHIFT = np.uint64(32)
GROUPS = 16  # parts of the sample, of which the error is estimated
_GROUP_MASK = np.uint64(GROUPS - 1)

# A page's byte: a bit says whether it is in the sample, four more which part of it.
SAMPLED = np.uint8(1)
GROUP_SHIFT = 4

ONE = np.uint64(1)
NOTHING = np.uint64(0)
WORD_SHIFT = 6
WORD_MASK = np.uint64(63)
NO_PAGE = -1


@kernel
def _hash(page: Int) -> np.uint64:
    """Return HASH_BITS bits that look random."""
    product = np.uint64(page) * _HASH_FACTOR
    return ((product ^ (product >> _FOLD_SHIFT)) * _HASH_MIX) >> _HASH_SHIFT


@kernel
def draw_pages(
    sampled: NDArray[np.uint8], drawn: NDArray[np.uint64], begin: Int, end: Int, threshold: Int
) -> None:
    """Write which of the flat pages [begin, end) of a guest are in its sample, and in which group."""
    for page in range(begin, end):
        found = _hash(page - begin)
        group = np.uint8((found & _GROUP_MASK) << np.uint64(GROUP_SHIFT))
        chosen = found < np.uint64(threshold)
        sampled[page] = (group | SAMPLED) if chosen else np.uint8(0)
        bit = ONE << (np.uint64(page) & WORD_MASK)
        drawn[page >> WORD_SHIFT] = (drawn[page >> WORD_SHIFT] & ~bit) | (bit if chosen else NOTHING)


@kernel
def _is_drawn(drawn: NDArray[np.uint64], gpa: np.uint64) -> np.uint64:
    """Return 1 if the page of an address is in the sample, else 0."""
    page = gpa >> PAGE_SHIFT
    word = min(page >> np.uint64(WORD_SHIFT), np.uint64(len(drawn) - 1))
    return (drawn[word] >> (page & WORD_MASK)) & ONE


@kernel
def find_rows(
    drawn: NDArray[np.uint64], rows: NDArray[np.int32], gpa: NDArray[np.uint64], begin: Int, end: Int
) -> Int:
    """Note in `rows` which of the rows [begin, end) access the sample, without a branch; return how many."""
    found = np.uint64(0)
    for i in range(np.uint64(begin), np.uint64(end)):
        rows[found] = i
        found += _is_drawn(drawn, gpa[i])
    return np.int64(found)


@kernel
def list_pages(rows: NDArray[np.int32], used: NDArray[np.int64], gpa: NDArray[np.uint64], count: Int) -> Int:
    """Write the pages of the first `count` of `rows` to `used`, but for those that repeat the one before; return how many."""
    last: Int = NO_PAGE
    listed = np.uint64(0)
    for k in range(np.uint64(count)):
        page = np.int64(gpa[rows[k]] >> PAGE_SHIFT)
        used[listed] = page
        listed += np.uint64(page != last)
        last = page
    return np.int64(listed)


@kernel
def find_rows_across(
    drawn: NDArray[np.uint64],
    rows: NDArray[np.int32],
    gpa: NDArray[np.uint64],
    size: NDArray[np.uint16],
    begin: Int,
    end: Int,
) -> Int:
    """Do the same as find_rows where rows may cross a page; all that do are noted."""
    found = np.uint64(0)
    for i in range(np.uint64(begin), np.uint64(end)):
        rows[found] = i
        found += _is_drawn(drawn, gpa[i]) | np.uint64(crosses(gpa[i], size, i))
    return np.int64(found)


@kernel
def list_pages_across(
    rows: NDArray[np.int32],
    used: NDArray[np.int64],
    gpa: NDArray[np.uint64],
    size: NDArray[np.uint16],
    count: Int,
) -> Int:
    """Do the same as list_pages where rows may cross a page, repetitions included."""
    listed: Int = 0
    for k in range(count):
        i = rows[k]
        used[listed] = np.int64(gpa[i] >> PAGE_SHIFT)
        used[listed + 1] = used[listed] + 1
        listed += 1 + np.int64(crosses(gpa[i], size, np.int64(i)))
    return listed
