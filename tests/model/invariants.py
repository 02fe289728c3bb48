"""What holds of every state, whatever was done to it: checked with numpy alone, from the arrays of the state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tests.model.harness import FRAME, NPTEPG, PAGE, PBASE, PTP_BASE, SUPER_FRAME

from eptreplay.model.state import pte
from eptreplay.model.state.pages import PGA_WRITEABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from eptreplay.model.state.state import State

U64 = np.uint64
PS = U64(0x80)
MANAGED = U64(int(pte.PG_MANAGED))
WIRED = U64(int(pte.PG_W))

Mapping = tuple[int, int, int, int]
"""Number of the pmap, level, address, first page."""


class Leaves(NamedTuple):
    """The leaf entries of one level of a pmap: arrays of equal length."""

    level: int
    va: NDArray[np.uint64]
    raw: NDArray[np.uint64]

    def page(self) -> NDArray[np.int64]:
        """Return the first page of each."""
        frame = U64(SUPER_FRAME if self.level == 2 else FRAME)
        return (((self.raw & frame) - U64(PBASE)) >> U64(12)).astype(np.int64)


class Pmap(NamedTuple):
    """Everything that hangs on the root of one pmap."""

    tables: dict[int, int]  # page-table page below the root -> its entries that are not zero
    saved: list[int]  # page-table pages kept behind superpages
    small: Leaves
    large: Leaves


def tables_of(st: State) -> NDArray[np.uint64]:
    """Return all page-table pages, shape [tables, 512]."""
    return st.pt.reshape(-1, NPTEPG)


def read_pmap(st: State, pm: int) -> Pmap:
    """Walk all tables of a pmap."""
    record = st.pmap[pm]
    tables: dict[int, int] = {}
    saved: list[int] = []
    small: list[tuple[NDArray[np.uint64], NDArray[np.uint64]]] = []
    large: list[tuple[NDArray[np.uint64], NDArray[np.uint64]]] = []
    level_tables = [(int(record.pm_pml4), U64(0))]
    for level in range(4, 0, -1):
        shift = U64(12 + 9 * (level - 1))
        below: list[tuple[int, np.uint64]] = []
        for table, base in level_tables:
            entries = tables_of(st)[table]
            used = np.flatnonzero(entries)
            raw = entries[used]
            if level < 4:
                assert table not in tables, f"two entries point to table {table}"
                tables[table] = len(used)
            assert (raw & record.PG_V == record.PG_V).all(), "an entry is neither empty nor valid"
            va = base + (used.astype(U64) << shift)
            leaf = np.full(len(raw), level == 1) if level != 2 else raw & PS != 0
            if level < 3:
                (small if level == 1 else large).append((va[leaf], raw[leaf]))
            kept = st.pm_root[table * NPTEPG + used]
            assert (kept[~leaf] == 0).all(), "a page-table page is kept where there is no superpage"
            saved.extend(kept[kept != 0].tolist())
            numbers = ((raw & U64(FRAME)) - U64(PTP_BASE)) >> U64(12)
            below.extend((int(numbers[i]), va[i]) for i in np.flatnonzero(~leaf))
        level_tables = below
    return Pmap(tables, saved, _joined(1, small), _joined(2, large))


def _joined(level: int, parts: list[tuple[NDArray[np.uint64], NDArray[np.uint64]]]) -> Leaves:
    empty = np.zeros(0, U64)
    return Leaves(
        level,
        np.concatenate([empty, *(va for va, _ in parts)]),
        np.concatenate([empty, *(raw for _, raw in parts)]),
    )


def ring(st: State, last: int) -> Iterator[int]:
    """Yield the pv entries of a list, head first."""
    if last == 0:
        return
    pv = int(st.pv[last].pv_next)
    while True:
        yield pv
        if pv == last:
            return
        pv = int(st.pv[pv].pv_next)


def pv_list(st: State, last: int) -> list[tuple[int, int]]:
    """Return the mappings on a list, head first: number of the pmap, address."""
    return [(int(st.pv[pv].pv_pmap), int(st.pv[pv].pv_va)) for pv in ring(st, last)]


def check(st: State) -> list[Pmap]:
    """Assert everything that must hold; return what hangs on each pmap."""
    assert not st.host[0].exhausted, "a pool was too small"
    pmaps = [read_pmap(st, pm) for pm in range(len(st.pmap))]
    check_tables(st, pmaps)
    check_reservations(st)
    for pm, pmap in enumerate(pmaps):
        check_counts(st, pm, pmap)
        check_entries(st, pm, pmap)
    check_pv_lists(st, pmaps)
    return pmaps


def check_tables(st: State, pmaps: list[Pmap]) -> None:
    """Every page-table page is in one place, counts its entries, and is empty when free."""
    used = [int(record.pm_pml4) for record in st.pmap]
    for pmap in pmaps:
        used += [*pmap.tables, *pmap.saved]
        for table, entries in pmap.tables.items():
            assert st.ptp[table].wire_count == entries > 0, f"table {table} has {entries} entries"
        for table in pmap.saved:
            assert st.ptp[table].wire_count == NPTEPG
            assert (tables_of(st)[table] != 0).all()
    free = []
    table = int(st.host[0].ptp_free)
    while table != 0:
        free.append(table)
        assert not tables_of(st)[table].any(), f"free table {table} is not empty"
        assert st.ptp[table].wire_count == 0
        table = int(st.ptp[table].next_free)
    assert sorted(used + free) == list(range(1, int(st.host[0].ptp_used)))


def check_reservations(st: State) -> None:
    """A reservation counts its allocated pages; a page that is not allocated knows nothing."""
    allocated = st.page.allocated.reshape(-1, NPTEPG)
    assert (st.reserv == allocated.sum(axis=1)).all()
    idle = st.page.allocated == 0
    assert not st.page.dirty[idle].any()
    assert not st.page.aflags[idle].any()


def check_counts(st: State, pm: int, pmap: Pmap) -> None:
    """The statistics of a pmap are those of its tables."""
    record = st.pmap[pm]
    leaves = len(pmap.small.raw) + NPTEPG * len(pmap.large.raw)
    assert record.resident_count == leaves + len(pmap.tables) + len(pmap.saved)
    wired = int((pmap.small.raw & WIRED != 0).sum()) + NPTEPG * int((pmap.large.raw & WIRED != 0).sum())
    assert record.wired_count == wired


def check_entries(st: State, pm: int, pmap: Pmap) -> None:
    """What every leaf entry obeys."""
    record = st.pmap[pm]
    for leaves in (pmap.small, pmap.large):
        if record.pm_type == pte.PT_EPT:
            assert (leaves.raw & U64(3) != U64(2)).all(), "XWR = 010 or 110 is a misconfiguration"
        writable = leaves.raw & record.PG_RW != 0
        if leaves.level == 2:
            assert (leaves.raw[writable] & record.PG_M != 0).all(), "a writable superpage is a modified one"
            assert (leaves.raw & U64(SUPER_FRAME) == leaves.raw & U64(FRAME)).all()
            assert record.pm_flags & pte.PMAP_PDE_SUPERPAGE or len(leaves.raw) == 0
        managed = leaves.raw & MANAGED != 0
        first = leaves.page()
        pages = (first[:, None] + np.arange(NPTEPG if leaves.level == 2 else 1)).astype(np.int64)
        assert st.page.allocated[pages].all()
        noted = st.page.aflags[pages[writable & managed]] & PGA_WRITEABLE
        assert (noted != 0).all(), "a page that may be written through a mapping is not marked writeable"


def check_pv_lists(st: State, pmaps: list[Pmap]) -> None:
    """The pv lists are the managed leaf entries, each once, and every pv entry is on one list."""
    from_lists: list[Mapping] = []
    seen: list[int] = []
    for m in np.flatnonzero(st.page.pv_last):
        seen += ring(st, int(st.page.pv_last[m]))
        from_lists += ((pm, 1, va, int(m)) for pm, va in pv_list(st, int(st.page.pv_last[m])))
    for block in np.flatnonzero(st.pv_table):
        seen += ring(st, int(st.pv_table[block]))
        from_lists += ((pm, 2, va, int(block) * NPTEPG) for pm, va in pv_list(st, int(st.pv_table[block])))
    from_tables: list[Mapping] = []
    for pm, pmap in enumerate(pmaps):
        for leaves in (pmap.small, pmap.large):
            managed = leaves.raw & MANAGED != 0
            found = zip(leaves.va[managed].tolist(), leaves.page()[managed].tolist(), strict=True)
            from_tables += ((pm, leaves.level, va, m) for va, m in found)
    assert sorted(from_lists) == sorted(from_tables)
    check_chunks(st, seen)


def check_chunks(st: State, seen: list[int]) -> None:
    """Every pv entry that is not free is on one list, in a chunk of its pmap; full chunks come last, and no chunk is wholly free."""
    in_use: list[int] = []
    chunks: list[int] = []
    for pm in range(len(st.pmap)):
        before, full = 0, False
        chunk = int(st.pmap[pm].pm_pvchunk_first)
        while chunk != 0:
            words = [int(word) for word in st.pc_map[3 * chunk : 3 * chunk + 3]]
            free = words[0] | words[1] << 64 | words[2] << 128
            used = [168 * chunk + bit for bit in range(168) if not free >> bit & 1]
            assert used
            assert free >> 168 == 0
            assert not (full and free), "a chunk with free entries stands behind a full one"
            full = free == 0
            assert int(st.pvc[chunk].pc_prev) == before
            assert {int(st.pv[pv].pv_pmap) for pv in used} == {pm}
            in_use += used
            chunks.append(chunk)
            before, chunk = chunk, int(st.pvc[chunk].pc_next)
        assert int(st.pmap[pm].pm_pvchunk_last) == before
    chunk = int(st.host[0].pc_free)
    while chunk != 0:
        chunks.append(chunk)
        chunk = int(st.pvc[chunk].pc_next)
    assert sorted(chunks) == list(range(1, int(st.host[0].pc_used)))
    assert sorted(seen) == sorted(in_use)


class Pages(NamedTuple):
    """Every 4 KB that a pmap maps, whatever the size of the entry: arrays of equal length, by address."""

    va: NDArray[np.uint64]
    page: NDArray[np.int64]
    raw: NDArray[np.uint64]  # the entry without frame and PS


def by_pages(pmap: Pmap) -> Pages:
    """Return the 4 KB pages a pmap maps: what is the same before and after a promotion."""
    plain = ~(U64(FRAME) | PS)
    offsets = np.arange(NPTEPG)
    va = [pmap.small.va, (pmap.large.va[:, None] + (offsets * PAGE).astype(U64)).ravel()]
    page = [pmap.small.page(), (pmap.large.page()[:, None] + offsets).ravel()]
    raw = [pmap.small.raw & plain, np.repeat(pmap.large.raw & plain, NPTEPG)]
    order: Any = np.argsort(np.concatenate(va), kind="stable")
    return Pages(np.concatenate(va)[order], np.concatenate(page)[order], np.concatenate(raw)[order])
