"""Translations: rows looked up in the TLBs of every instance, and the walks of those that are in none.

This loop lags behind the loop over accesses (access_loop/fast_path.py).  Translations matter to the model only at an access of
the slow path, so they are made up to that row when one comes, and up to the end of a chunk otherwise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import kernel, part
from eptreplay.model._numba.lanes import LANES, move_up
from eptreplay.model._numba.types import ZERO, Int, Record
from eptreplay.model.cpu.tlb import (
    FIRST,
    KINDS,
    LARGE,
    LEVELS,
    NO_STRUCTURE,
    NO_TRANSLATION,
    NO_UNIT,
    SECOND,
    SMALL,
    USED,
    Tlbs,
    cached,
    cached_structure,
    entry_key,
    host_size,
    size_of,
    touch,
    touch_set,
)
from eptreplay.model.state.fast_path import NO_MEMORY
from eptreplay.model.state.pte import PAGE_SHIFT
from eptreplay.model.state.rows import Rows, crosses, known_page, vcpu_of
from eptreplay.model.state.state import State, instance

LARGE_SHIFT = np.uint64(9)
ONE = np.uint64(1)
KIND_BITS = np.uint64(
    21
)  # of a count of rows of a chunk; three counts, one per kind of access, are packed into a word
KIND_MASK = np.uint64((1 << 21) - 1)
GUEST = 0  # number of the guest on its host


@kernel
def translate_rows(
    states: State,
    tlbs: Tlbs,
    rows: Rows,
    end: Int,
) -> None:
    """Make the translations of all rows before `end` that have not been made yet, in every instance.

    All of them but the first have to be no-ops (state/fast_path.py).  So all pages that they access are memory, and the
    fast-path byte that says so, one of very many in a large guest, need not be read again.
    """
    setting = tlbs.setting[0]
    begin = np.int64(setting.done)
    if begin >= end:
        return
    for number in range(len(tlbs.counters)):
        st = instance(states, number)
        _translate_slow(st, tlbs, number, rows, begin)
        if setting.guest_large != 0:
            _translate_large(st, tlbs, number, rows, begin + 1, end)
        else:
            _translate_small(st, tlbs, number, rows, begin + 1, end)
    setting.done = end


@kernel
def _translate_slow(
    st: State,
    tlbs: Tlbs,
    number: Int,
    rows: Rows,
    row: Int,
) -> None:
    """Make the translations of one row, of those of its pages that are memory."""
    page = rows.gpa[row] >> PAGE_SHIFT
    beyond = np.uint64(len(st.fast_path) - 1)
    last = page + ONE + np.uint64(crosses(rows, row))
    while page < last:
        if st.fast_path[known_page(page, beyond)] & NO_MEMORY == 0:
            _translate(st, tlbs, number, vcpu_of(rows, row), page, np.int64(rows.op[row]))
        page += ONE


@kernel
def _translate_large(
    st: State,
    tlbs: Tlbs,
    number: Int,
    rows: Rows,
    begin: Int,
    end: Int,
) -> None:
    """Make the translations of the rows [begin, end), all of them no-ops, of a guest with 2 MB pages."""
    for i in range(begin, end):
        page = rows.gpa[i] >> PAGE_SHIFT
        last = page + ONE + np.uint64(crosses(rows, i))
        while page < last:
            _translate(st, tlbs, number, vcpu_of(rows, i), page, np.int64(rows.op[i]))
            page += ONE


@part
def _translate(st: State, tlbs: Tlbs, number: Int, vcpu: Int, page: np.uint64, op: Int) -> None:
    """Make one translation: it has 2 MB if both the guest's page and the host's have, else 4 KB."""
    size: Int = SMALL
    if tlbs.setting[0].guest_large != 0:
        held = cached(tlbs, number, vcpu, GUEST, page, op)
        size = size_of(held) if held != NO_TRANSLATION else host_size(st, page)
    level = _level(tlbs, number, vcpu, page, op, size)
    if level > 0:
        counters = tlbs.counters[number, 0]
        counters.first_misses[op] += 1
        if level > 1:
            counters.misses[op] += 1
            structure = cached_structure(tlbs.structure[number, vcpu], tlbs.setting[0].structures, page)
            counters.walks[host_size(st, page), structure] += 1


@part
def _level(tlbs: Tlbs, number: Int, vcpu: Int, page: np.uint64, op: Int, size: Int) -> Int:
    """Return the level of TLB that held a translation of a size, 0 or 1, or 2 for none; afterwards all levels hold it."""
    key = entry_key(GUEST, page, size) | (ONE << np.uint64(op))
    number_of_page = page >> LARGE_SHIFT if size == LARGE else page
    for level in range(LEVELS):
        unit = tlbs.route[number, op, size, level]
        if unit != NO_UNIT and touch(tlbs.entry[number, vcpu], tlbs.unit[number, unit], number_of_page, key):
            return level
    return LEVELS


@kernel
def _translate_small(
    st: State,
    tlbs: Tlbs,
    number: Int,
    rows: Rows,
    begin: Int,
    end: Int,
) -> None:
    """Make the translations, all of 4 KB, of the rows [begin, end), all of them no-ops.

    Most often the wanted translation is the last used one of its first-level set, and nothing is to be done.  Otherwise both
    levels and the host's entry are looked at without a branch, whether they turn out to be needed or not; only sets of more
    than one group, and paging-structure caches, take a branch.
    """
    gpa, op, vcpu = rows.gpa, rows.op, rows.vcpu
    entry = tlbs.entry[number]
    path = tlbs.path[number]
    counters = tlbs.counters[number, 0]
    structures = tlbs.setting[0].structures
    entries = entry[np.uint64(vcpu[0])]
    first_misses = np.uint64(0)
    misses = np.uint64(0)
    large: Int = 0
    for i in range(np.uint64(begin), np.uint64(end)):
        kind = np.uint64(op[i])
        page = gpa[i] >> PAGE_SHIFT
        if len(vcpu) > 1:
            entries = entry[np.uint64(vcpu[i])]
        by = path[kind]
        used = ONE << kind
        key = entry_key(GUEST, page, SMALL) | used
        at = by.first[FIRST] + (page & by.set_mask[FIRST]) * by.step[FIRST]
        if entries[at] & ~(USED ^ used) != key:
            missed = ONE - _is_in(entries, by, FIRST, page, key, ONE)
            first_misses += missed << (KIND_BITS * kind)
            missed -= _is_in(entries, by, SECOND, page, key, missed)
            misses += missed << (KIND_BITS * kind)
            is_large = np.int64(missed) & host_size(st, page)
            large += is_large
            if structures != 0 and missed != 0:
                held = tlbs.structure[number, vcpu_of(rows, np.int64(i))]
                counters.walks[is_large, cached_structure(held, structures, page)] += 1
        if crosses(rows, np.int64(i)):
            _translate(st, tlbs, number, vcpu_of(rows, np.int64(i)), page + ONE, np.int64(kind))
    walks = _count_misses(counters, first_misses, misses)
    if structures == 0:
        counters.walks[LARGE, NO_STRUCTURE] += large
        counters.walks[SMALL, NO_STRUCTURE] += walks - large


@part
def _is_in(
    entries: NDArray[np.uint64], by: Record, level: Int, page: np.uint64, key: np.uint64, wanted: np.uint64
) -> np.uint64:
    """Do what `touch` does with a level of TLB if `wanted` is 1, and return 1 if the translation was there, else 0."""
    at = by.first[level] + (page & by.set_mask[level]) * by.step[level]
    if by.step[level] > LANES:
        is_there = np.uint64(wanted != NO_TRANSLATION and touch_set(entries, by.ways[level], at, key))
    else:
        lanes = by.lanes[level] & (ZERO - wanted)
        found, _, _ = move_up(entries, at, key, key, USED, USED, lanes)
        is_there = np.uint64(found != NO_TRANSLATION) & wanted
    return is_there


@kernel
def _count_misses(counters: Record, first_misses: np.uint64, misses: np.uint64) -> Int:
    """Add misses by kind of access, KIND_BITS for each, to the counters; return how many were in no TLB."""
    walks: Int = 0
    for kind in range(KINDS):
        shift = KIND_BITS * np.uint64(kind)
        missed = np.int64((misses >> shift) & KIND_MASK)
        counters.first_misses[kind] += np.int64((first_misses >> shift) & KIND_MASK)
        counters.misses[kind] += missed
        walks += missed
    return walks
