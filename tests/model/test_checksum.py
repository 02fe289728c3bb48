from __future__ import annotations

import numpy as np
import pytest
from tests.model.harness import (
    EPT_EMUL_XO,
    FRAME,
    KINDS,
    NO_PMAP,
    NPTEPG,
    PAGE,
    SUPER,
    WITH_SUPERPAGES,
    X86,
    Host,
    Kind,
    R,
    W,
    index,
    table_number,
)

from eptreplay.model._numba.arrays import arrays_in, records
from eptreplay.model.recorded.checksum import dump_entries, state_sums
from eptreplay.model.recorded.codes import ARGUMENTS, NO_PAGE, Operation
from eptreplay.model.state.state import State, stacked

U64_MASK = (1 << 64) - 1


def entries(host: Host, pm: int) -> dict[tuple[int, int], int]:
    """Return every entry of a pmap by level and address, by the definition of a page table."""
    found: dict[tuple[int, int], int] = {}

    def visit(table: int, base: int, level: int) -> None:
        for k in range(NPTEPG):
            raw = int(host.st.pt[table * NPTEPG + k])
            va = base + (k << (12 + 9 * (level - 1)))
            if raw:
                leaf = level == 1 or (level == 2 and raw & 0x80)
                found[level, va] = raw if leaf else raw & ~FRAME
                if not leaf:
                    visit(table_number(raw), va, level - 1)

    visit(int(host.st.pmap[pm].pm_pml4), 0, 4)
    return found


def definition(host: Host) -> int:
    """Return the checksum of all pmaps as the recordings define it, in integers of any size."""
    total = 0
    for pm in range(len(host.kinds)):
        for (level, va), raw in entries(host, pm).items():
            if level == 1 or (level == 2 and raw & 0x80):
                x = raw ^ ((va >> 12) * 0x9E3779B97F4A7C15) & U64_MASK ^ (level << 60) ^ (pm << 57)
                x = x * 0xBF58476D1CE4E5B9 & U64_MASK
                total += x ^ (x >> 32)
    return total & U64_MASK


def state_sum(host: Host) -> int:
    given = records(1, ARGUMENTS)
    given.op, given.pm, given.page, given.want_sum = Operation.TS_RUN, NO_PMAP, NO_PAGE, 1
    return int(host.run_many(given)[0].state_sum)


def busy_host(*kinds: Kind) -> Host:
    host = Host(*kinds, regions=3)
    for pm in range(len(kinds)):
        host.fill(0, W, pm=pm)
        host.fill(1, R, pm=pm)
        host.enter((1 << 46) + 5 * PAGE, 600, W, R, pm=pm)
        host.enter(host.va(1029, pm), 5, R, pm=pm)
    return host


@pytest.mark.parametrize("kind", KINDS)
def test_the_checksum_is_the_one_defined(kind: Kind) -> None:
    host = busy_host(kind, EPT_EMUL_XO)
    assert state_sum(host) == definition(host) != 0


def test_nothing_mapped_sums_to_zero() -> None:
    assert state_sum(Host(EPT_EMUL_XO, X86)) == 0


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_every_leaf_counts_in_the_checksum_and_tables_do_not(kind: Kind) -> None:
    host = Host(kind)
    host.fill(0, W)
    host.enter(SUPER + 5 * PAGE, 600)
    before = state_sum(host)
    for va, level in ((0, 2), (SUPER + 5 * PAGE, 1)):
        slot = host.slot(va, level)
        host.st.pt[slot] ^= np.uint64(0x800)
        assert state_sum(host) != before
        host.st.pt[slot] ^= np.uint64(0x800)
    host.st.pt[host.slot(SUPER, 2)] ^= np.uint64(0x800)
    assert state_sum(host) == before


def test_stacked_states_are_summed_apart() -> None:
    hosts = [busy_host(kind) for kind in (EPT_EMUL_XO, X86)]
    arrays = {}
    for name, each in arrays_in(State).items():
        pair = [getattr(host.st, name) for host in hosts]
        arrays[name] = pair[0] if each.shared else np.stack(pair).view(type(pair[0]))
    sums = np.zeros(2, np.uint64)
    with np.errstate(over="ignore"):
        state_sums(stacked(arrays), sums)
    assert sums.tolist() == [definition(host) for host in hosts]


def dump(host: Host, pm: int, room: int) -> tuple[int, list[tuple[int, int, int]]]:
    levels, vas, raws = np.zeros(room, np.uint8), np.zeros(room, np.uint64), np.zeros(room, np.uint64)
    found = int(dump_entries(host.st, pm, levels, vas, raws))
    return found, list(zip(levels.tolist(), vas.tolist(), raws.tolist(), strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pm", [0, 1])
def test_a_dump_lists_every_entry_with_its_address_and_without_table_frames(kind: Kind, pm: int) -> None:
    host = busy_host(kind, X86)
    expected = entries(host, pm)
    found, rows = dump(host, pm, 4096)
    assert found == len(expected)
    assert {(level, va): raw for level, va, raw in rows[:found]} == expected
    assert not any(any(row) for row in rows[found:])
    tops = [va for level, va, _ in rows[:found] if level == 4]
    assert all(index(va, 4) == va >> 39 for va in tops)


@pytest.mark.parametrize("room", range(7))
def test_a_dump_that_does_not_fit_asks_for_more_room_until_it_does(room: int) -> None:
    host = Host(X86)
    host.enter(0, 3)
    host.enter(1 << 30, 4)
    expected = entries(host, 0)
    assert len(expected) == 7
    while True:
        found, rows = dump(host, 0, room)
        if found <= room:
            break
        room = found
    assert found == 7
    assert {(level, va): raw for level, va, raw in rows[:found]} == expected
