"""Accesses to a guest's memory that no vCPU makes, entered in the books: those of the hypervisor and of devices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import entry_point
from eptreplay.model.state.state import Int
from eptreplay.model.statistics.intervals import OP_WRITE, OPEN_SHIFT, Books

ONE = np.uint8(1)
WRITTEN = np.uint8(1 << OP_WRITE)


@entry_point
def enter_access(books: Books, quiet: NDArray[np.uint8], flat: Int, op: Int, row: Int) -> bool:
    """Enter an access to a page of memory in the open interval; return whether it is the interval's first write of it.

    Args:
        books: of all guests, updated.
        quiet: shape [flat guest pages + 1]: State.quiet; the page gets its TOUCHED bit.
        flat: the page, a flat number.
        op: OP_READ or OP_WRITE.
        row: number of the row in its guest's trace.
    """
    state = quiet[flat]
    books.open[flat >> OPEN_SHIFT] = 1
    if books.first_row[flat] == 0:
        books.first_row[flat] = row + 1
    quiet[flat] = state | (ONE << np.uint8(op))
    return bool(op == OP_WRITE and state & WRITTEN == 0)
