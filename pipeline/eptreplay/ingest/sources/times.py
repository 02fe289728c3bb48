"""When a trace begins and ends, where its statistics do not say: its first and last row group tell."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from eptreplay.ingest.native.decode import decode
from eptreplay.ingest.native.order import BLOCK_ROWS
from eptreplay.ingest.parquet.file import open_parquet
from eptreplay.ingest.trace.ranges import ColumnRange

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from eptreplay.ingest.trace.guest_trace import RowGroup


def with_ends(row_groups: Sequence[RowGroup], digests: Mapping[Path, str]) -> list[RowGroup]:
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


def _timed(group: RowGroup, digest: str) -> RowGroup:
    """Return a row group with the range of its times; without one if a time is null."""
    low, high = 2**64, 0
    with open_parquet(group.file, digest) as file:
        for piece in decode(file, group, ("time",), BLOCK_ROWS):
            if piece.nulls:
                return group
            time = piece.columns["time"]
            low, high = min(low, int(time.min())), max(high, int(time.max()))
    return replace(group, ranges={**group.ranges, "time": ColumnRange(low, high)})
