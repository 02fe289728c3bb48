"""What a file's page index says of the pages of a column: where they begin, and their smallest and largest values."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from eptreplay.errors import TraceError
from eptreplay.ingest.parquet.thrift import CompactReader, Struct, ThriftError
from eptreplay.ingest.trace.ranges import ColumnRange

if TYPE_CHECKING:
    from eptreplay.ingest.trace.extents import Extent, IndexPlaces, ReadAt
    from eptreplay.ingest.trace.guest_trace import RowGroup

_MOST_BYTES = 64 << 20
"""An index of a row group that is larger has more than a million pages."""

_TRUE = 1


class PageClaims(NamedTuple):
    """Pages of a column of one row group, as its index says.

    Args:
        first_rows: number of each page's first row in the row group, ascending from 0.
        ranges: smallest and largest value of each; None for a page of nulls.
        nulls: nulls in each; None where the index does not say.
    """

    first_rows: tuple[int, ...]
    ranges: tuple[ColumnRange | None, ...]
    nulls: tuple[int, ...] | None


def read_page_index(read_at: ReadAt, group: RowGroup, column: str) -> PageClaims | None:
    """Read the page index of a column.

    Args:
        read_at: reads the open file.
        group: the row group.
        column: the column, of integers.

    Returns:
        What it says; None if there is none.

    Raises:
        TraceError: it is damaged, or contradicts the footer.
    """
    places = group.indexes.get(column)
    if places is None:
        return None
    try:
        return _claims(
            _struct(read_at, places, 0), _struct(read_at, places, 2), group.extents[column], group.rows
        )
    except (ThriftError, OSError) as error:
        raise TraceError(
            str(group.file),
            f"its page index is damaged ({error})",
            column=column,
            row_group=group.index,
            advice="copy or capture the trace again",
        ) from error


def _struct(read_at: ReadAt, places: IndexPlaces, which: int) -> Struct:
    start, length = places[which : which + 2]
    if start < 0 or not 0 < length <= _MOST_BYTES:
        raise ThriftError(f"{length:,} bytes at {start:,}")
    return CompactReader(read_at(length, start)).struct()


def _claims(offsets: Struct, values: Struct, extent: Extent, rows: int) -> PageClaims:
    pages = [_numbers(page) for page in _list(offsets, 1)]
    first_rows = tuple(first for _, _, first in pages)
    ends = [start + size for start, size, _ in pages]
    if not pages or first_rows[0] != 0 or any(b <= a for a, b in pairwise(first_rows)):
        raise ThriftError("the rows of its pages are not in order")
    if first_rows[-1] >= rows or pages[0][0] < extent.start or ends[-1] != extent.start + extent.packed:
        raise ThriftError("it has other pages than the footer says")
    if any(end != following[0] for end, following in zip(ends, pages[1:], strict=False)):
        raise ThriftError("its pages overlap, or leave a gap")
    empty, low, high = (_list(values, field) for field in (1, 2, 3))
    nulls = _list(values, 5) if 5 in values else None
    if not len(pages) == len(empty) == len(low) == len(high) or (
        nulls is not None and len(nulls) != len(pages)
    ):
        raise ThriftError("its parts differ in length")
    ranges = tuple(
        None if page in {True, _TRUE} else ColumnRange(_bound(a), _bound(b))
        for page, a, b in zip(empty, low, high, strict=True)
    )
    return PageClaims(first_rows, ranges, None if nulls is None else tuple(_int(null) for null in nulls))


def _numbers(page: object) -> tuple[int, int, int]:
    if not isinstance(page, dict):
        raise ThriftError("a page has no place")
    start, size, first = (_int(page.get(field)) for field in (1, 2, 3))
    return start, size, first


def _list(struct: Struct, field: int) -> list[object]:
    value = struct.get(field)
    if not isinstance(value, list):
        raise ThriftError("a list is missing")
    return value


def _int(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ThriftError("a number is missing")
    return value


def _bound(value: object) -> int:
    if not isinstance(value, bytes) or len(value) not in {4, 8}:
        raise ThriftError("a value is missing")
    return int.from_bytes(value, "little")
