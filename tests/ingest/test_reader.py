from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eptreplay.errors import TraceError
from eptreplay.ingest.native.reader import Batch, read_batches
from eptreplay.ingest.native.rows import BadRows
from eptreplay.ingest.sources.dataset import find_traces, open_trace

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ingest.conftest import MakeTrace


def batches(path: Path, **options: Any) -> list[Batch]:  # noqa: ANN401  options of several types
    return list(read_batches(open_trace(path), **options))


def joined(found: list[Batch], name: str) -> list[int]:
    return [int(value) for batch in found for value in getattr(batch, name)]


@pytest.mark.parametrize("prefetch", [True, False])
def test_batches_hold_every_row_in_order(make_trace: MakeTrace, prefetch: bool) -> None:
    count = pa.array(np.arange(1, 251), pa.uint32())
    path = make_trace(rows=250, row_group_size=100, columns={"count": count})
    found = batches(path, vcpu=True, prefetch=prefetch, batch_rows=60)
    assert [(batch.row_group, batch.first_row, batch.rows) for batch in found] == [
        (0, 0, 60),
        (0, 60, 40),
        (1, 100, 60),
        (1, 160, 40),
        (2, 200, 50),
    ]
    table = pq.read_table(path)
    for name in ("time", "vcpu", "gpa", "op", "size", "count"):
        assert joined(found, name) == table[name].to_pylist()
    types = {"time": "u8", "vcpu": "u1", "gpa": "u8", "op": "u1", "size": "u1", "count": "u4"}
    for name, code in types.items():
        array = getattr(found[0], name)
        assert array.dtype == np.dtype(code)
        assert not array.flags.writeable


def test_only_what_is_asked_for_is_given(make_trace: MakeTrace) -> None:
    path = make_trace(rows=300, row_group_size=100)
    found = batches(path, time_row_groups={1}, size=False)
    assert [batch.time is not None for batch in found] == [False, True, False]
    assert all(batch.vcpu is None and batch.size is None and batch.count is None for batch in found)


def test_a_constant_vcpu_is_not_decoded(make_trace: MakeTrace) -> None:
    path = make_trace(rows=4, row_group_size=2, columns={"vcpu": [1, 1, 0, 1]})
    assert [batch.vcpu is None for batch in batches(path, vcpu=True)] == [True, False]


def test_sizes_of_one_byte_are_not_decoded(make_trace: MakeTrace) -> None:
    path = make_trace(rows=4, row_group_size=2, columns={"size": [1, 1, 1, 8]})
    assert [batch.size is None for batch in batches(path)] == [True, False]


def test_counts_of_one_are_not_decoded(make_trace: MakeTrace) -> None:
    path = make_trace(rows=4, row_group_size=2, columns={"count": pa.array([1, 1, 1, 3], pa.uint32())})
    assert [batch.count is None for batch in batches(path)] == [True, False]


def test_without_statistics_everything_is_decoded_to_be_checked(make_trace: MakeTrace) -> None:
    path = make_trace(rows=2, columns={"vcpu": [0, 5], "op": [0, 0]}, write_statistics=False)
    with pytest.raises(TraceError, match="row 1, column 'vcpu': vCPU 5"):
        batches(path, time_row_groups=())
    times = [0, 0, 5, 4, 9, 9]
    path = make_trace(rows=6, row_group_size=2, columns={"time": times}, write_statistics=False)
    with pytest.raises(TraceError, match="row group 1, row 3, column 'time': time goes back to 4"):
        batches(path, time_row_groups=())


def test_several_files_are_read_one_after_the_other(tmp_path: Path, make_trace: MakeTrace) -> None:
    make_trace("guest=g/a.parquet", rows=3, columns={"time": [1, 2, 3]})
    make_trace("guest=g/b.parquet", rows=2, columns={"time": [3, 4]})
    (trace,) = find_traces([str(tmp_path)])
    found = list(read_batches(trace))
    assert joined(found, "time") == [1, 2, 3, 3, 4]
    assert [(batch.row_group, batch.first_row) for batch in found] == [(0, 0), (1, 3)]


def test_files_that_overlap_in_time_are_refused(tmp_path: Path, make_trace: MakeTrace) -> None:
    make_trace("guest=g/a.parquet", rows=2, columns={"time": [3, 5]})
    make_trace("guest=g/b.parquet", rows=2, columns={"time": [1, 4]})
    (trace,) = find_traces([str(tmp_path)])
    with pytest.raises(
        TraceError, match=r"b\.parquet, row group 0, row 0, column 'time': time goes back to 1"
    ):
        list(read_batches(trace))


