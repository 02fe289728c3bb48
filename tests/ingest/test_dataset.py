from __future__ import annotations

import pickle
import shutil
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from eptreplay.errors import TraceError
from eptreplay.ingest.native.reader import read_batches
from eptreplay.ingest.sources.dataset import BadGuest, find_traces, open_trace
from eptreplay.ingest.trace.schema import Segment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ingest.conftest import MakeTrace


def test_a_trace_is_opened_with_all_that_its_footer_tells(make_trace: MakeTrace) -> None:
    path = make_trace("web.parquet", rows=250, row_group_size=100)
    trace = open_trace(path)
    assert (trace.name, trace.files, trace.rows, trace.vcpus, trace.time_unit) == (
        "web",
        (path,),
        250,
        2,
        "ns",
    )
    assert trace.segments == (Segment(0, 1 << 30, "ram"),)
    assert trace.ram_ranges() == ((0, 1 << 18),)
    assert trace.ram_pages == 1 << 18
    assert trace.columns == {"time", "vcpu", "gpa", "op", "size"}
    assert [(g.index, g.rows, g.first_row, g.file_row) for g in trace.row_groups] == [
        (0, 100, 0, 0),
        (1, 100, 100, 100),
        (2, 50, 200, 200),
    ]
    times = [batch.time for batch in read_batches(trace)]
    for group, time in zip(trace.row_groups, times, strict=True):
        assert time is not None
        assert (group.time_min, group.time_max) == (time[0], time[-1])
    assert trace.row_groups[0].op_max == 2
    assert trace.row_groups[0].vcpu_constant is None


def test_a_constant_vcpu_is_known_without_reading(make_trace: MakeTrace) -> None:
    group = open_trace(make_trace(rows=3, columns={"vcpu": [1, 1, 1]})).row_groups[0]
    assert (group.vcpu_min, group.vcpu_max, group.vcpu_constant) == (1, 1, 1)


@pytest.mark.parametrize("statistics", [True, False, ["gpa"]])
def test_first_and_last_time_are_known_with_and_without_statistics(
    make_trace: MakeTrace, statistics: object
) -> None:
    times = {"time": range(7, 1007)}
    trace = open_trace(make_trace(rows=1000, row_group_size=300, columns=times, write_statistics=statistics))
    assert (trace.first_time, trace.last_time) == (7, 1006)


def test_without_statistics_only_the_ends_of_a_trace_are_decoded_for_their_times(
    make_trace: MakeTrace,
) -> None:
    path = make_trace(rows=1000, row_group_size=300, write_statistics=False)
    groups = open_trace(path).row_groups
    assert [group.time_min is None for group in groups] == [False, True, True, False]


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize(
    ("times", "ends"),
    [([None, 1, 2], (1, 2)), ([0, 1, None], (0, 1)), ([None, 1, None], (1, 1)), ([None] * 3, (None, None))],
)
def test_a_trace_begins_and_ends_with_the_times_that_are_not_null(
    make_trace: MakeTrace, times: list[int | None], ends: tuple[int | None, int | None], statistics: bool
) -> None:
    columns = {"time": pa.array(times, pa.uint64())}
    trace = open_trace(make_trace(rows=3, columns=columns, write_statistics=statistics))
    assert (trace.first_time, trace.last_time) == ends
    assert "time" in trace.row_groups[0].nulls


def test_without_statistics_nothing_else_is_known(make_trace: MakeTrace) -> None:
    group = open_trace(make_trace(write_statistics=False)).row_groups[0]
    assert (group.vcpu_min, group.vcpu_max, group.op_max) == (None,) * 3
    assert group.vcpu_constant is None


def test_files_of_a_hive_folder_are_one_trace(tmp_path: Path, make_trace: MakeTrace) -> None:
    make_trace("guest=web/b.parquet", rows=70, columns={"time": range(1000, 1070)})
    make_trace("guest=web/a.parquet", rows=50)
    (trace,) = find_traces([str(tmp_path)])
    assert (trace.name, trace.rows) == ("web", 120)
    assert [(g.file.name, g.first_row, g.file_row) for g in trace.row_groups] == [
        ("a.parquet", 0, 0),
        ("b.parquet", 50, 0),
    ]


