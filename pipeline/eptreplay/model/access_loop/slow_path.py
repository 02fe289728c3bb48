"""The slow path: accesses that may change something in the model, made in order, in every instance.

Each of them needs memory that is scattered over arrays far larger than a cache, so it is prefetched some accesses ahead
(_numba/prefetch.py).  Where an access would only set accessed bits, these are deferred instead (deferred_accessed.py).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import kernel, part
from eptreplay.model._numba.prefetch import prefetch
from eptreplay.model._numba.types import Int
from eptreplay.model.access_loop.deferred_accessed import (
    NOT_CLEARED,
    count_deferred,
    defer_accessed,
    defer_alone,
    defers_alone,
    only_sets_accessed,
    write_deferred_for,
)
from eptreplay.model.access_loop.dirty_log import DirtyLog, logged_access
from eptreplay.model.cpu.tlb import NO_TRANSLATION, Tlbs, cached, flush_if_invalidated, serves
from eptreplay.model.cpu.translation import translate_rows
from eptreplay.model.cpu.walk import walk_changes_nothing
from eptreplay.model.page.vm_reserv import vm_phys_foreseen
from eptreplay.model.pmap.ptp import NULL, pmap_pde, pmap_pde_to_pte
from eptreplay.model.state.fast_path import NO_MEMORY, NO_OP, NO_OP_SHIFT
from eptreplay.model.state.guest_pages import page_at
from eptreplay.model.state.pte import EMPTY, NO_BITS, PAGE_SHIFT, PG_PS
from eptreplay.model.state.rows import (
    ADDRESS_MASK,
    GUEST_MASK,
    GUEST_SHIFT,
    NOWHERE,
    OP_WRITE,
    Rows,
    accesses_of,
    crosses,
    known_page,
    row_number,
    vcpu_of,
)
from eptreplay.model.state.state import State, instance, instances_in
from eptreplay.model.statistics.intervals import (
    JUST_WRITTEN,
    IntervalStatistics,
    add_accesses,
    note_unbacked,
)
from eptreplay.model.vm.sg_pager import device_access
from eptreplay.model.vm.vm_map_entry import NO_BAR, bar_at
from eptreplay.model.vm.vm_object import guest_of

AHEAD = 8  # accesses of the slow path whose memory is prefetched; the bytes that tell which memory that is, for twice as many
ONE_NO_OP = np.uint8(1 << NO_OP_SHIFT)
# By the kind of an access, the kinds that are no-ops after it: after a write, reads are, too, in either format.
NO_OP_AFTER = np.array([0b0000_1000, 0b0001_1000, 0b0010_0000], np.uint8)
NO_KIND = np.uint8(0)
GUEST = 0  # the only guest, where TLBs are modelled


@part
def take_slow_path(
    states: State,
    statistics: IntervalStatistics,
    log: DirtyLog,
    tlbs: Tlbs,
    rows: Rows,
    first_row: Int,
    slow: Int,
    end: Int,
) -> Int:
    """Make the accesses of the slow path, in order; return the row from which on rows have to be scanned again, or `end`.

    Args:
        states: the instances.
        statistics: updated.
        log: updated.
        tlbs: updated.
        rows: the rows; a row number ~n stands for the second part of row n, whose first part another share has.
        first_row: number of the first of them in the trace.
        slow: how many of `statistics.rows` take the slow path.
        end: of the chunk.
    """
    alone = defers_alone(states, statistics, log.pml)
    deferred: Int = 0
    for k in range(slow):
        _ask_ahead(states, statistics, rows, k, slow)
        i = np.int64(statistics.rows[k])
        page = rows.gpa[i] >> PAGE_SHIFT
        op = rows.op[i]
        crossing = crosses(rows, i)
        if not crossing and _is_no_op(states.fast_path, page, op):
            continue  # an access of the slow path shortly before made it one
        if alone and not crossing and defer_alone(statistics.deferred, states.fast_path, page, op):
            deferred += 1
            continue
        if len(tlbs.counters) != 0:
            translate_rows(states, tlbs, rows, i)
        who = vcpu_of(rows, i)
        number = row_number(rows, i, first_row)
        weakened = False
        for part_of_access in range(1 + crossing):
            here = page + np.uint64(part_of_access)
            if states.fast_path[known_page(here, np.uint64(len(states.fast_path) - 1))] & NO_MEMORY != 0:
                address = rows.gpa[i] if part_of_access == 0 else here << PAGE_SHIFT
                begins_row = part_of_access == 0 and bool(number >= 0)
                stands_for = accesses_of(rows, i) if part_of_access == 0 else 1
                _access_outside_memory(states, statistics, address, np.int64(op), who, stands_for, begins_row)
            else:
                row = number if number >= 0 else ~number
                weakened |= _make_access(states, statistics, log, tlbs, here, np.int64(op), who, row)
        if weakened:
            end = i + 1
            break
    count_deferred(states, deferred)
    return end


@part
def _ask_ahead(states: State, statistics: IntervalStatistics, rows: Rows, k: Int, slow: Int) -> None:
    """Prefetch the memory that accesses of the slow path after number `k` need."""
    if k + 2 * AHEAD < slow:
        _prefetch_deferred(states, statistics, rows.gpa[statistics.rows[k + 2 * AHEAD]])
    if k + AHEAD < slow:
        i = np.int64(statistics.rows[k + AHEAD])
        if _needs_tables(states.fast_path, statistics.deferred, rows.gpa[i] >> PAGE_SHIFT, rows.op[i]):
            _prefetch_access(states, statistics.first_row, rows.gpa[i])


@kernel
def _is_no_op(fast_path: NDArray[np.uint8], page: np.uint64, op: np.uint8) -> bool:
    """Return whether an access to a page is a no-op."""
    return (fast_path[known_page(page, np.uint64(len(fast_path) - 1))] >> op) & ONE_NO_OP != 0


@kernel
def _needs_tables(
    fast_path: NDArray[np.uint8], deferred: NDArray[np.uint8], page: np.uint64, op: np.uint8
) -> bool:
    """Return whether an access to a page may have to look at page tables."""
    known = np.int64(known_page(page, np.uint64(len(fast_path) - 1)))
    only_defers = known < len(deferred) and only_sets_accessed(deferred, known, op)
    return not only_defers and (fast_path[known] >> op) & ONE_NO_OP == 0


@kernel
def _prefetch_deferred(states: State, statistics: IntervalStatistics, gpa: np.uint64) -> None:
    """Prefetch the bytes that tell whether an access has to look at page tables."""
    page = gpa >> PAGE_SHIFT
    if page < np.uint64(len(statistics.deferred)):
        prefetch(states.fast_path, np.int64(page))
        prefetch(statistics.deferred, np.int64(page))


@kernel
def _prefetch_access(states: State, first_row: NDArray[np.int64], gpa: np.uint64) -> None:
    """Prefetch the memory that an access may need."""
    page = gpa >> PAGE_SHIFT
    if page < np.uint64(len(first_row)):
        prefetch(first_row, np.int64(page))
        guest = guest_of(instance(states, 0), np.int64(page))
        va = gpa - (np.uint64(instance(states, 0).guests[guest].begin) << PAGE_SHIFT)
        for number in range(instances_in(states)):
            st = instance(states, number)
            prefetch(st.object, np.int64(page))
            m = vm_phys_foreseen(st, guest, np.int64(page))
            if m >= 0:
                prefetch(st.page, m)
            pde = pmap_pde(st, st.pmap[guest], va)
            if pde != NULL and (st.pt[pde] & PG_PS) == NO_BITS and st.pt[pde] != EMPTY:
                prefetch(st.pt, pmap_pde_to_pte(st, pde, va))


@part
def _make_access(
    states: State,
    statistics: IntervalStatistics,
    log: DirtyLog,
    tlbs: Tlbs,
    page: np.uint64,
    op: Int,
    vcpu: Int,
    row: Int,
) -> bool:
    """Make an access to memory in every instance; return whether any page lost NO_OP bits by it."""
    first = instance(states, 0)
    known = np.int64(page)
    if (states.fast_path[page_at(known)] >> op) & ONE_NO_OP != 0:
        return False
    guest = guest_of(first, known)
    # This is done on the slow path only: a write is a no-op only after another one since the last harvest, which clears the
    # NO_OP bits of whatever it makes clean.
    statistics.unharvested[page_at(known)] |= np.uint8(op == OP_WRITE) * JUST_WRITTEN
    kind = np.uint8(op)
    if only_sets_accessed(statistics.deferred, known, kind) and defer_accessed(
        states, statistics.deferred, log.pml, guest, known, kind, vcpu
    ):
        return False
    if statistics.first_row[page_at(known)] == 0:
        statistics.first_row[page_at(known)] = row + 1
    va = (page - np.uint64(first.guests[guest].begin)) << PAGE_SHIFT
    # Kinds of access that would do no more than set accessed bits are no-ops after this access, which sets them.
    kinds = statistics.deferred[page_at(known)] & NO_OP
    states.fast_path[page_at(known)] |= kinds
    if statistics.tally[0].deferring != 0:
        write_deferred_for(states, statistics, guest, known, va, 1 << op)
    statistics.deferred[page_at(known)] = NOT_CLEARED
    disturbed = False
    may_set = statistics.tally[0].no_ops
    for number in range(instances_in(states)):
        st = instance(states, number)
        st.host[0].disturbed = 0
        st.host[0].refused = 0
        if len(tlbs.counters) != 0 and not _walks(st, tlbs, number, page, op, vcpu):
            may_set = NO_KIND
        else:
            logged_access(st, log, number, guest, va, op, vcpu, known)
            if len(tlbs.counters) != 0:
                flush_if_invalidated(st, tlbs, number)
        if st.host[0].refused != 0:
            may_set = NO_KIND
        disturbed |= st.host[0].disturbed != 0
    if may_set == NO_KIND:
        states.fast_path[page_at(known)] &= ~kinds
    states.fast_path[page_at(known)] |= NO_OP_AFTER[op] & may_set
    return disturbed


@kernel
def _access_outside_memory(
    states: State,
    statistics: IntervalStatistics,
    address: np.uint64,
    op: Int,
    vcpu: Int,
    accesses: Int,
    begins_row: bool,
) -> None:
    """Make an access to a BAR in every instance; anywhere else outside memory it counts as unbacked only."""
    first = instance(states, 0)
    guest = _guest_at(states, address)
    tally = statistics.tally[guest]
    add_accesses(tally, op, -accesses)
    gpa = _own_address(first, guest, address)
    within = gpa >> np.int64(PAGE_SHIFT)
    bar = bar_at(first, guest, within)
    if bar == NO_BAR:
        # The second part of a row counts as a row where the first one is not unbacked, too.
        is_row = begins_row or _is_backed(states, guest, within - 1)
        note_unbacked(tally, gpa, accesses, np.int64(is_row))
        return
    for number in range(instances_in(states)):
        device_access(instance(states, number), guest, vcpu, bar, within, op, accesses)


@kernel
def _guest_at(states: State, address: np.uint64) -> Int:
    """Return the guest whose flat byte address this is."""
    if address & NOWHERE != NO_BITS:
        return np.int64((address >> GUEST_SHIFT) & GUEST_MASK)
    beyond = np.uint64(len(states.fast_path) - 1)
    return guest_of(instance(states, 0), np.int64(known_page(address >> PAGE_SHIFT, beyond)))


@kernel
def _own_address(st: State, guest: Int, address: np.uint64) -> Int:
    """Return the guest-physical address of a flat byte address."""
    if address & NOWHERE != NO_BITS:
        return np.int64(address & ADDRESS_MASK)
    return np.int64(address) - (np.int64(st.guests[guest].begin) << np.int64(PAGE_SHIFT))


@kernel
def _is_backed(states: State, guest: Int, within: Int) -> bool:
    """Return whether a guest page is memory or in a BAR."""
    st = instance(states, 0)
    flat = within + st.guests[guest].begin
    if flat < st.guests[guest].end and states.fast_path[page_at(flat)] & NO_MEMORY == 0:
        return True
    return bar_at(st, guest, within) != NO_BAR


@kernel
def _walks(st: State, tlbs: Tlbs, number: Int, page: np.uint64, op: Int, vcpu: Int) -> bool:
    """Return whether the CPU walks the tables for an access, or would find nothing to change there.

    If not, a cached translation serves the access, though an accessed or dirty bit is clear; that is counted as stale.
    """
    entry = cached(tlbs, number, vcpu, GUEST, page, op)
    if entry == NO_TRANSLATION or walk_changes_nothing(st, st.pmap[0], page << PAGE_SHIFT, 1 << op):
        return True
    if serves(entry, op):
        tlbs.counters[number, 0].stale += 1
        return False
    tlbs.counters[number, 0].dirty_walks += np.int64(op == OP_WRITE)
    return True
