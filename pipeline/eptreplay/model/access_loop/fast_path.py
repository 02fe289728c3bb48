"""The access loop: rows of a trace, in order, through all guests of a host under several CPU profiles at once.

For almost every access of a trace nothing changes: the page is mapped, its accessed bit is set, and on a
write its dirty bit too, under every profile.  One byte a guest page says so (`State.fast_path`, shared by the
states of all profiles):

* bits 0 to 2 (TOUCHED, for reads, writes and fetches): the open interval has seen such an access.  They are
  cleared when it closes (intervals.py);
* bits 3 to 5 (NO_OP, likewise): such an access changes nothing in any model.  They are set when all
  models have taken one (a write settles reads, too), and cleared when any model takes something away from the page's entry (entry.py);
* bit 6 (NO_MEMORY): the page is not memory.  The byte after the last page has it too and stands for all
  addresses beyond;
* bit 7 (UNSAMPLED): no distances of reuse are taken of the page (reuse.py).

Rows go through in chunks, each in steps.  The first looks at every row, without a branch and without
writing to any page's byte, and finds those there is something to do for.  The second marks these, and keeps the late
ones: those that are not no_op.  The third makes them in order (slow_path.py).
When one of them takes something away from any page, what was found out about the rows after it need not be true any
more: they are looked at again.  The last step takes in the distances of reuse of the rows that are done.

Instances: the states of all profiles are stacked along a leading axis.
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
# The bits of State.fast_path that a page has when there is nothing to do for a read, a write, a fetch.
DONE = np.array([0b1000_1001, 0b1001_0010, 0b1010_0100], np.uint8)
ANY = np.uint8(0xFF)
FAR_PAGES = 1 << 22  # bytes, one a page: more than a core has cache for
IS_NO_FIRST_WRITE = np.uint8(1 << OP_WRITE) | NO_MEMORY


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
        tlbs: the TLBs of all instances, updated; of no instances where they are not modelled, or with several guests.
        reuse: reuse distances, updated; it watches State.fast_path, or keeps none.
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
    """Note in `found` which of the rows [begin, end) there is anything to do for; return how many."""
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
    """Do the same as _scan where rows may cross a page; there is something to do for all that do."""
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

    The list is written in a second step: a processor that may not guess where its next place is (speculative store bypass)
    would let no byte come from memory before the last one has.
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
    """Note what the first `found` of `statistics.rows` touch; keep those that take the slow path, and return how many."""
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
    """Mark an access to a page and open its block; return the page's byte as it was."""
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
