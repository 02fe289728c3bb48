"""The loop of translations: rows looked up in the TLBs of every world, and the walks of those that are in none.

It lags behind the loop over accesses (replay.py).  Translations matter to the models only at an access that may
change something; they are made up to there when one comes, and up to the end of a chunk.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.model import pte
from eptreplay.model._jit import kernel
from eptreplay.model.books import crosses, known_page, vcpu_of
from eptreplay.model.state import NO_MEMORY, Int, State, world
from eptreplay.model.tlb import (
    LARGE,
    NO_UNIT,
    SMALL,
    USED,
    Tlbs,
    cached,
    cached_structure,
    entry_key,
    host_size,
    size_of,
    touch,
)

EMPTY = pte.EMPTY
PAGE_SHIFT = pte.PAGE_SHIFT
LARGE_SHIFT = np.uint64(9)
ONE = np.uint64(1)
GUEST = 0  # number of the guest on its host


@kernel
def translate_rows(
    states: State,
    tlbs: Tlbs,
    gpa: NDArray[np.uint64],
    op: NDArray[np.uint8],
    vcpu: NDArray[np.uint16],
    size: NDArray[np.uint16],
    end: Int,
) -> None:
    """Make the translations of all rows before `end` that have not been made yet, in every world.

    Rows outside memory have none.  See replay_rows for the arrays.
    """
    for number in range(len(tlbs.counters)):
        if tlbs.setting[0].guest_large != 0:
            missed = _look_up_large(world(states, number), tlbs, number, gpa, op, vcpu, size, end)
        else:
            missed = _look_up(states.quiet, tlbs, number, gpa, op, vcpu, size, end)
        _walk(world(states, number), tlbs, number, missed)
    tlbs.setting[0].done = end


@kernel
def _look_up(
    quiet: NDArray[np.uint8],
    tlbs: Tlbs,
    number: Int,
    gpa: NDArray[np.uint64],
    op: NDArray[np.uint8],
    vcpu: NDArray[np.uint16],
    size: NDArray[np.uint16],
    end: Int,
) -> Int:
    """Look up rows, all translations of 4 KB; return how many were in no TLB: these stand in tlbs.missed."""
    units = tlbs.unit[number]
    route = tlbs.route[number]
    counters = tlbs.counters[number, 0]
    beyond = np.uint64(len(quiet) - 1)
    missed: Int = 0
    for i in range(tlbs.setting[0].done, end):
        kind = op[i]
        page = gpa[i] >> PAGE_SHIFT
        who = vcpu_of(vcpu, np.int64(i))
        entries = tlbs.entry[number, who]
        last = page + ONE + np.uint64(crosses(gpa[i], size, i))
        while page < last:
            key = entry_key(GUEST, page, SMALL) | (ONE << np.uint64(kind))
            first = units[route[kind, SMALL, 0]]
            at = first.first + (page & first.set_mask) * first.ways
            if (entries[at] | USED) == (key | USED):
                entries[at] |= key
            elif quiet[known_page(page, beyond)] & NO_MEMORY == 0 and not touch(entries, first, page, key):
                counters.first_misses[kind] += 1
                second = route[kind, SMALL, 1]
                if second == NO_UNIT or not touch(entries, units[second], page, key):
                    counters.misses[kind] += 1
                    tlbs.missed[missed] = page
                    tlbs.missed_by[missed] = who
                    missed += 1
            page += ONE
    return missed


@kernel
def _look_up_large(
    st: State,
    tlbs: Tlbs,
    number: Int,
    gpa: NDArray[np.uint64],
    op: NDArray[np.uint8],
    vcpu: NDArray[np.uint16],
    size: NDArray[np.uint16],
    end: Int,
) -> Int:
    """Do the same for a guest of 2 MB pages: a translation has 2 MB where the host's page has, too."""
    counters = tlbs.counters[number, 0]
    beyond = np.uint64(len(st.quiet) - 1)
    missed: Int = 0
    for i in range(tlbs.setting[0].done, end):
        kind = np.int64(op[i])
        page = gpa[i] >> PAGE_SHIFT
        who = vcpu_of(vcpu, np.int64(i))
        last = page + ONE + np.uint64(crosses(gpa[i], size, i))
        while page < last:
            if st.quiet[known_page(page, beyond)] & NO_MEMORY == 0:
                held = cached(tlbs, number, who, GUEST, page, kind)
                found = size_of(held) if held != EMPTY else host_size(st, page)
                level = _level(tlbs, number, who, page, kind, found)
                counters.first_misses[kind] += np.int64(level > 0)
                counters.misses[kind] += np.int64(level > 1)
                tlbs.missed[missed] = page
                tlbs.missed_by[missed] = who
                missed += np.int64(level > 1)
            page += ONE
    return missed


@kernel
def _level(tlbs: Tlbs, number: Int, vcpu: Int, page: np.uint64, op: Int, size: Int) -> Int:
    """Return the level of TLB that held a translation of a size: 0, 1, or 2 for none; all levels hold it then."""
    key = entry_key(GUEST, page, size) | (ONE << np.uint64(op))
    number_of_page = page >> LARGE_SHIFT if size == LARGE else page
    for level in range(2):
        unit = tlbs.route[number, op, size, level]
        if unit != NO_UNIT and touch(tlbs.entry[number, vcpu], tlbs.unit[number, unit], number_of_page, key):
            return level
    return 2


@kernel
def _walk(st: State, tlbs: Tlbs, number: Int, missed: Int) -> None:
    """Count the walks for translations that were in no TLB, in order."""
    walks = tlbs.counters[number, 0].walks
    for k in range(missed):
        page = tlbs.missed[k]
        structure = cached_structure(tlbs, number, np.int64(tlbs.missed_by[k]), page)
        walks[host_size(st, page), structure] += 1
