"""What a scan of rows finds, and one in numpy: for commands that would wait longer for a compiler than they gain by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

_MOST = 2**64 - 1
_MOST_OP = 255


class Extent(NamedTuple):
    """Smallest and largest value of a column in a batch."""

    low: int
    high: int


class RowScan(NamedTuple):
    """What the scan found.

    Args:
        gpa: the lowest and the highest address; (2^64 - 1, 0) without addresses.
        op: the lowest and the highest code; (255, 0) without codes.
        size: the most bytes of an access; 0 without sizes.
        crosses: whether any row goes on in the next page; without sizes none does.
        disordered: whether any row may be earlier than the one before; without times none is.
    """

    gpa: Extent
    op: Extent
    size: int
    crosses: bool
    disordered: bool


def plain_scan(columns: Mapping[str, NDArray[np.unsignedinteger]], last_time: int) -> RowScan:
    """Look at all rows, as `row_scan.scan_rows` does, but for whether one crosses the end of a page: any may.

    Args:
        columns: decoded columns by name, each of shape (n,), n > 0; any of them may be missing.
        last_time: time of the row before the first.
    """
    time, size = columns.get("time"), columns.get("size")
    disordered = False
    if time is not None:
        late = int(time.max()) >> 63 != 0
        disordered = late or int(time[0]) < last_time or bool((time[1:] < time[:-1]).any())
    return RowScan(
        _extent(columns.get("gpa"), _MOST),
        _extent(columns.get("op"), _MOST_OP),
        0 if size is None else int(size.max()),
        size is not None,
        disordered,
    )


def _extent(values: NDArray[np.unsignedinteger] | None, most: int) -> Extent:
    return Extent(most, 0) if values is None else Extent(int(values.min()), int(values.max()))
