"""Does a page begin where the footer says, and fit into its chunk?

A page header has no checksum, and pyarrow allocates the size it states: a footer that
points a few bytes too far costs gigabytes before it is found out. Only the first page
of a chunk is looked at. To walk them all in Python takes a fifth of the time of decoding
them, and a damaged header further on is still an error, if an expensive one: a page
states at most 2 GiB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.errors import TraceError
from eptreplay.ingest.parquet.thrift import CompactReader, ThriftError

if TYPE_CHECKING:
    from eptreplay.ingest.trace.extents import Extent, ReadAt
    from eptreplay.ingest.trace.guest_trace import RowGroup

_HEADER_BYTES = 4096
"""Longer headers hold long text in their statistics, which no column that is read has."""


_CHECKSUM = 4
"""The field of a page header that holds the checksum."""


def check_first_page(read_at: ReadAt, group: RowGroup, column: str) -> None:
    """Look at the header of the first page of a column in a row group.

    Args:
        read_at: reads the open file.
        group: the row group; it has rows.
        column: the column.

    Raises:
        TraceError: there is no page header, or the page is larger than its chunk.
    """
    extent = group.extents[column]
    fault = _fault(read_at, extent)
    if fault:
        raise TraceError(
            str(group.file),
            f"its data is damaged (at byte {extent.start:,}: {fault})",
            column=column,
            row_group=group.index,
            expected=f"a page header and at most {extent.packed:,} bytes, {extent.plain:,} unpacked",
            advice="copy or capture the trace again",
        )


def has_checksum(read_at: ReadAt, extent: Extent) -> bool:
    """Return whether the first page of a chunk has a checksum, by its header."""
    try:
        header = CompactReader(read_at(min(_HEADER_BYTES, extent.packed), extent.start)).struct()
    except (ThriftError, OSError):
        return False
    return _CHECKSUM in header


def _fault(read_at: ReadAt, extent: Extent) -> str:
    """What is wrong with the page at the beginning of a chunk, in words; empty if nothing."""
    try:
        reader = CompactReader(read_at(min(_HEADER_BYTES, extent.packed), extent.start))
        header = reader.struct()
    except (ThriftError, OSError) as error:
        return str(error)
    plain, packed = header.get(2), header.get(3)
    if not isinstance(plain, int) or not isinstance(packed, int) or min(plain, packed) < 0:
        return "there is no page header"
    if plain > extent.plain or reader.position + packed > extent.packed:
        return f"a page of {packed:,} bytes, {plain:,} unpacked, is beyond its chunk"
    return ""
