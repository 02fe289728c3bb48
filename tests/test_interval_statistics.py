"""The interval statistics of a trace are what sets of pages say, whatever the rows, the schedule and the sweeps in between."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eptreplay.ingest.native.reader import Batch
from eptreplay.model.instances import GuestMemory
from eptreplay.model.statistics.intervals import PAGES_TOUCHED, PAGES_WRITTEN, REGIONS_WRITTEN
from eptreplay.profiles import resolve
from eptreplay.replay.driver.replay import Replay
from eptreplay.replay.rows.batch import row_batch
from eptreplay.request.choices import Policy

READ, WRITE, FETCH = 0, 1, 2
VCPUS = 3
# Two stretches of memory with a hole between, the second one of a region and a half.
RAM = np.array([[0, 5], [509, 1280]], np.int64)
MEMORY = [*range(5), *range(509, 1280)]


class Row(NamedTuple):
    """One row of a trace."""

    page: int
    op: int
    vcpu: int
    crosses: bool


ROWS = st.builds(
    Row,
    st.sampled_from([0, 1, 4, 5, 508, 509, 511, 512, 1023, 1024, 1279, 1280]),
    st.sampled_from([READ, WRITE, FETCH]),
    st.integers(0, VCPUS - 1),
    st.booleans(),
)
INTERVALS = st.lists(st.lists(ROWS, max_size=8), min_size=1, max_size=6)


def accesses(rows: list[Row]) -> list[tuple[int, int, int]]:
    """Return the accesses to memory that rows make: page, kind, vCPU."""
    every = [(row.page + part, row.op, row.vcpu) for row in rows for part in range(1 + row.crosses)]
    return [access for access in every if access[0] in MEMORY]


def batch(rows: list[Row]) -> Batch:
    """Return rows as the reader gives them."""
    columns: dict[str, Any] = {
        "gpa": np.array([row.page * 4096 + 4092 for row in rows], np.uint64),
        "op": np.array([row.op for row in rows], np.uint8),
        "vcpu": np.array([row.vcpu for row in rows], np.uint8),
        "size": np.array([8 if row.crosses else 4 for row in rows], np.uint8),
    }
    for column in columns.values():
        column.flags.writeable = False
    return Batch(row_group=0, first_row=0, rows=len(rows), count=None, time=None, **columns)


def before_each(sets: list[set[int]]) -> list[dict[int, int]]:
    """Return, for every interval, how many of its pages came up last in 1 + interval; 0: never before."""
    last: dict[int, int] = {}
    found = []
    for interval, pages in enumerate(sets):
        counts: dict[int, int] = {}
        for page in pages:
            before = last.get(page, 0)
            counts[before] = counts.get(before, 0) + 1
            last[page] = interval + 1
        found.append(counts)
    return found


@given(INTERVALS, st.sampled_from(list(Policy)))
def test_interval_statistics_are_those_of_the_sets_themselves(
    intervals: list[list[Row]], policy: Policy
) -> None:
    profiles = [resolve(name) for name in ("ept-ad", "ept-emul", "x86")]
    replay = Replay(profiles, [GuestMemory(RAM, VCPUS)], intervals=len(intervals))
    snapshots = []
    for rows in intervals:
        half = len(rows) // 2
        for part in (rows[:half], rows[half:]):
            if part:
                replay.replay(row_batch(batch(part), 0, None), 0, len(part))
            replay.sweep(policy)
        replay.close_interval()
        snapshots.append(replay.snapshot(None).statistics)

    made = [accesses(rows) for rows in intervals]
    touched = [{page for page, _, _ in part} for part in made]
    written = [{page for page, op, _ in part if op == WRITE} for part in made]
    for number, sets in ((PAGES_TOUCHED, touched), (PAGES_WRITTEN, written)):
        found = [
            dict(zip(*map(np.ndarray.tolist, closed.returns[number]), strict=True)) for closed in snapshots
        ]
        assert found == before_each(sets)

    regions = [{page // 512 for page in pages} for pages in written]
    for closed, pages, region in zip(snapshots, written, regions, strict=True):
        memory = sum(1 for page in MEMORY if page // 512 in region)
        assert closed.tally["written"].item() == len(pages)
        assert closed.tally["regions"].item() == len(region)
        assert closed.tally["region_pages"].item() == memory
        assert closed.returns[REGIONS_WRITTEN].pages.sum() == memory

    shift = int(replay.statistics.heat_shift[0])
    for closed, done in zip(snapshots, made, strict=True):
        stretches = sorted({page >> shift for page, _, _ in done})
        assert closed.stretch.tolist() == stretches
        for stretch, heat in zip(stretches, closed.heat, strict=True):
            here = [(page, op) for page, op, _ in done if page >> shift == stretch]
            kinds = [len({page for page, op in here if op == kind}) for kind in (READ, WRITE, FETCH)]
            assert heat.tolist() == [*kinds, len({page for page, _ in here})]

        first_writes = [0] * VCPUS
        seen: set[int] = set()
        for page, op, vcpu in done:
            if op == WRITE and page not in seen:
                first_writes[vcpu] += 1
                seen.add(page)
        assert closed.first_writes.tolist() == first_writes


@given(INTERVALS)
def test_harvests_are_told_what_was_written_since_the_one_before(intervals: list[list[Row]]) -> None:
    replay = Replay([resolve("ept-ad")], [GuestMemory(RAM, VCPUS)])
    expected = 0
    for rows in intervals:
        if rows:
            replay.replay(row_batch(batch(rows), 0, None), 0, len(rows))
        replay.sweep(Policy.HARVEST)
        expected += len({page for page, op, _ in accesses(rows) if op == WRITE})
        assert replay.statistics.tally[0].harvest_written == expected
