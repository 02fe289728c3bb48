"""Whose rows a row group has, where the file names guests in a column but has no statistics of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from eptreplay.errors import TraceError
from eptreplay.ingest.parquet.file import PARQUET_ERRORS, one_line

if TYPE_CHECKING:
    import pyarrow.parquet as pq

    from eptreplay.ingest.parquet.footer import Group
    from eptreplay.ingest.trace.remote_path import AnyPath

_BATCH_ROWS = 1 << 16


def one_guest(path: AnyPath, file: pq.ParquetFile, index: int, group: Group, column: str) -> Group:
    """Return a row group whose statistics of the column `guest` are known: decoded if the footer does not say.

    Args:
        path: the file, for messages.
        file: the open file.
        index: number of the row group in it.
        group: what the footer says, its chunks under the names of the schema.
        column: the name of the column in the file.

    Raises:
        TraceError: the column is damaged.
    """
    chunk = group.chunks["guest"]
    if chunk.low is not None and chunk.high is not None:
        return group
    names: set[str] = set()
    nulls = 0
    try:
        for batch in file.iter_batches(_BATCH_ROWS, row_groups=[index], columns=[column], use_threads=False):
            array = batch.column(0)
            nulls += array.null_count
            plain = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
            names.update(filter(None, pc.unique(plain.cast(pa.large_string())).to_pylist()))
            if len(names) > 1:
                break
    except PARQUET_ERRORS as error:
        raise TraceError(
            str(path), f"its data is damaged ({one_line(error)})", column="guest", row_group=index
        ) from error
    known = chunk._replace(low=min(names, default=None), high=max(names, default=None), nulls=nulls)
    return group._replace(chunks={**group.chunks, "guest": known})
