"""Writing native traces, row group by row group, in constant memory.

with new_trace(path, columns_of("time", "vcpu", "gpa", "op"), overwrite=False) as trace:
    for ...:
        trace.write({"time": time, "vcpu": vcpu, "gpa": gpa, "op": op})
    trace.metadata = TraceMetadata(segments, vcpus=2, time_unit="ns", free={"capture": "..."})
"""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from eptreplay.errors import OutputError
from eptreplay.ingest.native.layout import FAST_LAYOUT, ROW_GROUP_ROWS
from eptreplay.ingest.native.listed import list_file, unlist_file
from eptreplay.ingest.native.whole_file import whole_file
from eptreplay.ingest.parquet.file import one_line
from eptreplay.ingest.trace.schema import (
    COLUMNS,
    KEY_MEMORY_BYTES,
    KEY_SEGMENTS,
    KEY_TIME_UNIT,
    KEY_VCPUS,
    Segment,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from eptreplay.ingest.native.whole_file import HashedFile

_BUFFER_BYTES = 1 << 20
"""Bytes that are hashed and written at a time."""

WIDEST = {column.name: column.types[-1] for column in COLUMNS}
"""The widest type that each known column may have; of `guest`, the one that takes the least room."""


@dataclass(frozen=True, slots=True)
class TraceMetadata:
    """What a trace says of its guest, beside its rows.

    Args:
        segments: memory layout in ascending order of address, without overlaps.
        vcpus: number of virtual CPUs.
        time_unit: one of `schema.TIME_UNITS`.
        free: further keys; none of them one of the above.
    """

    segments: Sequence[Segment]
    vcpus: int
    time_unit: str
    free: Mapping[str, str] = field(default_factory=dict)

    def keys(self) -> dict[str, str]:
        """Return it as key-value metadata of a file."""
        segments = [{"gpa": each.gpa, "bytes": each.bytes, "kind": each.kind} for each in self.segments]
        free = {key: text.encode("utf-8", "replace").decode() for key, text in self.free.items()}
        return {
            **free,
            KEY_SEGMENTS: json.dumps(segments),
            KEY_VCPUS: str(self.vcpus),
            KEY_MEMORY_BYTES: str(sum(each.bytes for each in self.segments if each.is_ram)),
            KEY_TIME_UNIT: self.time_unit,
        }


def columns_of(*names: str) -> dict[str, pa.DataType]:
    """Return columns with the widest type that the format allows each: what a writer takes that does not know its values yet."""
    return {name: WIDEST[name] for name in names}


class TraceWriter:
    """A native trace in the making; `new_trace` makes one.

    Attributes:
        metadata: what the file will say of its guest; may be set until the end, when it must be known.
        rows: rows taken so far.
    """

    def __init__(
        self, path: Path, file: HashedFile, schema: pa.Schema, metadata: TraceMetadata | None
    ) -> None:
        self._path = path
        with _of_output(path):
            self._buffer = pa.BufferedOutputStream(pa.PythonFile(file, mode="w"), _BUFFER_BYTES)
            self._file = pq.ParquetWriter(self._buffer, schema, **layout_of(schema))
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0
        self.metadata = metadata
        self.rows = 0

    def write(self, columns: Mapping[str, NDArray[Any] | pa.Array]) -> None:
        """Take the next rows.

        The arrays are kept until their row group is full: do not change them afterwards.

        Args:
            columns: every column of the trace, each of shape (n,), n >= 0, numpy or Arrow; of the column's type, or of
                another one whose values fit.

        Raises:
            ValueError: a column is missing or too much, the lengths differ, or a value is null or does not fit: a fault of the caller.
            OutputError: the file takes no more.
        """
        if set(columns) != set(self._schema.names):
            raise ValueError(f"columns {sorted(columns)}, not {sorted(self._schema.names)}")
        arrays = [_fitting(columns[field.name], field) for field in self._schema]
        rows = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        self.rows += rows.num_rows
        while rows.num_rows:
            taken = rows.slice(0, ROW_GROUP_ROWS - self._waiting_rows)
            rows = rows.slice(taken.num_rows)
            self._waiting.append(taken)
            self._waiting_rows += taken.num_rows
            if self._waiting_rows == ROW_GROUP_ROWS:
                self.end_row_group()

    def end_row_group(self) -> None:
        """Let the next rows begin a row group, as those of another guest must."""
        if self._waiting:
            table = pa.Table.from_batches(self._waiting, self._schema)
            self._waiting, self._waiting_rows = [], 0
            with _of_output(self._path):
                self._file.write_table(table, row_group_size=ROW_GROUP_ROWS)

    def finish(self) -> None:
        """Write what is waiting, and the metadata."""
        if self.metadata is None:
            raise ValueError("the metadata of the trace was never set")
        self.end_row_group()
        with _of_output(self._path):
            self._file.add_key_value_metadata(self.metadata.keys())
            self._file.close()
            self._buffer.close()

    def abandon(self) -> None:
        """Free what the file's writer holds; the file goes away, so that it cannot be ended any more does not matter."""
        for each in (self._file, self._buffer):
            with suppress(OutputError), _of_output(self._path):
                each.close()


@contextmanager
def new_trace(
    path: Path | str,
    columns: Mapping[str, pa.DataType],
    metadata: TraceMetadata | None = None,
    *,
    overwrite: bool,
) -> Iterator[TraceWriter]:
    """Write a native trace in the fastest layout, and its line in the `SHA256SUMS` of its folder.

    Row groups have `ROW_GROUP_ROWS` rows; memory does not grow with the trace. The file is written under a temporary name
    beside its own, synced and renamed. If the block raises, nothing is left of it, and what was there before stays.
    Rows are written as they come: whoever calls answers for their order and values (`rows.py` has the rules).

    Args:
        path: the file to make; its folder must exist.
        columns: names and types, each one that `schema.COLUMNS` allows; see `columns_of`.
        metadata: what the file says of its guest; None: it is set before the block ends (`TraceWriter.metadata`).
        overwrite: whether a file that is there is replaced.

    Yields:
        The writer.

    Raises:
        OutputError: the file exists and is not to be replaced, or it or the manifest cannot be written.
    """
    path = Path(path)
    schema = pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])
    with whole_file(path, overwrite=overwrite) as file:
        writer = TraceWriter(path, file, schema, metadata)
        try:
            yield writer
            writer.finish()
        finally:
            writer.abandon()
        # Before the file has its name: a digest that is listed is never that of another file, whenever the process is killed.
        unlist_file(path)
    list_file(path, file.digest)


