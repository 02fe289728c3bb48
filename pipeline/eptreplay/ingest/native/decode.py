"""One row group from pages to numpy arrays, in bounded pieces."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from eptreplay.errors import TraceError
from eptreplay.ingest.parquet.file import PARQUET_ERRORS, one_line
from eptreplay.ingest.parquet.pages import check_first_page

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow.parquet as pq

    from eptreplay.ingest.native.rows import Mask, Values
    from eptreplay.ingest.parquet.file import Opened
    from eptreplay.ingest.trace.guest_trace import RowGroup
    from eptreplay.ingest.trace.source import Unfit


class Piece(NamedTuple):
    """Consecutive rows of a row group.

    Args:
        row: number of the first one in the row group.
        columns: decoded columns by name, each of shape (n,), n > 0; views of Arrow
            buffers, read-only. Nulls are 0.
        nulls: for each column that holds nulls, shape (n,): which rows are null.
        unfit: for each column with values that its type cannot hold: which these are.
    """

    row: int
    columns: dict[str, Values]
    nulls: dict[str, Mask]
    unfit: Mapping[str, Unfit] = MappingProxyType({})

    def known(self, name: str) -> Values:
        """Return the values of a column without those that are null or do not fit."""
        values = self.columns[name]
        masks = [self.nulls[name]] if name in self.nulls else []
        masks += [self.unfit[name].rows] if name in self.unfit else []
        return values[~np.logical_or.reduce(masks)] if masks else values


def decode(file: Opened, group: RowGroup, names: Sequence[str], batch_rows: int) -> Iterator[Piece]:
    """Decode columns of one row group.

    Args:
        file: the open file.
        group: which row group of it.
        names: columns to decode.
        batch_rows: the most rows of a piece. The rows a footer claims allocate nothing.

    Yields:
        Pieces in order, together exactly the rows of the row group.

    Raises:
        TraceError: a page is damaged, or the pages hold other rows than the footer says.
    """
    file.expect([group.extents[name].span for name in names])
    for name in names:
        check_first_page(file.read_at, group, name)
    row = 0
    stored = _stored_names(group, names)
    pieces = _record_batches(file.parquet, group, stored, batch_rows)
    while row <= group.rows:
        try:
            batch = next(pieces, None)
            piece = None if batch is None else _piece(batch, row, group, names)
        except PARQUET_ERRORS as error:
            raise TraceError(
                str(group.file),
                f"its data is damaged ({one_line(error)})",
                column=_damaged_column(file.parquet, group, stored),
                row_group=group.index,
                expected="pages that decode and match their checksums",
                advice="copy or capture the trace again",
            ) from error
        if batch is None:
            break
        row += batch.num_rows
        if piece is not None:
            yield piece
    if row != group.rows:
        raise TraceError(
            str(group.file),
            f"the pages hold {'more' if row > group.rows else f'{row:,}'} rows",
            row_group=group.index,
            expected=f"{group.rows:,} rows, as the footer says",
            advice="copy or capture the trace again",
        )


def _record_batches(
    file: pq.ParquetFile, group: RowGroup, names: Sequence[str], batch_rows: int
) -> Iterator[pa.RecordBatch]:
    # Threads inside pyarrow cost CPU time and do not help beside the thread that decodes ahead.
    return file.iter_batches(batch_rows, row_groups=[group.index], columns=list(names), use_threads=False)  # type: ignore[no-any-return]


def _stored_names(group: RowGroup, names: Sequence[str]) -> Sequence[str]:
    """Return the names that columns have in the file."""
    return [group.sources[name].column for name in names] if group.sources else names


def _piece(batch: pa.RecordBatch, row: int, group: RowGroup, names: Sequence[str]) -> Piece | None:
    if not batch.num_rows:
        return None
    batch.validate(full=True)
    return _taken(batch, row, group, names) if group.sources else _to_numpy(batch, row)


def _taken(batch: pa.RecordBatch, row: int, group: RowGroup, names: Sequence[str]) -> Piece:
    """Return columns of which one or the other is not stored as the schema says."""
    columns: dict[str, Values] = {}
    nulls: dict[str, Mask] = {}
    unfit: dict[str, Unfit] = {}
    for name in names:
        source = group.sources[name]
        array = batch.column(source.column)
        if source.convert is None:
            part = _to_numpy(pa.RecordBatch.from_arrays([array], [name]), row)
            columns |= part.columns
            nulls |= part.nulls
            continue
        columns[name], null, bad = source.convert(array)
        if null is not None:
            nulls[name] = null
        if bad is not None:
            unfit[name] = bad
    return Piece(row, columns, nulls, unfit)


def _to_numpy(batch: pa.RecordBatch, row: int) -> Piece:
    columns: dict[str, Values] = {}
    nulls: dict[str, Mask] = {}
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        if array.null_count:
            nulls[name] = array.is_null().to_numpy(zero_copy_only=False)
        filled = array.fill_null(0) if array.null_count else array
        columns[name] = filled.to_numpy(zero_copy_only=True)
    return Piece(row, columns, nulls)


def _damaged_column(file: pq.ParquetFile, group: RowGroup, names: Sequence[str]) -> str | None:
    """Find out which column cannot be decoded, by decoding each alone."""
    for name in names:
        try:
            for batch in _record_batches(file, group, (name,), 1 << 16):
                batch.validate(full=True)
        except PARQUET_ERRORS:
            return name
    return None
