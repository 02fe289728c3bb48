"""The access loop: rows of a trace, in order, through all guests of a host under several CPU profiles at once.

Almost every access of a trace changes nothing: the page is mapped, its accessed bit is set, and on a write its dirty bit too,
under every profile.  The fast-path byte of the page says so (state/fast_path.py), and then the access only has to be counted.

Rows go through in chunks, each in these steps:

1. The row scan looks at every row, without a branch and without writing to any page's byte, and lists the rows for which there
   is anything to do: the access is no no-op, or the first of its kind in the open interval, or to a sampled page.
2. _note_touched sets the TOUCHED bits for the rows on the list, and keeps those on it that are no no-ops: the slow path.
3. take_slow_path makes their accesses in order, in every instance (slow_path.py).  When one of them takes something away from
   any page, what the scan found out about the rows after it may not be true any more: the next chunk begins there.
4. For the rows that are done, translations, reuse distances and counts are brought up to date.

Instances, one per profile, are stacked along a leading axis (state/state.py).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import entry_point, kernel
from eptreplay.model._numba.bits import BYTES, bytes_having, list_bits
from eptreplay.model._numba.types import ONE, Int
from eptreplay.model.access_loop.dirty_log import DirtyLog
from eptreplay.model.access_loop.slow_path import take_slow_path
from eptreplay.model.cpu.tlb import Tlbs, flush_if_invalidated
from eptreplay.model.cpu.translation import translate_rows
from eptreplay.model.state.fast_path import NO_MEMORY, NO_OP_SHIFT
from eptreplay.model.state.pte import PAGE_SHIFT
from eptreplay.model.state.rows import OP_WRITE, Rows, crosses, known_page
from eptreplay.model.state.state import State, instance
from eptreplay.model.statistics.intervals import CHUNK_ROWS, OPEN_SHIFT, IntervalStatistics, count_accesses
from eptreplay.model.statistics.reuse import note_rows, rows_before, sampled_rows
from eptreplay.model.statistics.reuse_arrays import Reuse

ONE_BIT = np.uint8(1)
MEMORY_SHIFT = np.uint8(6)  # of NO_MEMORY
ONE_NO_OP = np.uint8(1 << NO_OP_SHIFT)
# The bits of State.fast_path that are all set when there is nothing to do for a read, a write, a fetch: UNSAMPLED, and NO_OP and
# TOUCHED of the kind.
DONE = np.array([0b1000_1001, 0b1001_0010, 0b1010_0100], np.uint8)
ANY = np.uint8(0xFF)
FAR_PAGES = 1 << 22  # with so many pages, their bytes are more than the caches of a core hold
IS_NO_FIRST_WRITE = np.uint8(1 << OP_WRITE) | NO_MEMORY  # TOUCHED by a write, or no memory


@entry_point
def replay_rows(
    states: State,
    statistics: IntervalStatistics,
    log: DirtyLog,
    tlbs: Tlbs,
    reuse: Reuse,
    rows: Rows,
    begin: Int,
    end: Int,
    first_row: Int,
) -> None:
    """Replay the rows [begin, end).

    Args:
        states: the instances.
        statistics: what the trace did, updated.
        log: what dirty tracking saw, updated.
        tlbs: the TLBs of all instances, updated; they have no instances where TLBs are not modelled.
        reuse: reuse distances, updated; `reuse.watched` is State.fast_path, or there are none.
        rows: the rows, checked by the caller.
        begin: the first one to replay.
        end: the one after the last.
        first_row: number of the first of `rows` in the trace, where they are consecutive.
    """
    tlbs.setting[0].done = begin
    for number in range(len(tlbs.counters)):
        flush_if_invalidated(instance(states, number), tlbs, number)  # a sweep may have come between
    while begin < end:
        last = min(begin + CHUNK_ROWS, end)
        if len(rows.size) != 0:
            found = _scan_across(states.fast_path, statistics.rows, rows, begin, last)
        elif len(states.fast_path) < FAR_PAGES:
            found = _scan(states.fast_path, statistics.rows, rows, begin, last)
        else:
            found = _scan_far(states.fast_path, statistics, rows, begin, last)
        sampled = sampled_rows(reuse, rows, statistics.rows, found)
        slow = _note_touched(states.fast_path, statistics, rows, found)
        done = take_slow_path(states, statistics, log, tlbs, rows, first_row, slow, last)
        if len(tlbs.counters) != 0:
            translate_rows(states, tlbs, rows, done)
        note_rows(reuse, states.fast_path, rows, rows_before(reuse, sampled, done))
        count_accesses(statistics, rows, begin, done)
        begin = done


@kernel
def _scan(fast_path: NDArray[np.uint8], found: NDArray[np.int32], rows: Rows, begin: Int, end: Int) -> Int:
    """List in `found` those of the rows [begin, end) for which there is anything to do; return how many."""
    gpa, op = rows.gpa, rows.op
    beyond = np.uint64(len(fast_path) - 1)
    count = np.uint64(0)
    for i in range(np.uint64(begin), np.uint64(end)):
        done = DONE[op[i]]
        found[count] = i
        count += np.uint64(fast_path[known_page(gpa[i] >> PAGE_SHIFT, beyond)] & done != done)
    return np.int64(count)


@kernel
def _scan_across(
    fast_path: NDArray[np.uint8], found: NDArray[np.int32], rows: Rows, begin: Int, end: Int
) -> Int:
    """Do the same as _scan where rows may cross a page boundary; all rows that do are listed."""
    beyond = np.uint64(len(fast_path) - 1)
    count = np.uint64(0)
    for i in range(np.uint64(begin), np.uint64(end)):
        done = DONE[rows.op[i]]
        found[count] = i
        unfinished = fast_path[known_page(rows.gpa[i] >> PAGE_SHIFT, beyond)] & done != done
        count += np.uint64(unfinished | crosses(rows, i))
    return np.int64(count)


@kernel
def _scan_far(
    fast_path: NDArray[np.uint8], statistics: IntervalStatistics, rows: Rows, begin: Int, end: Int
) -> Int:
    """Do the same as _scan for a guest whose bytes do not fit into the cache.

    The list is written in a second step.  Where each element goes depends on the byte before, and a processor that must not
    speculate about stores (see _numba/bits.py) would load one byte after the other.
    """
    gpa, op, unfinished = rows.gpa, rows.op, statistics.unfinished
    beyond = np.uint64(len(fast_path) - 1)
    first = np.uint64(begin)
    for i in range(first, np.uint64(end)):
        unfinished[i - first] = ~fast_path[known_page(gpa[i] >> PAGE_SHIFT, beyond)] & DONE[op[i]]
    found: Int = 0
    for at in range(0, end - begin, BYTES):
        word = bytes_having(unfinished, at, end - begin, ANY)
        found = list_bits(word, begin + at, statistics.rows, found)
    return found


@kernel
def _note_touched(
    fast_path: NDArray[np.uint8], statistics: IntervalStatistics, rows: Rows, found: Int
) -> Int:
    """Note what the first `found` of `statistics.rows` touch; keep in the list those that take the slow path, and return how many."""
    gpa, op, vcpu = rows.gpa, rows.op, rows.vcpu
    slow: Int = 0
    first_writes: Int = 0
    for k in range(found):
        i = np.int64(statistics.rows[k])
        page = gpa[i] >> PAGE_SHIFT
        state = _touch(fast_path, statistics.open, page, op[i])
        is_slow = (state >> op[i]) & ONE_NO_OP == 0
        writes = _is_first_write(state, op[i])
        if crosses(rows, i):
            state = _touch(fast_path, statistics.open, page + ONE, op[i])
            is_slow |= (state >> op[i]) & ONE_NO_OP == 0
            writes += _is_first_write(state, op[i])
        first_writes += writes
        if len(vcpu) > 1:
            statistics.first_writing[vcpu[i]] += writes
        statistics.rows[slow] = i
        slow += np.int64(is_slow)
    if len(vcpu) == 1:  # added up in a register: adding in memory takes longer than all else here
        statistics.first_writing[vcpu[0]] += first_writes
    return slow


@kernel
def _touch(fast_path: NDArray[np.uint8], open_: NDArray[np.uint8], page: np.uint64, op: np.uint8) -> np.uint8:
    """Set the TOUCHED bit of an access to a page and open the page's block; return the byte of the page as it was."""
    known = known_page(page, np.uint64(len(fast_path) - 1))
    state = fast_path[known]
    is_memory = (state >> MEMORY_SHIFT & ONE_BIT) ^ ONE_BIT
    open_[known >> OPEN_SHIFT] = 1
    fast_path[known] = state | (is_memory << op)
    return state


@kernel
def _is_first_write(state: np.uint8, op: np.uint8) -> Int:
    """Return 1 if an access writes a page of memory, whose byte was `state`, for the first time in the interval, else 0."""
    return np.int64((state & IS_NO_FIRST_WRITE == 0) & (op == OP_WRITE))