def test_files_of_one_guest_have_the_same_columns(tmp_path: Path, make_trace: MakeTrace) -> None:
    make_trace("guest=web/a.parquet")
    make_trace("guest=web/b.parquet", columns={"size": None})
    with pytest.raises(
        TraceError, match=r"b\.parquet, column 'size': this file has no such column; expected uint8"
    ):
        find_traces([str(tmp_path)])


def test_files_of_one_guest_have_the_same_layout(tmp_path: Path, make_trace: MakeTrace) -> None:
    make_trace("guest=web/a.parquet")
    make_trace("guest=web/b.parquet", metadata={"vcpus": "4"})
    with pytest.raises(
        TraceError, match=r"b\.parquet: metadata key 'vcpus' differs from that of .*a\.parquet"
    ):
        find_traces([str(tmp_path)])


def test_a_bad_guest_does_not_hide_the_others(tmp_path: Path, make_trace: MakeTrace) -> None:
    make_trace("good.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"junk")
    bad: list[BadGuest] = []
    assert [trace.name for trace in find_traces([str(tmp_path)], bad=bad)] == ["good"]
    assert [(guest.name, type(guest.error)) for guest in bad] == [("bad", TraceError)]
    with pytest.raises(TraceError, match=r"bad\.parquet"):
        find_traces([str(tmp_path)])


def test_a_guest_column_parts_a_file_into_guests(make_trace: MakeTrace) -> None:
    names = pa.array(["db"] * 100 + ["web"] * 100 + ["db"] * 50)
    path = make_trace(rows=250, row_group_size=100, columns={"guest": names})
    db, web = find_traces([str(path)])
    assert (db.name, db.rows, web.name, web.rows) == ("db", 150, "web", 100)
    assert [(g.index, g.first_row, g.file_row) for g in db.row_groups] == [(0, 0, 0), (2, 100, 200)]
    assert sum(batch.rows for batch in read_batches(db)) == 150
    with pytest.raises(TraceError, match=r"column 'guest': it holds 2 guests \('db', 'web'\)"):
        open_trace(path)


def test_guest_toml_overrides_what_the_trace_says(tmp_path: Path, make_trace: MakeTrace) -> None:
    path = make_trace(metadata={"memory_segments": None})
    (tmp_path / "guest.toml").write_text(
        'vcpus = 8\nsegments = [{ gpa = 0, bytes = 8192, kind = "ram" }]', encoding="utf-8"
    )
    trace = open_trace(path)
    assert (trace.vcpus, trace.ram_pages) == (8, 2)


def test_guest_toml_of_a_hive_folder_lies_in_it(tmp_path: Path, make_trace: MakeTrace) -> None:
    make_trace("guest=web/day=1/a.parquet")
    (tmp_path / "guest=web" / "guest.toml").write_text("vcpus = 8", encoding="utf-8")
    assert find_traces([str(tmp_path)])[0].vcpus == 8


def test_a_trace_without_rows_is_of_a_guest_that_did_nothing(make_trace: MakeTrace) -> None:
    trace = open_trace(make_trace(rows=0))
    assert (trace.rows, trace.row_groups, trace.first_time, trace.last_time) == (0, (), None, None)


def test_two_traces_of_one_name_are_told_apart(tmp_path: Path, make_trace: MakeTrace) -> None:
    path = make_trace("a/web.parquet")
    (tmp_path / "b").mkdir()
    shutil.copy(path, tmp_path / "b")
    assert [trace.name for trace in find_traces([str(tmp_path)])] == ["a/web", "b/web"]


def test_a_trace_can_be_sent_to_another_process(make_trace: MakeTrace) -> None:
    trace = open_trace(make_trace())
    assert pickle.loads(pickle.dumps(trace)) == trace  # noqa: S301  our own bytes
