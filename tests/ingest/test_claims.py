"""Rows that are not what the file says of them are refused, though every page decodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from tests.ingest.damage import pages_of

from eptreplay.errors import TraceError
from eptreplay.ingest.native.reader import read_batches
from eptreplay.ingest.sources.dataset import open_trace

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ingest.conftest import MakeTrace

    from eptreplay.request.choices import OnBadRows

PAGED: dict[str, Any] = {
    "data_page_size": 800,
    "write_batch_size": 100,
    "use_dictionary": False,
    "compression": "none",
}


def read(path: Path, policy: OnBadRows = "fail") -> int:
    return sum(
        batch.rows for batch in read_batches(open_trace(path), vcpu=True, on_bad_rows=policy, batch_rows=70)
    )


def swap(path: Path, chunk: int, first: int, second: int) -> None:
    """Swap two pages of equal length of a chunk with several pages."""
    data = bytearray(path.read_bytes())
    pages = pages_of(bytes(data))[chunk]
    a, b = pages[first], pages[second]
    assert a.packed == b.packed
    one, other = data[a.start : a.start + a.packed], data[b.start : b.start + b.packed]
    data[a.start : a.start + a.packed], data[b.start : b.start + b.packed] = other, one
    path.write_bytes(data)


@pytest.mark.parametrize("policy", ["fail", "skip"])
def test_swapped_pages_are_found_by_the_page_index(make_trace: MakeTrace, policy: OnBadRows) -> None:
    columns = {"gpa": np.arange(1000, dtype=np.uint64) * np.uint64(64)}
    path = make_trace(rows=1000, columns=columns, write_page_index=True, **PAGED)
    assert read(path, policy) == 1000
    swap(path, 2, 3, 5)
    with pytest.raises(
        TraceError, match=r"row 300, column 'gpa': the statistics of this page claim values of 19200"
    ):
        read(path, policy)


@pytest.mark.parametrize("batch_rows", [1, 99, 100, 101, 5000])
def test_pages_and_batches_need_not_begin_together(make_trace: MakeTrace, batch_rows: int) -> None:
    columns = {
        "count": pa.array(np.arange(1, 1001), pa.uint32()),
        "arg": pa.array([None, 7] * 500, pa.uint64()),
    }
    columns["op"] = pa.array([0, 1, 2, 41, 0] * 200, pa.uint8())
    path = make_trace(rows=1000, row_group_size=450, columns=columns, write_page_index=True, **PAGED)
    batches = read_batches(open_trace(path), vcpu=True, batch_rows=batch_rows)
    assert sum(batch.rows for batch in batches) == 1000


@pytest.mark.parametrize("policy", ["fail", "skip"])
@pytest.mark.parametrize("column", ["time", "vcpu", "gpa", "op", "size", "count"])
def test_rows_beyond_the_statistics_are_refused(
    make_trace: MakeTrace, column: str, policy: OnBadRows
) -> None:
    """Of two files that differ in one value, the rows of one and the statistics of the other."""
    rows = {
        "time": range(100, 200),
        "vcpu": [0, 1] * 50,
        "gpa": np.arange(100, dtype=np.uint64) * np.uint64(4096),
        "op": [0, 1] * 50,
        "size": [2, 4] * 50,
        "count": pa.array([3, 5] * 50, pa.uint32()),
    }
    options = PAGED | {"write_page_checksum": False, "data_page_size": 1 << 20}
    good = make_trace("good.parquet", rows=100, columns=rows, **options).read_bytes()
    changed = list(rows[column].to_pylist() if isinstance(rows[column], pa.Array) else rows[column])
    changed[-1] = {"vcpu": 0, "op": 2, "time": 250}.get(column, int(changed[-1]) + 2)
    if column == "vcpu":
        changed = [1] * 100
    kind = pa.uint32() if column == "count" else None
    other = make_trace(
        "other.parquet",
        rows=100,
        columns={**rows, column: pa.array(changed, kind) if kind else changed},
        **options,
    ).read_bytes()
    assert len(good) == len(other)
    footer = len(good) - 8 - int.from_bytes(good[-8:-4], "little")
    path = make_trace("mixed.parquet")
    path.write_bytes(other[:footer] + good[footer:])
    with pytest.raises(TraceError, match=f"column '{column}': the statistics claim values of"):
        read(path, policy)


def test_a_damaged_page_index_is_refused(make_trace: MakeTrace) -> None:
    path = make_trace(rows=1000, write_page_index=True, **PAGED)
    places = open_trace(path).row_groups[0].indexes["gpa"]
    data = bytearray(path.read_bytes())
    data[places.offsets_start] = 0
    path.write_bytes(data)
    with pytest.raises(TraceError, match="column 'gpa': its page index is damaged"):
        read(path)
