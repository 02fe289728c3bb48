"""Times that are not known: whoever needs them is told the true cause, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from tests.command_line import eptreplay, small_trace

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 300


def times(*, first: int | None = 0, last: int | None = 10 * ROWS) -> pa.Array:
    return pa.array([first, *range(10, 10 * ROWS - 10, 10), last], pa.uint64())


CAUSES: dict[str, tuple[dict[str, Any], str]] = {
    "first are null": (
        {"time": pa.array([*[None] * 100, *range(200)], pa.uint64())},
        "all times of its first row group are null",
    ),
    "last are null": (
        {"time": pa.array([*range(200), *[None] * 100], pa.uint64())},
        "all times of its last row group are null",
    ),
    "all are null": ({"time": pa.nulls(ROWS, pa.uint64())}, "all times of its first row group are null"),
    "late": (
        {"time": times(last=1 << 63)},
        "its last row group has times up to 9223372036854775808, later than 9223372036854775807 (2^63 - 1)",
    ),
    "all are late": (
        {"time": np.full(ROWS, 2**64 - 1, np.uint64)},
        "its first row group has times up to 18446744073709551615",
    ),
}
NEEDS = {
    "sweeps": ("--policy", "age", "--every", "10us"),
    "scans": ("--host-memory", "8M", "--scan-interval", "10us"),
}


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("need", NEEDS)
def test_a_distance_in_time_needs_times(tmp_path: Path, need: str, cause: str, statistics: bool) -> None:
    columns, told = CAUSES[cause]
    trace = small_trace(
        tmp_path / "guest.parquet", rows=ROWS, row_group_size=100, statistics=statistics, **columns
    )
    answer = eptreplay(
        "replay", trace, "-p", "x86", "--on-bad-rows", "skip", "--out", tmp_path / "run", *NEEDS[need]
    )
    assert (answer.code, len(answer.err.splitlines())) == (2, 1), answer.err
    assert told in answer.err
    assert "or give their distance in rows, as in 1M" in answer.err
    assert "statistics" not in answer.err


@pytest.mark.parametrize("end", [{"first": None}, {"last": None}, {"first": None, "last": None}], ids=str)
@pytest.mark.parametrize("need", NEEDS)
def test_a_null_at_an_end_is_a_row_to_leave_out_with_and_without_statistics(
    tmp_path: Path, need: str, end: dict[str, None]
) -> None:
    runs = []
    for statistics in (True, False):
        folder = tmp_path / str(statistics)
        folder.mkdir()
        trace = small_trace(
            folder / "guest.parquet", rows=ROWS, row_group_size=100, statistics=statistics, time=times(**end)
        )
        arguments = ("-p", "x86", *NEEDS[need], "--out", folder / "run")
        answer = eptreplay("replay", trace, "--on-bad-rows", "skip", *arguments)
        assert answer.code == 0, answer.err
        assert f"rows left out: {len(end)} null" in answer.err
        refused = eptreplay("replay", trace, *arguments, "--overwrite")
        assert refused.code == 2
        assert "the value is null" in refused.err
        runs.append((folder / "run/tables/summary.parquet").read_bytes())
    assert runs[0] == runs[1]


@pytest.mark.parametrize("cause", CAUSES)
def test_guests_of_one_host_need_times(tmp_path: Path, cause: str) -> None:
    columns, told = CAUSES[cause]
    good = small_trace(tmp_path / "good.parquet", rows=ROWS)
    bad = small_trace(tmp_path / "bad.parquet", rows=ROWS, row_group_size=100, statistics=False, **columns)
    answer = eptreplay(
        "replay", good, bad, "-p", "x86", "--on-bad-rows", "skip", "--host-memory", "16M", "--out", tmp_path / "run"
    )  # fmt: skip
    assert answer.code == 2
    assert f"bad.parquet, column 'time': {told}" in answer.err
    assert "leave it out: guests of one host are put in the order of their times" in answer.err


def test_an_empty_guest_of_a_host_is_told_to_be_empty(tmp_path: Path) -> None:
    good, bad = small_trace(tmp_path / "good.parquet"), small_trace(tmp_path / "bad.parquet", rows=0)
    answer = eptreplay("replay", good, bad, "-p", "x86", "--host-memory", "16M", "--out", tmp_path / "run")
    assert answer.code == 2
    assert "bad.parquet, column 'time': it has no rows" in answer.err


@pytest.mark.parametrize("need", NEEDS)
def test_of_an_empty_trace_nothing_is_ever_due(tmp_path: Path, need: str) -> None:
    trace = small_trace(tmp_path / "guest.parquet", rows=0)
    answer = eptreplay("replay", trace, "-p", "x86", "--out", tmp_path / "run", *NEEDS[need])
    assert answer.code == 0, answer.err
