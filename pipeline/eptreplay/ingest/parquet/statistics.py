"""What the footer says of the values of a row group."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from eptreplay.errors import TraceError
from eptreplay.ingest.trace.ranges import ColumnRange

if TYPE_CHECKING:
    from eptreplay.ingest.parquet.footer import Group
    from eptreplay.ingest.trace.remote_path import AnyPath


class GroupStatistics(NamedTuple):
    """What a footer says of one row group.

    Args:
        ranges: of every integer column that has one.
        nulls: columns that hold nulls.
        guest: the value of the `guest` column; None if there is no such column.
        null_counts: nulls of every column for which the footer says.
    """

    ranges: dict[str, ColumnRange]
    nulls: frozenset[str]
    guest: str | None
    null_counts: dict[str, int]


def group_statistics(path: AnyPath, index: int, group: Group) -> GroupStatistics:
    """Collect the statistics of a row group.

    Args:
        path: the file, for messages.
        index: number of the row group in it.
        group: what the footer says.

    Raises:
        TraceError: the row group has rows of several guests, or does not say of which.
    """
    ranges: dict[str, ColumnRange] = {}
    nulls: set[str] = set()
    guest: str | None = None
    for name, chunk in group.chunks.items():
        if chunk.nulls:
            nulls.add(name)
        low, high = chunk.low, chunk.high
        if name == "guest":
            guest = _one_guest(path, index, low, high, name in nulls)
        # Statistics that contradict themselves are worth nothing: the column is decoded instead.
        elif isinstance(low, int) and isinstance(high, int) and low <= high:
            ranges[name] = ColumnRange(low, high)
    null_counts = {name: chunk.nulls for name, chunk in group.chunks.items() if chunk.nulls is not None}
    return GroupStatistics(ranges, frozenset(nulls), guest, null_counts)


def _one_guest(path: AnyPath, index: int, low: object, high: object, nulls: bool) -> str:
    if not isinstance(low, str) or low != high or nulls:
        found = (
            "no statistics"
            if low is None
            else "nulls"
            if nulls
            else f"rows of '{low!s:.60}' to '{high!s:.60}'"
        )
        raise TraceError(
            str(path),
            f"this row group has {found}",
            column="guest",
            row_group=index,
            expected="all rows of a row group from one guest, and statistics that say so",
            advice="sort the rows by guest and start a row group with each, or write a file for each guest",
        )
    return low
