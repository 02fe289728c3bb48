from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest

from eptreplay.ingest.native.reader import read_batches
from eptreplay.ingest.sources.dataset import open_trace

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("codec", ["zstd", "lz4", "snappy", "gzip", "brotli", "uncompressed"])
def test_a_trace_written_by_another_library_is_read(tmp_path: Path, codec: str) -> None:
    rows = 1000
    columns = {
        "time": pl.Series(range(rows), dtype=pl.UInt64),
        "vcpu": pl.Series([0] * rows, dtype=pl.UInt8),
        "gpa": pl.Series(range(0, rows * 64, 64), dtype=pl.UInt64),
        "op": pl.Series([0, 1] * (rows // 2), dtype=pl.UInt8),
        "note": pl.Series(["x"] * rows),
    }
    path = tmp_path / "t.parquet"
    pl.DataFrame(columns).write_parquet(path, compression=codec, row_group_size=300)  # type: ignore[arg-type]
    (tmp_path / "guest.toml").write_text(
        'vcpus = 1\nsegments = [{ gpa = 0, bytes = 65536, kind = "ram" }]', encoding="utf-8"
    )
    trace = open_trace(path)
    assert trace.row_groups[0].vcpu_constant == 0
    found = [int(gpa) for batch in read_batches(trace, vcpu=True) for gpa in batch.gpa]
    assert found == columns["gpa"].to_list()
