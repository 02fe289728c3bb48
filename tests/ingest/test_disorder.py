"""Times that go back: one wrong stamp costs one row, and where sorting helps sorting is advised."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.command_line import eptreplay

from eptreplay.errors import TraceError
from eptreplay.ingest.native.disorder import Disorder, disorder, most_left_out
from eptreplay.ingest.native.reader import read_batches
from eptreplay.ingest.native.rows import BadRows
from eptreplay.ingest.sources.dataset import find_traces, open_trace

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ingest.conftest import MakeTrace

ROWS = 1000
PLACES = (0, 1, 99, 100, 101, 499, 500, 898, 899, 900, 998, 999)
"""First and last row, those beside borders of row groups (100 rows), batches (30) and files (500)."""


def with_wrong_stamp(place: int, stamp: int) -> list[int]:
    times = list(range(1000, 1000 + 10 * ROWS, 10))
    times[place] = stamp
    return times


def joined_buffers(rows: int = 10_000) -> dict[str, list[int]]:
    """Return times and vCPUs of two buffers of 100 rows in turn, of which each second one began before the first ended."""
    times, vcpus = [], []
    for start in range(0, rows * 50, 10_000):
        times += [*range(start + 3000, start + 4000, 10), *range(start, start + 1000, 10)]
        vcpus += [0] * 100 + [1] * 100
    return {"time": times, "vcpu": vcpus}


@pytest.mark.parametrize("files", [1, 2])
@pytest.mark.parametrize("stamp", [10**15, 2**63 - 1, 0, 1])
@pytest.mark.parametrize("place", PLACES)
def test_one_wrong_stamp_costs_one_row(
    tmp_path: Path, make_trace: MakeTrace, place: int, stamp: int, files: int
) -> None:
    times = with_wrong_stamp(place, stamp)
    each = ROWS // files
    for number in range(files):
        part = times[number * each : (number + 1) * each]
        make_trace(f"guest=g/{number}.parquet", rows=each, row_group_size=100, columns={"time": part})
    (trace,) = find_traces([str(tmp_path)])
    bad = BadRows()
    found = [
        int(time)
        for batch in read_batches(trace, on_bad_rows="skip", bad_rows=bad, batch_rows=30)
        for time in batch.time  # type: ignore[union-attr]  # asked for
    ]
    disordered = times != sorted(times)
    # Of the last two rows either may be wrong; then the later one goes.
    gone = place + 1 if place == ROWS - 2 and stamp > times[-1] else place
    assert found == [time for row, time in enumerate(times) if row != gone or not disordered]
    assert bad.total == disordered


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("stamp", [1 << 63, 2**64 - 1])
def test_a_stamp_that_tables_have_no_room_for_costs_its_row_wherever_it_stands(
    make_trace: MakeTrace, place: int, stamp: int
) -> None:
    times = with_wrong_stamp(place, stamp)
    trace = open_trace(make_trace(rows=ROWS, row_group_size=100, columns={"time": times}))
    bad = BadRows()
    found = [
        int(time)
        for batch in read_batches(trace, on_bad_rows="skip", bad_rows=bad, batch_rows=30)
        for time in batch.time  # type: ignore[union-attr]  # asked for
    ]
    assert found == times[:place] + times[place + 1 :]
    assert bad.counts == {"late": 1}


@pytest.mark.parametrize("stamp", [10**15, 0])
def test_of_a_wrong_stamp_it_is_said_that_it_is_one_row_and_can_be_left_out(
    make_trace: MakeTrace, stamp: int
) -> None:
    path = make_trace(rows=ROWS, columns={"time": with_wrong_stamp(10, stamp)})
    with pytest.raises(TraceError) as caught:
        list(read_batches(open_trace(path)))
    assert f"1 of {ROWS:,} rows are out of order" in str(caught.value)
    assert "--on-bad-rows skip" in str(caught.value)
    assert "sort the rows by time" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("policy", ["fail", "skip"])
@pytest.mark.parametrize("row_group_size", [130, 100, 1 << 20])
@pytest.mark.parametrize("statistics", [True, False])
def test_of_joined_buffers_sorting_is_advised_and_nothing_is_left_out(
    make_trace: MakeTrace, policy: str, row_group_size: int, statistics: bool
) -> None:
    path = make_trace(
        rows=10_000,
        columns=joined_buffers(),
        row_group_size=row_group_size,
        write_statistics=statistics,
    )
    with pytest.raises(TraceError) as caught:
        list(read_batches(open_trace(path), on_bad_rows=policy))  # type: ignore[arg-type]
    assert "5,000 of 10,000 rows are out of order" in str(caught.value)
    assert "--on-bad-rows skip" not in str(caught.value)


def test_the_advised_command_sorts_the_trace_and_keeps_the_order_of_rows_of_one_time(
    tmp_path: Path, make_trace: MakeTrace
) -> None:
    columns = joined_buffers()
    columns["time"] = [time // 100 for time in columns["time"]]
    path = make_trace("it's a trace.parquet", rows=10_000, columns=columns)
    with pytest.raises(TraceError) as caught:
        list(read_batches(open_trace(path)))
    command = re.search(r"eptreplay (pack --sort .*)$", str(caught.value))
    assert command
    assert eptreplay(*shlex.split(command[1])).code == 0
    before = pq.read_table(path)
    trace = open_trace(tmp_path / "it's a trace.sorted.parquet")
    order = np.argsort(before["time"].to_numpy(), kind="stable")
    found = list(read_batches(trace, vcpu=True))
    assert np.concatenate([batch.gpa for batch in found]).tolist() == before["gpa"].to_numpy()[order].tolist()
    assert (trace.rows, trace.vcpus, trace.time_unit) == (10_000, 2, "ns")


def test_a_trace_of_several_files_is_sorted_by_the_folder_of_its_guest(
    tmp_path: Path, make_trace: MakeTrace
) -> None:
    make_trace("guest=g/a.parquet", rows=3, columns={"time": [1, 2, 30]})
    make_trace("guest=g/b.parquet", rows=3, columns={"time": [3, 4, 5]})
    (trace,) = find_traces([str(tmp_path)])
    with pytest.raises(
        TraceError,
        match=r"1 of 6 rows .* sort the rows by time, .*: eptreplay pack --sort .*guest=g -o g.sorted.parquet",
    ):
        list(read_batches(trace))


def test_a_sliver_is_one_row_in_a_hundred_and_ten_at_least() -> None:
    assert [most_left_out(rows) for rows in (5, 1000, 5000)] == [10, 10, 50]


def test_rows_are_counted_as_they_are_left_out(make_trace: MakeTrace) -> None:
    times = with_wrong_stamp(3, 10**12)
    times[700] = 5
    path = make_trace(rows=ROWS, columns={"time": times})
    assert disorder(open_trace(path)) == Disorder(2, ROWS)