BAD: list[tuple[str, Any, str]] = [
    ("op", [0] * 7 + [5, 0, 0], "op 5 is unknown"),
    ("op", [0] * 7 + [30, 0, 0], "op 30 is an event code that means nothing"),
    ("gpa", [0] * 7 + [1 << 50, 0, 0], "more than 48 bits"),
    ("vcpu", [0] * 7 + [2, 0, 0], "vCPU 2 is none of the guest's"),
    ("time", [0] * 6 + [2, 1, 2, 2], "time goes back to 1"),
    ("size", pa.array([8] * 7 + [None, 8, 8], pa.uint8()), "the value is null"),
    ("size", pa.array([8] * 7 + [9999, 8, 8], pa.uint16()), "an access of 9999 bytes"),
    ("count", pa.array([8] * 7 + [0, 8, 8], pa.uint32()), "stands for 0 accesses"),
    ("time", pa.array([8] * 7 + [None, 8, 8], pa.uint64()), "the value is null"),
]


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize(("column", "values", "message"), BAD)
def test_a_bad_row_is_named_with_its_place(
    make_trace: MakeTrace, column: str, values: object, message: str, statistics: bool
) -> None:
    path = make_trace(rows=10, row_group_size=5, columns={column: values}, write_statistics=statistics)
    with pytest.raises(TraceError, match=message) as caught:
        batches(path, vcpu=True)
    assert (caught.value.file, caught.value.row_group, caught.value.row, caught.value.column) == (
        str(path),
        1,
        7,
        column,
    )


@pytest.mark.parametrize(("column", "values", "message"), BAD)
def test_what_statistics_tell_is_refused_before_the_first_batch(
    make_trace: MakeTrace, column: str, values: object, message: str
) -> None:
    if column == "time" and message.startswith("time"):
        values = [5] * 5 + [4, 5, 5, 5, 5]  # inside a row group statistics cannot tell
    path = make_trace(rows=10, row_group_size=5, columns={column: values})
    with pytest.raises(TraceError, match=f"row group 1, row [57], column '{column}'"):
        next(read_batches(open_trace(path), time_row_groups=(), size=False))


@pytest.mark.parametrize("options", [{}, {"time_row_groups": (), "size": False}])
@pytest.mark.parametrize(("column", "values", "message"), BAD)
def test_a_bad_row_can_be_skipped(
    make_trace: MakeTrace, column: str, values: object, message: str, options: dict[str, Any]
) -> None:
    path = make_trace(rows=10, row_group_size=5, columns={column: values})
    bad = BadRows()
    found = batches(path, on_bad_rows="skip", bad_rows=bad, **options)
    gpa = pq.read_table(path)["gpa"].to_pylist()
    assert joined(found, "gpa") == gpa[:7] + gpa[8:]
    assert [(batch.first_row, batch.rows) for batch in found] == [(0, 5), (5, 4)]
    assert bad.total == 1
    told = "the time 1 is out of order" if message.startswith("time") else message
    assert told in next(iter(bad.first.values()))
    assert all(not batch.gpa.flags.writeable for batch in found)


def test_a_batch_of_bad_rows_only_is_left_out(make_trace: MakeTrace) -> None:
    path = make_trace(rows=10, row_group_size=5, columns={"op": [9] * 5 + [0] * 5})
    assert [batch.row_group for batch in batches(path, on_bad_rows="skip")] == [1]


def test_statistics_that_accuse_good_rows_are_refused(make_trace: MakeTrace) -> None:
    path = make_trace(rows=3, columns={"vcpu": [0, 1, 0]}, use_dictionary=False)
    data = path.read_bytes()
    length = int.from_bytes(data[-8:-4], "little")
    # Largest and smallest value of vcpu, four bytes each; once as the old fields, once as the new.
    old, new = (
        b"\x04\x01\x00\x00\x00\x18\x04\x00\x00\x00\x00",
        b"\x04\x07\x00\x00\x00\x18\x04\x00\x00\x00\x00",
    )
    footer = data[-8 - length :]
    assert footer.count(old) == 2
    path.write_bytes(data[: -8 - length] + footer.replace(old, new))
    with pytest.raises(TraceError, match="column 'vcpu': the statistics say values up to 7, but no row does"):
        batches(path)


def test_a_file_that_changes_between_opening_and_reading_is_refused(make_trace: MakeTrace) -> None:
    trace = open_trace(make_trace(rows=100))
    make_trace(rows=90)
    with pytest.raises(TraceError, match="the file has changed since it was opened"):
        list(read_batches(trace))


def test_a_file_that_vanishes_is_named(make_trace: MakeTrace) -> None:
    path = make_trace()
    trace = open_trace(path)
    path.unlink()
    with pytest.raises(TraceError, match="there is no such file"):
        list(read_batches(trace))


def test_the_thread_ends_when_the_caller_breaks(make_trace: MakeTrace) -> None:
    for _ in read_batches(open_trace(make_trace(rows=1000)), batch_rows=10):
        break
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("eptreplay-ingest")]


def test_memory_does_not_grow_with_the_rows(make_trace: MakeTrace) -> None:
    rows = 2_000_000
    path = make_trace(rows=rows, row_group_size=rows)
    before, peak = pa.total_allocated_bytes(), 0
    for batch in read_batches(open_trace(path), batch_rows=1 << 16):
        peak = max(peak, pa.total_allocated_bytes() - before)
        del batch
    # Two batches of 19 bytes a row, pages of a megabyte and buffers of as much for each column.
    assert peak < 25 << 20 < rows * 19
