from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eptreplay.errors import OutputError
from eptreplay.ingest.native.layout import FAST_LAYOUT, trace_writer

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = pa.schema([("gpa", pa.uint64())])
TABLE = pa.table({"gpa": pa.array([1, 2], pa.uint64())})
OPTIONS = {**FAST_LAYOUT, "column_encoding": {"gpa": "BYTE_STREAM_SPLIT"}}


def test_a_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    with trace_writer(path, SCHEMA, OPTIONS) as writer:
        writer.write_table(TABLE)
        assert not path.exists()
    assert pq.read_table(path).equals(TABLE)
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_fails_leaves_nothing_and_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(b"before")

    def fail() -> None:
        with trace_writer(path, SCHEMA, OPTIONS) as writer:
            writer.write_table(TABLE)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"before"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none" / "t.parquet"
    with pytest.raises(OutputError, match="cannot be written"), trace_writer(path, SCHEMA, OPTIONS):
        pass
