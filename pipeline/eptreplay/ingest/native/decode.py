"""One row group from pages to numpy arrays, in bounded pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from eptreplay.errors import TraceError
from eptreplay.ingest.parquet.file import PARQUET_ERRORS, one_line
from eptreplay.ingest.parquet.pages import check_first_page

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    import pyarrow.parquet as pq

    from eptreplay.ingest.native.rows import Mask, Values
    from eptreplay.ingest.parquet.file import Opened
    from eptreplay.ingest.trace.guest_trace import RowGroup


class Piece(NamedTuple):
    """Consecutive rows of a row group.

    Args:
        row: number of the first one in the row group.
        columns: decoded columns by name, each of shape (n,), n > 0; views of Arrow
            buffers, read-only. Nulls are 0.
        nulls: for each column that holds nulls, shape (n,): which rows are null.
    """

    row: int
    columns: dict[str, Values]
    nulls: dict[str, Mask]


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
    pieces = _record_batches(file.parquet, group, names, batch_rows)
    while row <= group.rows:
        try:
            batch = next(pieces, None)
            piece = None if batch is None else _to_numpy(batch, row)
        except PARQUET_ERRORS as error:
            raise TraceError(
                str(group.file),
                f"its data is damaged ({one_line(error)})",
                column=_damaged_column(file.parquet, group, names),
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


def _to_numpy(batch: pa.RecordBatch, row: int) -> Piece | None:
    if not batch.num_rows:
        return None
    batch.validate(full=True)
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
