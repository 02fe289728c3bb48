"""How traces are written: one layout, chosen for the time it takes to read it back."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from eptreplay.errors import OutputError
from eptreplay.ingest.parquet.file import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

ROW_GROUP_ROWS = 1 << 20
"""Rows of a row group: the grain of statistics, and so of what need not be decoded."""

# Measured on real accesses and on synthetic ones, CPU time to decode gpa and op: this layout
# 5.5-7 ns a row in 2.1-5.3 bytes; zstd with plain gpa, in nullable columns, 15-20 ns in 1.6-5.9
# bytes. lz4 makes most of the difference, splitting gpa by bytes wins back most of the size,
# and a column that cannot hold nulls has no levels to decode.
FAST_LAYOUT: dict[str, Any] = {
    "compression": "lz4",
    "use_dictionary": ["vcpu", "op", "size", "count"],
    "column_encoding": {"time": "DELTA_BINARY_PACKED", "gpa": "BYTE_STREAM_SPLIT"},
    "write_page_checksum": True,
}
"""Writer options of pyarrow for traces that eptreplay makes."""


@contextmanager
def trace_writer(path: Path | str, schema: pa.Schema, options: dict[str, Any]) -> Iterator[pq.ParquetWriter]:
    """Write a Parquet file that appears under its name only when it is whole.

    Args:
        path: the file to make; one that is there is replaced.
        schema: columns and key-value metadata.
        options: `FAST_LAYOUT` or others that pyarrow's writer takes.

    Yields:
        The writer.

    Raises:
        OutputError: the file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            with pq.ParquetWriter(file, schema, **options) as writer:
                yield writer
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, pa.ArrowException) as error:
        raise OutputError(f"{path}: it cannot be written ({one_line(error)})") from error
    finally:
        temporary.unlink(missing_ok=True)
