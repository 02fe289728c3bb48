"""Accesses to guest memory that no vCPU makes, but the hypervisor or a device, entered in the interval statistics."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import entry_point
from eptreplay.model._numba.types import Int
from eptreplay.model.state.guest_pages import page_at
from eptreplay.model.state.rows import OP_WRITE
from eptreplay.model.statistics.intervals import OPEN_SHIFT, IntervalStatistics

ONE = np.uint8(1)
WRITTEN = np.uint8(1 << OP_WRITE)


@entry_point
def enter_access(
    statistics: IntervalStatistics, fast_path: NDArray[np.uint8], flat: Int, op: Int, row: Int
) -> bool:
    """Enter an access to a page of memory in the open interval; return whether it is the interval's first write of it.

    Args:
        statistics: of all guests, updated.
        fast_path: shape [guest pages + 1]: State.fast_path; the page gets its TOUCHED bit.
        flat: the page, a flat number.
        op: OP_READ or OP_WRITE.
        row: number of the row in its guest's trace.
    """
    state = fast_path[page_at(flat)]
    statistics.open[flat >> OPEN_SHIFT] = 1
    if statistics.first_row[page_at(flat)] == 0:
        statistics.first_row[page_at(flat)] = row + 1
    fast_path[page_at(flat)] = state | (ONE << np.uint8(op))
    return bool(op == OP_WRITE and state & WRITTEN == 0)