def layout_of(schema: pa.Schema) -> dict[str, Any]:
    """Return the writer options of the fastest layout for the columns that a file has."""
    encodings: dict[str, str] = FAST_LAYOUT["column_encoding"]
    return {
        **FAST_LAYOUT,
        "use_dictionary": [name for name in schema.names if name not in encodings],
        "column_encoding": {name: kind for name, kind in encodings.items() if name in schema.names},
    }


@contextmanager
def _of_output(path: Path) -> Iterator[None]:
    """Say of what the Parquet writer raises that it is the output's."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise OutputError(f"{path}: it cannot be written ({one_line(error)})") from error


def _fitting(values: NDArray[Any] | pa.Array, column: pa.Field) -> pa.Array:
    """Return a column with its type.

    Raises:
        ValueError: a value is null or does not fit.
    """
    if isinstance(values, pa.Array):
        array = values
    elif values.dtype == column.type.to_pandas_dtype() and values.flags.c_contiguous:
        return pa.Array.from_buffers(column.type, len(values), [None, pa.py_buffer(values)])  # without a copy
    else:
        array = pa.array(values)
    if array.type != column.type:
        array = array.cast(column.type, safe=True)  # pa.ArrowInvalid is a ValueError
    if array.null_count:
        raise ValueError(f"column '{column.name}' has nulls")
    return array
