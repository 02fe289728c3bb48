"""The row scan: one pass over the rows of a batch for all that the rules of rows (rows.py) and replays need to know of them.

Compiled, since every row of every trace comes by here, and in pieces that stay in the processor's first cache while
several questions are asked of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.compiled import entry_point, kernel
from eptreplay.ingest.native.plain_scan import Extent, RowScan
from eptreplay.ingest.trace.schema import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

PIECE_ROWS = 4096
IN_PAGE = np.uint64(PAGE_SIZE - 1)
PAGE = np.uint64(PAGE_SIZE)
TOP_BIT = 63
MOST = np.uint64(2**64 - 1)
MOST_OP = np.uint8(255)

NOTHING: dict[str, NDArray[Any]] = {
    "gpa": np.zeros(0, np.uint64),
    "op": np.zeros(0, np.uint8),
    "size": np.zeros(0, np.uint8),
    "time": np.zeros(0, np.uint64),
}
"""What stands for a column that is missing."""

for _array in NOTHING.values():
    _array.flags.writeable = False  # like views of Arrow buffers, so that one compilation serves both


def scan_rows(columns: Mapping[str, NDArray[np.unsignedinteger]], last_time: int) -> RowScan:
    """Look at all rows.

    Args:
        columns: decoded columns by name, each of shape (n,), n > 0; any of them may be missing.
        last_time: time of the row before the first.
    """
    gpa, op, size, time = (columns.get(name, nothing) for name, nothing in NOTHING.items())
    low_gpa, high_gpa, low_op, high_op, high_size, crossing, time_bits = scan_columns(gpa, op, size, time)
    disordered = bool(time_bits >> TOP_BIT) or (len(time) != 0 and int(time[0]) < last_time)
    return RowScan(
        Extent(int(low_gpa), int(high_gpa)),
        Extent(int(low_op), int(high_op)),
        int(high_size),
        bool(crossing != 0),
        disordered,
    )


@entry_point
def scan_columns(
    gpa: NDArray[np.uint64],
    op: NDArray[np.uint8],
    size: NDArray[np.uint8 | np.uint16],
    time: NDArray[np.uint64],
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64, np.uint64, np.uint64, np.uint64]:
    """Return lowest and highest address, lowest and highest code, most bytes, rows that cross a page, and _time_bits.

    Args:
        gpa: shape (n,), byte addresses; this and the others may be missing, of shape (0,).
        op: shape (n,), codes.
        size: shape (n,), bytes.
        time: shape (n,).
    """
    low_gpa, high_gpa, high_size = MOST, np.uint64(0), np.uint64(0)
    low_op, high_op = np.uint64(MOST_OP), np.uint64(0)
    crossing = np.uint64(0)
    time_bits = _time_bits(time)  # first, so that what a replay needs next stays in the cache
    for begin in range(0, max(len(gpa), len(op), len(size)), PIECE_ROWS):
        end = begin + PIECE_ROWS
        low_gpa = min(low_gpa, _lowest(gpa[begin:end]))
        high_gpa = max(high_gpa, np.uint64(_highest(gpa[begin:end])))
        low_op = min(low_op, np.uint64(_lowest_op(op[begin:end])))
        high_op = max(high_op, np.uint64(_highest(op[begin:end])))
        high_size = max(high_size, np.uint64(_highest(size[begin:end])))
        if len(gpa) == len(size):
            crossing += _crossing(gpa[begin:end], size[begin:end])
    return low_gpa, high_gpa, low_op, high_op, high_size, crossing, time_bits


@kernel
def _lowest(values: NDArray[np.uint64]) -> np.uint64:
    """Return the lowest value, the most that there can be if there is none."""
    lowest = MOST
    for i in range(len(values)):
        lowest = min(lowest, values[i])
    return lowest


@kernel
def _lowest_op(values: NDArray[np.uint8]) -> np.uint8:
    """Return the lowest code, the most that there can be if there is none."""
    lowest = MOST_OP
    for i in range(len(values)):
        lowest = min(lowest, values[i])
    return lowest


@kernel
def _highest(values: NDArray[np.uint64 | np.uint8 | np.uint16]) -> np.uint64 | np.uint8 | np.uint16:
    """Return the highest value, 0 if there is none."""
    highest = values.dtype.type(0)
    for i in range(len(values)):
        highest = max(highest, values[i])
    return highest


@kernel
def _crossing(gpa: NDArray[np.uint64], size: NDArray[np.uint8 | np.uint16]) -> np.uint64:
    """Return how many rows go on in the next page."""
    crossing = np.uint64(0)
    for i in range(len(gpa)):
        crossing += np.uint64((gpa[i] & IN_PAGE) + np.uint64(size[i]) > PAGE)
    return crossing


@kernel
def _time_bits(time: NDArray[np.uint64]) -> np.uint64:
    """Return the bits that are set in any time, or in any difference to the one before.

    The highest is not if times ascend, and all lie in the lower half of what 64 bits can hold: half the work of comparing.
    """
    bits = time[0] if len(time) != 0 else np.uint64(0)
    for i in range(len(time) - 1):
        bits |= time[i + 1] | (time[i + 1] - time[i])
    return bits
