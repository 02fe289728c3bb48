"""The pass that makes up rows: what is random about row r follows from the seed and r alone, in integers, so that it is the same everywhere.

Random bits are those of splitmix64 (Steele, Lea, Flood 2014): a counter times an odd constant, mixed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eptreplay.compiled import entry_point, kernel
from eptreplay.ingest.trace.schema import Event

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

    Number: TypeAlias = int | np.int64

ZIPF, UNIFORM, STRIDED = 0, 1, 2
"""Patterns; a sequential one is strided by a line."""

COLUMN_BITS = 11
COLUMNS = 1 << COLUMN_BITS
"""Columns of the table from which ranks are drawn."""

LOW_MEMORY_END = 3 << 30
HIGH_MEMORY = 4 << 30
"""Memory beyond 3 GiB lies from 4 GiB on, as in a PC: PCI has the space between."""

# Where the state holds what.
ROW, OUT, TIME, TURN, NEXT_TURN, IS_RUNNING, STATE_WORDS = range(7)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_DRAWS = 4
"""Random numbers of a row."""
_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_ALIAS_BITS, _ALIAS = np.uint64(16), np.uint64(0xFFFF)
_NEVER = ~np.uint64(0)
_PAGE_SHIFT = np.uint64(12)
_LOW_END, _GAP = np.uint64(LOW_MEMORY_END), np.uint64(HIGH_MEMORY - LOW_MEMORY_END)
RUN, STOP = np.uint8(Event.VCPU_RUN), np.uint8(Event.VCPU_STOP)


class Patterns(NamedTuple):
    """Accesses of a phase, each array of shape (patterns,).

    Args:
        kind: int64, ZIPF, UNIFORM or STRIDED.
        up_to: uint64, of 2^32 accesses how many are of this pattern or one before.
        is_vcpu: uint16, 1 if vCPUs access.
        ops: uint8, shape (patterns, 3): code of a read, of a fetch, of a write.
        write_to: uint64, of 2^32 accesses how many write.
        fetch_to: uint64, how many write or fetch.
        begin: uint64, first page, from the beginning of memory.
        pages: uint64, how many.
        mask: uint64, the least power of two that is not less, less one.
        steps: uint64, how many strides they have room for.
        stride: uint64, bytes.
        scatter: uint64, what ranks are multiplied by, odd.
        number: uint64, steps made in this round of a stride.
        shift: uint64, bytes by which this round is moved.
        table: int64, row of the tables.
    """

    kind: NDArray[np.int64]
    up_to: NDArray[np.uint64]
    is_vcpu: NDArray[np.uint16]
    ops: NDArray[np.uint8]
    write_to: NDArray[np.uint64]
    fetch_to: NDArray[np.uint64]
    begin: NDArray[np.uint64]
    pages: NDArray[np.uint64]
    mask: NDArray[np.uint64]
    steps: NDArray[np.uint64]
    stride: NDArray[np.uint64]
    scatter: NDArray[np.uint64]
    number: NDArray[np.uint64]
    shift: NDArray[np.uint64]
    table: NDArray[np.int64]


class Tables(NamedTuple):
    """Tables to draw ranks from (Walker's alias method), each array of shape (tables, COLUMNS).

    Args:
        choice: uint64: times 2^16, of 2^32 draws of a column how many keep it; plus the column that the others take instead.
        ranks: uint64: times 2^32, first rank of a column, from 0; plus how many ranks it has.
    """

    choice: NDArray[np.uint64]
    ranks: NDArray[np.uint64]


class Machine(NamedTuple):
    """What a phase runs on.

    Args:
        vcpus: uint16, shape (n,), those that access.
        words: uint64, shape (7,): seed, pages of memory, bytes of an access, twice the mean time between accesses and one (ns),
            rows of one vCPU in a row, host CPUs (0: vCPUs run all the time, and nothing is said of it), time of a turn (ns).
    """

    vcpus: NDArray[np.uint16]
    words: NDArray[np.uint64]


class Rows(NamedTuple):
    """Rows made, each array of shape (n,).

    Args:
        time: uint64, ns.
        vcpu: uint16.
        gpa: uint64.
        op: uint8.
        arg: uint64.
    """

    time: NDArray[np.uint64]
    vcpu: NDArray[np.uint16]
    gpa: NDArray[np.uint64]
    op: NDArray[np.uint8]
    arg: NDArray[np.uint64]


@entry_point
def make_rows(
    end: int, patterns: Patterns, tables: Tables, machine: Machine, rows: Rows, state: NDArray[np.uint64]
) -> None:
    """Make accesses from number `state[ROW]` on, until they reach `end` or there is no more room.

    Args:
        end: number of the access at which to stop.
        patterns: accesses of the phase.
        tables: of its patterns.
        machine: what it runs on.
        rows: takes rows from `state[OUT]` on.
        state: uint64, shape (STATE_WORDS,).
    """
    words, vcpus = machine.words, np.uint64(len(machine.vcpus))
    running = min(words[5], vcpus) if words[5] != np.uint64(0) else vcpus
    room = np.uint64(len(rows.time)) - np.uint64(2) * running - np.uint64(1)
    row, out, time = state[ROW], state[OUT], state[TIME]
    burst_end, vcpu, next_turn = np.uint64(0), np.uint16(0), state[NEXT_TURN]
    seed, gap = words[0], words[3]
    while row < np.uint64(end) and out < room:
        base = seed + row * np.uint64(_DRAWS)
        draw, more = _random(base), _random(base + np.uint64(1))
        time += (more >> _HALF) * gap >> _HALF
        if time >= next_turn:
            out = _take_turns(time, out, running, machine, rows, state)
            next_turn, burst_end = state[NEXT_TURN], np.uint64(0)
        if row >= burst_end:
            burst = row // words[4]
            burst_end = (burst + np.uint64(1)) * words[4]
            one_of = (_random(~words[0] - burst) >> _HALF) * running >> _HALF
            vcpu = machine.vcpus[np.int64((state[TURN] * running + one_of) % vcpus)]
        chosen = 0
        for number in range(len(patterns.up_to)):
            chosen += draw >> _HALF >= patterns.up_to[number]
        address = _address(chosen, _random(base + np.uint64(2)), more & _LOW, base, patterns, tables, words)
        rows.gpa[out] = address + (_GAP if address >= _LOW_END else np.uint64(0))
        share = draw & _LOW
        kind = np.int64(share < patterns.fetch_to[chosen]) + np.int64(share < patterns.write_to[chosen])
        rows.op[out] = patterns.ops[chosen, kind]
        rows.time[out], rows.arg[out] = time, np.uint64(0)
        rows.vcpu[out] = vcpu * patterns.is_vcpu[chosen]
        out += np.uint64(1)
        row += np.uint64(1)
    state[ROW], state[OUT], state[TIME] = row, out, time


@entry_point
def end_phase(machine: Machine, rows: Rows, state: NDArray[np.uint64]) -> None:
    """Let the vCPUs stop that run, where they take turns, so that those of the next phase can begin; there is room for a row each."""
    if state[IS_RUNNING] != np.uint64(0):
        running = min(machine.words[5], np.uint64(len(machine.vcpus)))
        state[OUT] = _say_turn(STOP, state[TIME], state[OUT], running, machine, rows, state)
        state[IS_RUNNING] = np.uint64(0)
    state[NEXT_TURN] = np.uint64(0)


@kernel
def _random(counter: np.uint64) -> np.uint64:
    """Return the random bits of a counter."""
    bits = counter * _GOLDEN
    bits = (bits ^ bits >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ bits >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return bits ^ bits >> np.uint64(31)


@kernel
def _take_turns(
    time: np.uint64,
    out: np.uint64,
    running: np.uint64,
    machine: Machine,
    rows: Rows,
    state: NDArray[np.uint64],
) -> np.uint64:
    """Say which vCPUs stop and begin to run before a time; return the number of rows."""
    state[NEXT_TURN] = _NEVER
    if machine.words[5] == np.uint64(0):
        return out
    if state[IS_RUNNING] != np.uint64(0):
        out = _say_turn(STOP, time, out, running, machine, rows, state)
        state[TURN] += np.uint64(1)
    state[IS_RUNNING] = np.uint64(1)
    if running < np.uint64(len(machine.vcpus)):
        state[NEXT_TURN] = time - time % machine.words[6] + machine.words[6]
    return _say_turn(RUN, time, out, running, machine, rows, state)


@kernel
def _say_turn(
    op: np.uint8,
    time: np.uint64,
    out: np.uint64,
    running: np.uint64,
    machine: Machine,
    rows: Rows,
    state: NDArray[np.uint64],
) -> np.uint64:
    """Enter an event for each vCPU whose turn it is; return the number of rows."""
    for host_cpu in range(running):
        turn = (state[TURN] * running + np.uint64(host_cpu)) % np.uint64(len(machine.vcpus))
        rows.time[out], rows.gpa[out], rows.op[out] = time, np.uint64(0), op
        rows.vcpu[out] = machine.vcpus[np.int64(turn)]
        rows.arg[out] = np.uint64(host_cpu) if op == RUN else np.uint64(0)
        out += np.uint64(1)
    return out


@kernel
def _address(
    chosen: Number,
    draw: np.uint64,
    more: np.uint64,
    base: np.uint64,
    patterns: Patterns,
    tables: Tables,
    words: NDArray[np.uint64],
) -> np.uint64:
    """Return an address, from the beginning of memory, by the pattern of an access."""
    pages, access_bytes = patterns.pages[chosen], words[2]
    kind = patterns.kind[chosen]
    if kind == STRIDED:
        offset = patterns.number[chosen] * patterns.stride[chosen] + patterns.shift[chosen]
        _step(chosen, access_bytes, patterns)
        page, inside = offset >> _PAGE_SHIFT, offset & np.uint64(4095)
    else:
        if kind == UNIFORM:
            page = (draw >> _HALF) * pages >> _HALF
        else:
            page = _scattered(_rank(patterns.table[chosen], draw, base, tables), chosen, patterns)
        inside = (more * (np.uint64(4096) // access_bytes) >> _HALF) * access_bytes
    page += patterns.begin[chosen]
    page -= words[1] if page >= words[1] else np.uint64(0)
    return np.uint64((page << _PAGE_SHIFT) + inside)


@kernel
def _rank(table: Number, draw: np.uint64, base: np.uint64, tables: Tables) -> np.uint64:
    """Return a rank, from 0, as its table says how often each comes."""
    column = np.int64(draw >> np.uint64(64 - COLUMN_BITS))
    choice = tables.choice[table, column]
    column = column if (draw & _LOW) < choice >> _ALIAS_BITS else np.int64(choice & _ALIAS)
    ranks = tables.ranks[table, column]
    within = (_random(base + np.uint64(3)) >> _HALF) * (ranks & _LOW) >> _HALF
    return np.uint64((ranks >> _HALF) + within)


@kernel
def _scattered(rank: np.uint64, chosen: Number, patterns: Patterns) -> np.uint64:
    """Return the page of a rank: each page is that of one rank.

    An odd factor permutes the numbers below a power of two. From a number that is no page, the permutation is followed until it comes to
    one, as it must: the rank itself is one.
    """
    pages, mask = patterns.pages[chosen], patterns.mask[chosen]
    page = np.uint64(rank * patterns.scatter[chosen] & mask)
    while page >= pages:
        page = np.uint64(page * patterns.scatter[chosen] & mask)
    return page


@kernel
def _step(chosen: Number, access_bytes: np.uint64, patterns: Patterns) -> None:
    """Go on by a stride; where no further one fits, begin a round that is moved by an access, until that makes a stride."""
    number, stride = patterns.number[chosen] + np.uint64(1), patterns.stride[chosen]
    patterns.number[chosen] = number
    if number == patterns.steps[chosen]:
        patterns.number[chosen] = np.uint64(0)
        shift = patterns.shift[chosen] + access_bytes
        patterns.shift[chosen] = shift if shift < stride else np.uint64(0)
