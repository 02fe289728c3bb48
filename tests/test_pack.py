"""The command `pack`: the same rows in the fastest layout."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.command_line import eptreplay, small_trace

from eptreplay.ingest.packing.first_touch import FirstTouch
from eptreplay.ingest.sources.dataset import open_trace
from eptreplay.ingest.trace.guard import Guard

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def test_every_row_and_every_column_is_kept(tmp_path: Path) -> None:
    rows = 3000
    columns: dict[str, Any] = {
        "size": np.arange(rows, dtype=np.uint16) % 9,
        "count": np.arange(1, rows + 1, dtype=np.uint32),
        "arg": pa.array([None, 4096, 0] * 1000, pa.uint64()),
        "vcpu": (np.arange(rows) % 2).astype(np.uint8),
    }
    source = small_trace(tmp_path / "a.parquet", **columns, strange=np.arange(rows))
    answer = eptreplay("pack", source, "-o", tmp_path / "b.parquet")
    assert (answer.code, answer.err) == (0, "")
    assert "3,000 rows" in answer.out
    before, after = pq.read_table(source), pq.read_table(tmp_path / "b.parquet")
    assert after.column_names == ["time", "vcpu", "gpa", "op", "size", "count", "arg"]
    for name in after.column_names:
        assert after[name].to_pylist() == [value or 0 for value in before[name].to_pylist()]
    trace = open_trace(tmp_path / "b.parquet")
    assert (trace.verified_by, trace.vcpus, trace.ram_pages) == (Guard.MANIFEST, 2, 1024)
    assert trace.metadata["packed_from"] == "a.parquet"


def test_rows_of_one_vcpu_of_one_byte_and_one_access_are_kept(tmp_path: Path) -> None:
    source = small_trace(tmp_path / "a.parquet", size=np.ones(3000, np.uint8), count=np.ones(3000, np.uint32))
    assert eptreplay("pack", source, "-o", tmp_path / "b.parquet").code == 0
    assert pq.read_table(source).to_pydict() == pq.read_table(tmp_path / "b.parquet").to_pydict()


def test_unsorted_rows_are_refused_and_sorted(tmp_path: Path) -> None:
    time = np.concatenate([np.arange(1500), np.arange(1500)]).astype(np.uint64)
    source = small_trace(tmp_path / "a.parquet", time=time, vcpu=np.repeat([0, 1], 1500).astype(np.uint8))
    answer = eptreplay("pack", source, "-o", tmp_path / "b.parquet")
    assert answer.code == 2
    assert "eptreplay pack --sort" in answer.err
    assert sorted(tmp_path.iterdir()) == [source]
    answer = eptreplay("pack", source, "-o", tmp_path / "b.parquet", "--sort")
    assert (answer.code, answer.err) == (0, "")
    assert "time went back at 1 rows" in answer.out
    found = pq.read_table(tmp_path / "b.parquet")
    assert found["time"].to_pylist() == sorted(time.tolist())
    assert found["vcpu"].to_pylist() == [0, 1] * 1500
    assert sorted(path.name for path in tmp_path.iterdir()) == ["SHA256SUMS", "a.parquet", "b.parquet"]


def test_bad_rows_fail_or_are_left_out(tmp_path: Path) -> None:
    op = np.zeros(3000, np.uint8)
    op[[7, 2000]] = 9
    source = small_trace(tmp_path / "a.parquet", op=op)
    for options in ([], ["--sort"]):
        answer = eptreplay("pack", source, "-o", tmp_path / "b.parquet", *options)
        assert answer.code == 2
        assert "row 7, column 'op': op 9 is unknown" in answer.err
        assert not (tmp_path / "b.parquet").exists()
        answer = eptreplay("pack", source, "-o", tmp_path / "b.parquet", "--on-bad-rows", "skip", *options)
        assert answer.code == 1
        assert "2 bad rows left out: unknown_op" in answer.out
        assert pq.read_metadata(tmp_path / "b.parquet").num_rows == 2998
        (tmp_path / "b.parquet").unlink()


def test_pages_are_numbered_by_first_touch(tmp_path: Path) -> None:
    base = 0x7F00_0000_0000
    page = np.array([9, 5, 9, 1, 5, 700] * 500, np.uint64)
    gpa = np.uint64(base) + page * np.uint64(4096) + np.arange(3000, dtype=np.uint64) % np.uint64(64)
    source = small_trace(tmp_path / "a.parquet", gpa=gpa, memory=1 << 47)
    answer = eptreplay("pack", source, "-o", tmp_path / "b.parquet", "--dense")
    assert (answer.code, answer.err) == (0, "")
    found = pq.read_table(tmp_path / "b.parquet")["gpa"].to_numpy()
    assert (found >> 12).tolist() == [0, 1, 0, 2, 1, 3] * 500
    assert (found & 4095).tolist() == (gpa & np.uint64(4095)).tolist()
    trace = open_trace(tmp_path / "b.parquet")
    assert trace.ram_ranges() == ((0, 4),)
    assert "first touch" in trace.metadata["approximated"]


def test_an_access_across_two_numbered_pages_becomes_two_rows() -> None:
    touch = FirstTouch()
    columns: dict[str, NDArray[Any]] = {
        "gpa": np.array([4096 * 8 + 4090, 4096 * 8], np.uint64),
        "size": np.array([8, 8], np.uint8),
        "op": np.array([1, 0], np.uint8),
    }
    found = touch.renumbered(columns)
    assert {name: values.tolist() for name, values in found.items()} == {
        "gpa": [4090, 4096, 0],
        "size": [6, 2, 8],
        "op": [1, 1, 0],
    }
    assert (touch.pages, touch.divided) == (2, 1)
    later = touch.renumbered({"gpa": np.array([0, 4096 * 9], np.uint64)})
    assert later["gpa"].tolist() == [8192, 4096]


def test_events_cannot_be_numbered_anew(tmp_path: Path) -> None:
    source = small_trace(tmp_path / "a.parquet", op=np.full(3000, 33, np.uint8))
    answer = eptreplay("pack", source, "-o", tmp_path / "b.parquet", "--dense")
    assert answer.code == 2
    assert "pack it without --dense" in answer.err


def test_a_rate_is_written_to_where_the_trace_has_it(tmp_path: Path) -> None:
    source = small_trace(tmp_path / "a.parquet")
    (tmp_path / "guest.toml").write_text('time_unit = "cycles"\n')
    target = tmp_path / "out" / "b.parquet"
    target.parent.mkdir()
    assert eptreplay("pack", source, "-o", target, "--clock-mhz", "2399.5").code == 0
    (tmp_path / "guest.toml").unlink()
    trace = open_trace(target)
    assert (trace.time_unit, trace.metadata["clock_mhz"]) == ("cycles at 2399.5 MHz", "2399.5")


def test_several_guests_are_packed_into_a_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        small_trace(tmp_path / "in" / f"{name}.parquet")
    assert eptreplay("pack", tmp_path / "in", "-o", tmp_path / "out").code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "SHA256SUMS",
        "a.parquet",
        "b.parquet",
    ]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--float-seconds"], "--float-seconds needs a column of times that are floats"),
        (["--hex"], "--hex needs a column of numbers that are text"),
        (["--clock-mhz", "100"], "--clock-mhz needs a trace that counts cycles"),
        (["--clock-mhz", "fast"], "'fast' is no rate of a clock"),
        (["--column", "gpa"], "--column gpa: give one of time, vcpu, gpa"),
        (["--column", "va=gpa"], "--column va=gpa: give one of"),
        (["--column", "gpa=nowhere"], "there is no column 'nowhere' to be gpa"),
        (["--column", "gpa=gpa", "--column", "gpa=time"], "gpa is given twice"),
    ],
)
def test_options_without_effect_or_sense_are_refused(tmp_path: Path, options: list[str], says: str) -> None:
    answer = eptreplay("pack", small_trace(tmp_path / "a.parquet"), "-o", tmp_path / "b.parquet", *options)
    assert answer.code == 2
    assert says in answer.err
    assert not (tmp_path / "b.parquet").exists()


def test_outputs_that_cannot_be_are_refused_before_any_work(tmp_path: Path) -> None:
    source = small_trace(tmp_path / "a.parquet")
    for target, says in (
        (source, "there is such a file already"),
        ("-", "cannot go to standard output"),
        (tmp_path / "none" / "b.parquet", "no folder"),
    ):
        answer = eptreplay("pack", source, "-o", target)
        assert answer.code == 2
        assert says in answer.err
    answer = eptreplay("pack", source, "-o", source, "--overwrite")
    assert answer.code == 2
    assert "is what is to be packed" in answer.err


def test_a_packed_trace_says_how_it_was_read(tmp_path: Path) -> None:
    source = small_trace(tmp_path / "a.parquet", op=pa.array(["read", "write", "fetch"] * 1000))
    answer = eptreplay("pack", source, "-o", tmp_path / "b.parquet")
    assert "a: 'op' is op in words" in answer.err
    trace = open_trace(tmp_path / "b.parquet")
    assert "'op' is op in words" in trace.metadata["read_as"]
    assert trace.taken == ()
    assert json.loads(trace.metadata["memory_segments"])[0]["bytes"] == 4 << 20
