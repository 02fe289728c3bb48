from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from pathlib import Path

LAYOUT = [{"gpa": 0, "bytes": 1 << 30, "kind": "ram"}]
METADATA = {"memory_segments": json.dumps(LAYOUT), "vcpus": "2", "time_unit": "ns"}
TYPES = {"time": pa.uint64(), "vcpu": pa.uint8(), "gpa": pa.uint64(), "op": pa.uint8(), "size": pa.uint8()}


class MakeTrace(Protocol):
    """Writes a small valid trace, with what a test wants to be different."""

    def __call__(
        self,
        name: str = ...,
        *,
        rows: int = ...,
        columns: dict[str, Any] | None = ...,
        metadata: dict[str, str | None] | None = ...,
        row_group_size: int = ...,
        **options: object,
    ) -> Path: ...


def default_columns(rows: int) -> dict[str, Any]:
    random = np.random.default_rng(rows)
    return {
        "time": np.cumsum(random.integers(0, 9, rows, dtype=np.uint64), dtype=np.uint64),
        "vcpu": random.integers(0, 2, rows, dtype=np.uint8),
        "gpa": random.integers(0, 1 << 27, rows, dtype=np.uint64) * np.uint64(8),
        "op": random.integers(0, 3, rows, dtype=np.uint8),
        "size": np.full(rows, 8, dtype=np.uint8),
    }


@pytest.fixture
def make_trace(tmp_path: Path) -> MakeTrace:
    """A writer of traces into the test's folder; a column or key given as None is left out."""

    def make(
        name: str = "t.parquet",
        *,
        rows: int = 100,
        columns: dict[str, Any] | None = None,
        metadata: dict[str, str | None] | None = None,
        row_group_size: int = 1 << 20,
        **options: object,
    ) -> Path:
        data = {**default_columns(rows), **(columns or {})}
        arrays = {
            key: value if isinstance(value, pa.Array) else pa.array(value, TYPES.get(key))
            for key, value in data.items()
            if value is not None
        }
        keys = {key: text for key, text in {**METADATA, **(metadata or {})}.items() if text is not None}
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pa.table(arrays).replace_schema_metadata(keys)
        pq.write_table(table, path, row_group_size=row_group_size, **{"write_page_checksum": True, **options})
        return path

    return make
