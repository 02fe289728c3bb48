"""Native traces as CSV: one line a row, with the columns that the trace has; `eptreplay import text` reads it back."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, BinaryIO

import polars as pl

from eptreplay.ingest.importing.format import Export
from eptreplay.ingest.native.decode import decode
from eptreplay.ingest.native.rows import Limits, Place, check_rows
from eptreplay.ingest.parquet.file import open_parquet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from eptreplay.ingest.trace.guest_trace import GuestTrace

COLUMNS = ("time", "vcpu", "op", "gpa", "size", "count", "arg")
"""In the order of a line."""
PIECE_ROWS = 1 << 17


def _write(trace: GuestTrace, stream: BinaryIO) -> int:
    """Write the names of the columns, then all rows; return how many they are."""
    names = [name for name in COLUMNS if name in trace.columns]
    stream.write((",".join(names) + "\n").encode())
    written = 0
    for columns in _pieces(trace, names):
        frame = pl.DataFrame({name: columns[name] for name in names})
        stream.write(frame.write_csv(include_header=False).encode())
        written += len(frame)
    return written


def _pieces(trace: GuestTrace, names: list[str]) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the rows of a trace, checked; a null argument is 0.

    Raises:
        TraceError: the trace is damaged, or a row breaks a rule.
    """
    last_time = 0
    for path, groups in groupby(trace.row_groups, key=lambda group: group.file):
        with open_parquet(path, trace.digests[path]) as file:
            for group in groups:
                for piece in decode(file, group, names, PIECE_ROWS):
                    nulls = {name: mask for name, mask in piece.nulls.items() if name != "arg"}
                    place = Place(str(group.file), group.index, group.file_row + piece.row)
                    check_rows(piece.columns, nulls, Limits(trace.vcpus, last_time), place)
                    last_time = int(piece.columns["time"][-1])
                    yield piece.columns


EXPORT = Export(
    "csv",
    "CSV, as 'eptreplay import text' reads it",
    "the memory layout, the number of vCPUs, the unit of the times, and whatever else is metadata",
    _write,
)
