"""Accesses to where a guest has no memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.ingest.trace.schema import OP_MAX, PAGE_SHIFT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.ingest.native.reader import Batch


class Outside:
    """Counts of accesses whose first byte lies outside the memory of a guest.

    Args:
        ranges: half-open ranges of page numbers that are memory, ascending.

    Attributes:
        rows: rows that are such accesses.
        accesses: accesses that these rows stand for.
        all_accesses: accesses of all rows that were looked at.
        lowest, highest: the lowest and the highest of their byte addresses; meaningless while there are none.
    """

    def __init__(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._bounds = np.array(ranges, np.uint64).reshape(-1) << np.uint64(PAGE_SHIFT)
        self.rows = self.accesses = self.all_accesses = self.highest = 0
        self.lowest = 1 << 64

    def add(self, batch: Batch) -> None:
        """Count in the rows of a batch."""
        access = batch.op <= OP_MAX
        # An address in memory lies behind an odd number of bounds: one that begins a range is the last before it.
        behind = np.searchsorted(self._bounds, batch.gpa, side="right")
        outside = (behind % 2 == 0) & access
        rows = int(np.count_nonzero(outside))
        self.all_accesses += _accesses(batch, access)
        if rows:
            gpa = batch.gpa[outside]
            self.rows += rows
            self.accesses += _accesses(batch, outside)
            self.lowest = min(self.lowest, int(gpa.min()))
            self.highest = max(self.highest, int(gpa.max()))


def _accesses(batch: Batch, mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int:
    counts = batch.count
    return int(np.count_nonzero(mask)) if counts is None else int(counts[mask].sum(dtype=np.uint64))
