"""A sample of pages, those whose hash is below a threshold, and the rows of a trace that access them.

A bit of a page's byte says whether the page is in the sample (UNSAMPLED).  Where the access loop reads a page's byte anyway,
that is State.fast_path itself, and the row scan lists rows that access the sample; all other rows cost nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import Int
from eptreplay.model.state.fast_path import UNSAMPLED
from eptreplay.model.state.pte import PAGE_SHIFT
from eptreplay.model.state.rows import Rows, crosses, known_page

HASH_BITS = 24
EVERY_PAGE = 1 << HASH_BITS  # threshold at which all pages are in the sample
_HASH_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio, odd (Knuth, TAOCP 3, 6.4)
_HASH_MIX = np.uint64(0xBF58476D1CE4E5B9)
_HASH_SHIFT = np.uint64(64 - HASH_BITS)
_FOLD_SHIFT = np.uint64(32)
GROUPS = 16  # parts of the sample, whose differences give an estimate of the error
_GROUP_MASK = np.uint64(GROUPS - 1)

SAMPLED_SHIFT = np.uint8(7)  # of UNSAMPLED
ONE = np.uint8(1)
NO_PAGE = -1


@kernel
def _hash(page: Int) -> np.uint64:
    """Return HASH_BITS bits that look random."""
    product = np.uint64(page) * _HASH_FACTOR
    return ((product ^ (product >> _FOLD_SHIFT)) * _HASH_MIX) >> _HASH_SHIFT


@kernel
def group_of(page: Int) -> Int:
    """Return the part of the sample that a page, counted from its guest's first, belongs to."""
    return np.int64(_hash(page) & _GROUP_MASK)


@kernel
def draw_pages(watched: NDArray[np.uint8], begin: Int, end: Int, threshold: Int) -> None:
    """Write which of the flat pages [begin, end) of a guest are in its sample."""
    for page in range(begin, end):
        left_out = np.uint8(_hash(page - begin) >= np.uint64(threshold))
        watched[page] = (watched[page] & ~UNSAMPLED) | np.uint8(left_out * UNSAMPLED)


@kernel
def is_sampled(watched: NDArray[np.uint8], page: np.uint64) -> np.uint8:
    """Return 1 if a page is in the sample, else 0."""
    return (watched[known_page(page, np.uint64(len(watched) - 1))] >> SAMPLED_SHIFT) ^ ONE


@kernel
def find_rows(watched: NDArray[np.uint8], found: NDArray[np.int32], rows: Rows, begin: Int, end: Int) -> Int:
    """List in `found` those of the rows [begin, end) that access the sample, without a branch; return how many."""
    gpa = rows.gpa
    count = np.uint64(0)
    for i in range(np.uint64(begin), np.uint64(end)):
        found[count] = i
        count += np.uint64(is_sampled(watched, gpa[i] >> PAGE_SHIFT))
    return np.int64(count)


@kernel
def find_rows_across(
    watched: NDArray[np.uint8], found: NDArray[np.int32], rows: Rows, begin: Int, end: Int
) -> Int:
    """Do the same as find_rows where rows may cross a page boundary; all rows that do are listed."""
    count = np.uint64(0)
    for i in range(np.uint64(begin), np.uint64(end)):
        found[count] = i
        count += np.uint64(is_sampled(watched, rows.gpa[i] >> PAGE_SHIFT)) | np.uint64(crosses(rows, i))
    return np.int64(count)


@kernel
def keep_rows(
    watched: NDArray[np.uint8], found: NDArray[np.int32], rows: Rows, of: NDArray[np.int32], number: Int
) -> Int:
    """List in `found` those of the first `number` rows in `of` that access the sample or cross a page boundary; return how many."""
    count = np.uint64(0)
    for k in range(number):
        i = np.int64(of[k])
        found[count] = i
        count += np.uint64(is_sampled(watched, rows.gpa[i] >> PAGE_SHIFT)) | np.uint64(crosses(rows, i))
    return np.int64(count)


@kernel
def list_pages(found: NDArray[np.int32], used: NDArray[np.int64], rows: Rows, number: Int) -> Int:
    """List in `used` the pages of the first `number` rows in `found`, without those that repeat the one before; return how many."""
    gpa = rows.gpa
    last: Int = NO_PAGE
    listed = np.uint64(0)
    for k in range(np.uint64(number)):
        page = np.int64(gpa[found[k]] >> PAGE_SHIFT)
        used[listed] = page
        listed += np.uint64(page != last)
        last = page
    return np.int64(listed)


@kernel
def list_pages_across(found: NDArray[np.int32], used: NDArray[np.int64], rows: Rows, number: Int) -> Int:
    """Do the same as list_pages where rows may cross a page boundary, repetitions included."""
    listed: Int = 0
    for k in range(number):
        i = np.int64(found[k])
        used[listed] = np.int64(rows.gpa[i] >> PAGE_SHIFT)
        used[listed + 1] = used[listed] + 1
        listed += 1 + np.int64(crosses(rows, i))
    return listed
