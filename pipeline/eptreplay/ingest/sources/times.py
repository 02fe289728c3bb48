"""When a trace begins and ends: its statistics, or else its first and last row group tell, or it is said why not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from eptreplay.ingest.native.decode import decode
from eptreplay.ingest.native.order import BLOCK_ROWS
from eptreplay.ingest.parquet.file import open_parquet
from eptreplay.ingest.trace.ranges import LAST_TIME, ColumnRange

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eptreplay.ingest.trace.guest_trace import GuestTrace, RowGroup
    from eptreplay.ingest.trace.remote_path import AnyPath


def with_ends(row_groups: Sequence[RowGroup], digests: Mapping[AnyPath, str]) -> list[RowGroup]:
    """Return the row groups of a trace, the first and the last with the range of their times.

    Where the statistics do not say it, the time column of these two is decoded.

    Args:
        row_groups: in the order of the accesses.
        digests: of the footer of each file.

    Raises:
        TraceError: a page is damaged.
    """
    found = list(row_groups)
    for end in {0, len(found) - 1} if found else ():
        if "time" not in found[end].ranges:
            found[end] = _timed(found[end], digests[found[end].file])
    return found


def why_unknown(trace: GuestTrace) -> str:
    """Return why it is unknown when a trace begins or ends, for an error; empty where both are known."""
    if not trace.row_groups:
        return "it has no rows"
    ends = (("first", trace.row_groups[0], trace.first_time), ("last", trace.row_groups[-1], trace.last_time))
    for which, group, time in ends:
        known = group.ranges.get("time")
        if known is None:
            return f"all times of its {which} row group are null"
        if time is None:
            return f"its {which} row group has times up to {known.high}, later than {LAST_TIME} (2^63 - 1)"
    return ""


def _timed(group: RowGroup, digest: str) -> RowGroup:
    """Return a row group with the range of its times, as statistics would say it; without one if all are null."""
    low, high = 2**64, -1
    nulls = group.nulls
    with open_parquet(group.file, digest) as file:
        for piece in decode(file, group, ("time",), BLOCK_ROWS):
            time = piece.known("time")
            if "time" in piece.nulls:
                nulls |= {"time"}
            if len(time):
                low, high = min(low, int(time.min())), max(high, int(time.max()))
    known = {"time": ColumnRange(low, high)} if low <= high else {}
    return replace(group, ranges={**group.ranges, **known}, nulls=nulls)
