"""What all findings begin with: the lengths of intervals, histories, and rows as columns."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eptreplay.analysis.history import NOTHING_GONE, Gone, History
from eptreplay.model.books import PAGES_TOUCHED, PAGES_WRITTEN, REGIONS_WRITTEN
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


class Lifetime(NamedTuple):
    """Intervals [begin, end) that a guest's own trace reaches into: of what is before and after, nothing is known."""

    begin: int
    end: int

    @classmethod
    def of(cls, result: GuestResult) -> Lifetime:
        """Return where the first and the last row of a guest are; all intervals where it has none."""
        rows = np.array([snapshot.rows for snapshot in result.snapshots])
        if rows[-1] == 0:
            return cls(0, len(rows))
        return cls(int(np.argmax(rows > 0)), int(np.argmax(rows == rows[-1])) + 1)


class Times:
    """Lengths of a guest's trace and its intervals, in seconds; None where they are not known, or nothing passes."""

    def __init__(self, result: GuestResult) -> None:
        """Look at where the intervals were cut, and where in them the guest's own trace lies."""
        trace = result.trace
        self.life = Lifetime.of(result)
        bounds = [result.interval_start, *(snapshot.time for snapshot in result.snapshots)]
        known = [bound for bound in bounds if bound is not None]
        unit = NANOSECONDS.get(trace.time_unit)
        self.span: Fraction | None = None
        """From the guest's first row to its last."""
        self.intervals: NDArray[np.float64] | None = None
        """Shape [intervals of its life]."""
        self._whole: Fraction = Fraction(0)
        self._end: Fraction = Fraction(0)
        self._count = len(result.snapshots)
        first, last = trace.first_time, trace.last_time
        if unit is None or len(known) < len(bounds) or known[-1] <= known[0]:
            return
        if first is not None and last is not None and last > first:
            self._whole = Fraction((known[-1] - known[0]) * unit, 10**9)
            self._end = Fraction((last - known[0]) * unit, 10**9)
            self.span = Fraction((last - first) * unit, 10**9)
            lengths = np.diff(np.array(known, np.int64)).astype(np.float64) * unit / 1e9
            self.intervals = lengths[self.life.begin : self.life.end]

    def of_intervals(self, intervals: int) -> Fraction | None:
        """Return how long a number of intervals is."""
        return None if self.span is None else self._whole * intervals / self._count

    def seconds(self, intervals: int) -> float | None:
        """Return how long a number of intervals is, at most as long as the trace."""
        length = self.of_intervals(intervals)
        return None if length is None or self.span is None else float(min(length, self.span))

    def idle(self, age: int) -> float | None:
        """Return how long at least a page was idle at the end of the trace, last touched so many intervals before its last."""
        until = self.of_intervals(self.life.end - age)
        return None if until is None else float(max(Fraction(0), self._end - until))


def history(result: GuestResult, number: int) -> History:
    """Return one of the histories in the books of a replay: PAGES_TOUCHED, PAGES_WRITTEN or REGIONS_WRITTEN."""
    returns = [snapshot.books.returns_of(number) for snapshot in result.snapshots]
    first, last, weight = _lives(result, number)
    return History(
        intervals=len(returns),
        at=np.repeat(np.arange(len(returns)), [len(one.before) for one in returns]),
        before=joined([one.before for one in returns]) - 1,
        pages=joined([one.pages for one in returns]),
        first=first.astype(np.int64) - 1,
        last=last.astype(np.int64) - 1,
        weight=weight.astype(np.int64),
        gone=_gone(result, number),
    )


def _gone(result: GuestResult, number: int) -> Gone:
    """Return when pages of a history were gone: what was touched stays touched, what was written is owed no more."""
    given_back = result.given_back
    if given_back is None or number == PAGES_TOUCHED:
        return NOTHING_GONE
    return given_back.regions if number == REGIONS_WRITTEN else given_back.pages


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
