"""Late accesses: those that may change something in a model, made in order, in every world.

Each of them needs memory scattered over arrays far greater than a cache; it is asked for some accesses ahead
(_prefetch.py).  Where the only thing to do is to set accessed bits, a mark stands for them (marks.py).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import kernel, part
from eptreplay.model._numba.prefetch import prefetch
from eptreplay.model.access_loop.deferred_accessed import (
    WARM,
    count_marks,
    is_light,
    mark_accessed,
    mark_alone,
    marks_alone,
    write_marks_for,
)
from eptreplay.model.access_loop.dirty_log import DirtyLog, logged_access
from eptreplay.model.cpu.tlb import Tlbs, cached, flush_if_invalidated, serves
from eptreplay.model.cpu.translation import translate_rows
from eptreplay.model.cpu.walk import walk_changes_nothing
from eptreplay.model.pmap.ptp import NULL, pmap_pde, pmap_pde_to_pte
from eptreplay.model.state import pte
from eptreplay.model.state.state import NO_MEMORY, SETTLED, SETTLED_SHIFT, Int, State, world, worlds_in
from eptreplay.model.statistics.intervals import (
    JUST_WRITTEN,
    OP_WRITE,
    Books,
    add_accesses,
    crosses,
    known_page,
    note_unbacked,
    vcpu_of,
)
from eptreplay.model.vm.sg_pager import device_access
from eptreplay.model.vm.vm_map import NO_BAR, bar_at
from eptreplay.model.vm.vm_object import guest_of
from eptreplay.model.vm.vm_reserv import vm_phys_foreseen

EMPTY = pte.EMPTY
PG_PS = pte.PG_PS
PAGE_SHIFT = pte.PAGE_SHIFT

GUEST_SHIFT = np.uint64(48)  # where the number of the guest stands in an address that is in no guest's range
GUEST_MASK = np.uint64(0xFF)
NOWHERE = np.uint64(1 << 62)  # the bit that puts such an address beyond every range, and that no other has
ADDRESS_MASK = np.uint64((1 << 48) - 1)
AHEAD = 8  # late accesses whose memory is on its way; what tells which memory is, for twice as many
ONE_SETTLED = np.uint8(1 << SETTLED_SHIFT)
# The kinds of access that change nothing after one of a kind: a page that was written may be read, in either format.
SETTLED_BY = np.array([0b0000_1000, 0b0001_1000, 0b0010_0000], np.uint8)
UNSETTLED = np.uint8(0)
GUEST = 0  # the only guest, where TLBs are modelled


@part
def make_late(
    states: State,
    books: Books,
    log: DirtyLog,
    tlbs: Tlbs,
    gpa: NDArray[np.uint64],
    op: NDArray[np.uint8],
    vcpu: NDArray[np.uint16],
    size: NDArray[np.uint16],
    count: NDArray[np.uint32],
    row: NDArray[np.int64],
    first_row: Int,
    late: Int,
    end: Int,
) -> Int:
    """Make the late accesses, in order; return the row from which on the chunk has to be looked at again, or `end`.

    Args:
        states: this and the next arguments, up to `first_row`, as replay_rows takes them.
        books: updated.
        log: updated.
        tlbs: updated.
        gpa: addresses.
        op: kinds of access.
        vcpu: vCPUs.
        size: bytes.
        count: accesses.
        row: numbers in the trace; ~number for the second part of a row whose first part another share has.
        first_row: number of the first one.
        late: how many of `books.rows` are late.
        end: of the chunk.
    """
    alone = marks_alone(states, books, log.pml)
    marked: Int = 0
    for k in range(late):
        _ask_ahead(states, books, gpa, op, k, late)
        i = np.int64(books.rows[k])
        page = gpa[i] >> PAGE_SHIFT
        crossing = crosses(gpa[i], size, i)
        if not crossing and _is_settled(states.quiet, page, op[i]):
            continue  # by a late access shortly before
        if alone and not crossing and mark_alone(books.cold, states.quiet, page, op[i]):
            marked += 1
            continue
        accesses = np.int64(count[i]) if len(count) != 0 else 1
        kind = np.int64(op[i])
        who = vcpu_of(vcpu, np.int64(i))
        number = row[i] if len(row) != 0 else first_row + i
        second_part = number < 0
        number = ~number if second_part else number
        if len(tlbs.counters) != 0:
            translate_rows(states, tlbs, gpa, op, vcpu, size, i)
        disturbed = False
        for part_of_access in range(1 + crossing):
            here = page + np.uint64(part_of_access)
            stands_for = accesses if part_of_access == 0 else 1
            if states.quiet[known_page(here, np.uint64(len(states.quiet) - 1))] & NO_MEMORY != 0:
                address = gpa[i] if part_of_access == 0 else here << PAGE_SHIFT
                begins_row = part_of_access == 0 and not second_part
                _access_outside_memory(states, books, address, kind, who, stands_for, begins_row)
            else:
                disturbed |= _make_access(states, books, log, tlbs, here, kind, who, number)
        if disturbed:
            end = i + 1
            break
    count_marks(states, marked)
    return end


@part
def _ask_ahead(
    states: State, books: Books, gpa: NDArray[np.uint64], op: NDArray[np.uint8], k: Int, late: Int
) -> None:
    """Ask for the memory that late accesses after number `k` need."""
    if k + 2 * AHEAD < late:
        _prefetch_marks(states, books, gpa[books.rows[k + 2 * AHEAD]])
    if k + AHEAD < late:
        i = np.int64(books.rows[k + AHEAD])
        if _needs_tables(states.quiet, books.cold, gpa[i] >> PAGE_SHIFT, op[i]):
            _prefetch_access(states, books.first_row, gpa[i])


@kernel
def _is_settled(quiet: NDArray[np.uint8], page: np.uint64, op: np.uint8) -> bool:
    """Return whether an access to a page is settled."""
    return (quiet[known_page(page, np.uint64(len(quiet) - 1))] >> op) & ONE_SETTLED != 0


@kernel
def _needs_tables(quiet: NDArray[np.uint8], cold: NDArray[np.uint8], page: np.uint64, op: np.uint8) -> bool:
    """Return whether an access to a page may have to look at page tables."""
    known = np.int64(known_page(page, np.uint64(len(quiet) - 1)))
    light = known < len(cold) and is_light(cold, known, op)
    return not light and (quiet[known] >> op) & ONE_SETTLED == 0


@kernel
def _prefetch_marks(states: State, books: Books, gpa: np.uint64) -> None:
    """Ask for the bytes that tell whether an access has to look at page tables."""
    page = gpa >> PAGE_SHIFT
    if page < np.uint64(len(books.cold)):
        prefetch(states.quiet, np.int64(page))
        prefetch(books.cold, np.int64(page))


@kernel
def _prefetch_access(states: State, first_row: NDArray[np.int64], gpa: np.uint64) -> None:
    """Ask for the memory that an access may need."""
    page = gpa >> PAGE_SHIFT
    if page < np.uint64(len(first_row)):
        prefetch(first_row, np.int64(page))
        guest = guest_of(world(states, 0), np.int64(page))
        va = gpa - (np.uint64(world(states, 0).guests[guest].begin) << PAGE_SHIFT)
        for number in range(worlds_in(states)):
            st = world(states, number)
            prefetch(st.object, np.int64(page))
            m = vm_phys_foreseen(st, guest, np.int64(page))
            if m >= 0:
                prefetch(st.page, m)
            pde = pmap_pde(st, st.pmap[guest], va)
            if pde != NULL and (st.pt[pde] & PG_PS) == EMPTY and st.pt[pde] != EMPTY:
                prefetch(st.pt, pmap_pde_to_pte(st, pde, va))


@part
def _make_access(
    states: State,
    books: Books,
    log: DirtyLog,
    tlbs: Tlbs,
    page: np.uint64,
    op: Int,
    vcpu: Int,
    row: Int,
) -> bool:
    """Make an access to memory that may change something, in every world; return whether any page lost something by it."""
    first = world(states, 0)
    known = np.int64(page)
    if (states.quiet[known] >> op) & ONE_SETTLED != 0:
        return False
    guest = guest_of(first, known)
    # A settled write is one after another since the last harvest, which unsettles all.
    books.unharvested[known] |= np.uint8(op == OP_WRITE) * JUST_WRITTEN
    kind = np.uint8(op)
    if is_light(books.cold, known, kind) and mark_accessed(
        states, books.cold, log.pml, guest, known, kind, vcpu
    ):
        return False
    if books.first_row[known] == 0:
        books.first_row[known] = row + 1
    va = (page - np.uint64(first.guests[guest].begin)) << PAGE_SHIFT
    # Kinds that would do no more than set accessed bits do nothing after this access, which sets them.
    kinds = books.cold[known] & SETTLED
    states.quiet[known] |= kinds
    if books.tally[0].marks != 0:
        write_marks_for(states, books, guest, known, va, 1 << op)
    books.cold[known] = WARM
    disturbed = False
    settled = books.tally[0].settles
    for number in range(worlds_in(states)):
        st = world(states, number)
        st.host[0].disturbed = 0
        st.host[0].refused = 0
        if len(tlbs.counters) != 0 and not _walks(st, tlbs, number, page, op, vcpu):
            settled = UNSETTLED
        else:
            logged_access(st, log, number, guest, va, op, vcpu, known)
            if len(tlbs.counters) != 0:
                flush_if_invalidated(st, tlbs, number)
        if st.host[0].refused != 0:
            settled = UNSETTLED
        disturbed |= st.host[0].disturbed != 0
    if settled == UNSETTLED:
        states.quiet[known] &= ~kinds
    states.quiet[known] |= SETTLED_BY[op] & settled
    return disturbed


@kernel
def _access_outside_memory(
    states: State, books: Books, address: np.uint64, op: Int, vcpu: Int, accesses: Int, begins_row: bool
) -> None:
    """Make an access to a BAR in every world; anywhere else outside memory it counts as unbacked only."""
    first = world(states, 0)
    guest = _guest_at(states, address)
    tally = books.tally[guest]
    add_accesses(tally, op, -accesses)
    gpa = _own_address(first, guest, address)
    within = gpa >> np.int64(PAGE_SHIFT)
    bar = bar_at(first, guest, within)
    if bar == NO_BAR:
        # The second part of a row counts as a row where the first one is not unbacked, too.
        is_row = begins_row or _is_backed(states, guest, within - 1)
        note_unbacked(tally, gpa, accesses, np.int64(is_row))
        return
    for number in range(worlds_in(states)):
        device_access(world(states, number), guest, vcpu, bar, within, op, accesses)


@kernel
def _guest_at(states: State, address: np.uint64) -> Int:
    """Return the guest that a flat byte address belongs to."""
    if address & NOWHERE != EMPTY:
        return np.int64((address >> GUEST_SHIFT) & GUEST_MASK)
    beyond = np.uint64(len(states.quiet) - 1)
    return guest_of(world(states, 0), np.int64(known_page(address >> PAGE_SHIFT, beyond)))


@kernel
def _own_address(st: State, guest: Int, address: np.uint64) -> Int:
    """Return a flat byte address as its guest knows it."""
    if address & NOWHERE != EMPTY:
        return np.int64(address & ADDRESS_MASK)
    return np.int64(address) - (np.int64(st.guests[guest].begin) << np.int64(PAGE_SHIFT))


@kernel
def _is_backed(states: State, guest: Int, within: Int) -> bool:
    """Return whether a guest page is memory or in a BAR."""
    st = world(states, 0)
    flat = within + st.guests[guest].begin
    if flat < st.guests[guest].end and states.quiet[flat] & NO_MEMORY == 0:
        return True
    return bar_at(st, guest, within) != NO_BAR


@kernel
def _walks(st: State, tlbs: Tlbs, number: Int, page: np.uint64, op: Int, vcpu: Int) -> bool:
    """Return False if a cached translation keeps the CPU from a walk that would change something, and count that."""
    entry = cached(tlbs, number, vcpu, GUEST, page, op)
    if entry == EMPTY or walk_changes_nothing(st, st.pmap[0], page << PAGE_SHIFT, 1 << op):
        return True
    if serves(entry, op):
        tlbs.counters[number, 0].stale += 1
        return False
    tlbs.counters[number, 0].dirty_walks += np.int64(op == OP_WRITE)
    return True
