"""Damage of every kind ends in the same rows or in a TraceError: nothing else, and never in a crash."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eptreplay.errors import TraceError
from eptreplay.ingest.native.layout import FAST_LAYOUT
from eptreplay.ingest.native.reader import Batch, read_batches
from eptreplay.ingest.sources.dataset import open_trace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ROWS = 600
NAMES = ("time", "vcpu", "gpa", "op", "size", "count")


def whole_file(nullable: bool, options: Mapping[str, object]) -> bytes:
    random = np.random.default_rng(5)
    columns = {
        "time": pa.array(np.cumsum(random.integers(0, 9, ROWS, dtype=np.uint64), dtype=np.uint64)),
        "vcpu": pa.array(random.integers(0, 2, ROWS, dtype=np.uint8)),
        "gpa": pa.array(random.integers(0, 1 << 30, ROWS, dtype=np.uint64)),
        "op": pa.array(random.integers(0, 3, ROWS, dtype=np.uint8)),
        "size": pa.array(random.integers(1, 9, ROWS, dtype=np.uint8)),
        "count": pa.array(random.integers(1, 9, ROWS, dtype=np.uint32)),
    }
    metadata = {"memory_segments": json.dumps([{"gpa": 0, "bytes": 1 << 30, "kind": "ram"}]), "vcpus": "2"}
    fields = [pa.field(name, array.type, nullable=nullable) for name, array in columns.items()]
    table = pa.table(list(columns.values()), schema=pa.schema(fields, metadata))
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=200, data_page_size=500, **options)
    return sink.getvalue()


SHARED = {
    **FAST_LAYOUT,
    "compression": "zstd",
    "column_encoding": {"time": "DELTA_BINARY_PACKED", "gpa": "PLAIN"},
}
FILES = {
    "fast": whole_file(nullable=False, options=FAST_LAYOUT),
    "zstd": whole_file(nullable=True, options=SHARED),
    "plain": whole_file(nullable=True, options={**SHARED, "compression": "none"}),
}


def rows(path: Path) -> list[bytes]:
    batches: list[Batch] = list(read_batches(open_trace(path), vcpu=True, prefetch=False))
    return [b"".join(getattr(batch, name).tobytes() for batch in batches) for name in NAMES]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "t.parquet"


@pytest.fixture(scope="module")
def good(scratch: Path) -> dict[str, list[bytes]]:
    found = {}
    for name, data in FILES.items():
        scratch.write_bytes(data)
        found[name] = rows(scratch)
    return found


def footer_start(data: bytes | bytearray) -> int:
    return len(data) - 8 - int.from_bytes(data[-8:-4], "little")


BOUNDED = settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@BOUNDED
@given(name=st.sampled_from(sorted(FILES)), where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_in_the_data_is_harmless_or_found(
    scratch: Path, good: dict[str, list[bytes]], name: str, where: float, bit: int
) -> None:
    data = bytearray(FILES[name])
    data[4 + int(where * (footer_start(data) - 4))] ^= 1 << bit
    scratch.write_bytes(data)
    try:
        found = rows(scratch)
    except TraceError:
        return
    assert found == good[name]


@BOUNDED
@given(
    name=st.sampled_from(sorted(FILES)),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8
    ),
)
def test_changed_bytes_in_the_footer_end_in_rows_or_a_trace_error(
    scratch: Path, name: str, changes: list[tuple[float, int]]
) -> None:
    """A footer has no checksum: what it says may be wrong, but must not do harm."""
    data = bytearray(FILES[name])
    start = footer_start(data)
    for where, byte in changes:
        data[start + int(where * (len(data) - start))] = byte
    scratch.write_bytes(data)
    try:
        trace = open_trace(scratch)
        batches = list(read_batches(trace, prefetch=False))
    except TraceError:
        return
    assert sum(batch.rows for batch in batches) == trace.rows
    assert all(int(batch.op.max()) <= 2 and int(batch.gpa.max()) < 1 << 48 for batch in batches)


@BOUNDED
@given(name=st.sampled_from(sorted(FILES)), where=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_short_anywhere_is_refused(scratch: Path, name: str, where: float) -> None:
    data = FILES[name]
    scratch.write_bytes(data[: int(where * len(data))])
    with pytest.raises(TraceError, match=r"cut short|empty file|text file|binary data"):
        rows(scratch)


@BOUNDED
@given(
    name=st.sampled_from(sorted(FILES)),
    where=st.floats(0, 1, exclude_max=True),
    length=st.integers(1, 600),
)
def test_a_stretch_that_was_wiped_ends_in_rows_or_a_trace_error(
    scratch: Path, good: dict[str, list[bytes]], name: str, where: float, length: int
) -> None:
    data = bytearray(FILES[name])
    start = 4 + int(where * (footer_start(data) - 4))
    end = min(start + length, footer_start(data))
    data[start:end] = bytes(end - start)
    scratch.write_bytes(data)
    try:
        found = rows(scratch)
    except TraceError:
        return
    assert found == good[name]


@BOUNDED
@given(data=st.binary(max_size=300), tail=st.booleans())
def test_any_bytes_are_refused(scratch: Path, data: bytes, tail: bool) -> None:
    scratch.write_bytes(b"PAR1" + data + len(data).to_bytes(4, "little") + b"PAR1" if tail else data)
    with pytest.raises(TraceError):
        rows(scratch)
