from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from eptreplay.ingest.parquet.untrusted_statistics import untrusted_statistics
from eptreplay.ingest.sources.dataset import open_trace

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ingest.conftest import MakeTrace


def found(path: Path) -> list[tuple[int, str, str]]:
    return [
        (suspect.group.index, suspect.column, suspect.claim)
        for suspect in untrusted_statistics(open_trace(path))
    ]


def test_a_good_trace_has_none(make_trace: MakeTrace) -> None:
    assert found(make_trace(rows=300, row_group_size=100)) == []


def test_row_groups_that_go_back_in_time_are_found(make_trace: MakeTrace) -> None:
    path = make_trace(rows=6, row_group_size=2, columns={"time": [5, 9, 8, 9, 9, 12]})
    assert found(path) == [(1, "time", "8 after 9 in the row groups before")]


def test_values_out_of_range_are_found(make_trace: MakeTrace) -> None:
    columns = {
        "op": [0, 60],
        "gpa": [1 << 48, 0],
        "vcpu": [2, 0],
        "size": pa.array([5000, 0], pa.uint16()),
        "count": pa.array([0, 1], pa.uint32()),
    }
    assert {column for _, column, _ in found(make_trace(rows=2, columns=columns))} == set(columns)


def test_nulls_are_found(make_trace: MakeTrace) -> None:
    path = make_trace(rows=2, columns={"vcpu": pa.array([None, 0], pa.uint8())})
    assert found(path) == [(0, "vcpu", "that there are nulls")]


def test_without_statistics_nothing_is_found(make_trace: MakeTrace) -> None:
    assert found(make_trace(rows=2, columns={"op": [0, 16]}, write_statistics=False)) == []
