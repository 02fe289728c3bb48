"""What all findings begin with: the lengths of intervals, histories, and rows as columns."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.analysis.history import History
from eptreplay.model.books import PAGES_WRITTEN, REGIONS_WRITTEN
from eptreplay.units import NANOSECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from eptreplay.guest_result import GuestResult
    from eptreplay.report.columns import Table

Columns = dict[str, Any]

PAGE_BYTES = 4096
MOST_INTERVALS = 1024
"""Where memory grows with the square of the intervals, more are joined."""


def columns_of(table: Table, result: GuestResult, rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Return rows of a table about one guest as columns."""
    columns = {name: [row[name] for row in rows] for name in table.names() if name != "guest"}
    return {"guest": [result.trace.name] * len(rows)} | columns


class Times:
    """Lengths of a trace and its intervals, in seconds; None where they are not known, or nothing passes."""

    def __init__(self, result: GuestResult) -> None:
        """Look at where the intervals were cut."""
        bounds = [result.interval_start, *(snapshot.time for snapshot in result.snapshots)]
        known = [bound for bound in bounds if bound is not None]
        unit = NANOSECONDS.get(result.trace.time_unit)
        self.span: Fraction | None = None
        self.intervals: NDArray[np.float64] | None = None
        if unit is not None and len(known) == len(bounds) and known[-1] > known[0]:
            self.span = Fraction((known[-1] - known[0]) * unit, 10**9)
            self.intervals = np.diff(np.array(known, np.int64)).astype(np.float64) * unit / 1e9
        self._count = len(result.snapshots)

    def seconds(self, intervals: int) -> float | None:
        """Return how long a number of intervals is."""
        return None if self.span is None else float(self.span * intervals / self._count)


def history(result: GuestResult, number: int) -> History:
    """Return one of the histories in the books of a replay: PAGES_TOUCHED, PAGES_WRITTEN or REGIONS_WRITTEN."""
    returns = [snapshot.books.returns[number] for snapshot in result.snapshots]
    first, last, weight = _lives(result, number)
    return History(
        intervals=len(returns),
        at=np.repeat(np.arange(len(returns)), [len(one.before) for one in returns]),
        before=joined([one.before for one in returns]) - 1,
        pages=joined([one.pages for one in returns]),
        first=first.astype(np.int64) - 1,
        last=last.astype(np.int64) - 1,
        weight=weight.astype(np.int64),
    )


def _lives(result: GuestResult, number: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return 1 + the first and last interval of everything in a history, and how many pages it counts for."""
    if number == REGIONS_WRITTEN:
        regions = result.regions
        return regions.first_write, regions.last_write, regions.pages
    if number == PAGES_WRITTEN:
        pages = result.touches[result.touches.last_write != 0]
        return pages.first_write, pages.last_write, np.ones(len(pages))
    ends = np.array([snapshot.rows for snapshot in result.snapshots])
    first = np.searchsorted(ends, result.first_row, side="right") + 1
    return first, result.touches.last_touch, np.ones(len(first))


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    """Return arrays one after the other, as 64-bit integers."""
    return np.concatenate([*parts, np.zeros(0)]).astype(np.int64)
