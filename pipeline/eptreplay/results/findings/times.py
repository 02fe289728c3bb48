"""How long the trace of a guest and its intervals are."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eptreplay.units import nanoseconds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eptreplay.replay.found.guest import GuestResult


class Lifetime(NamedTuple):
    """Intervals [begin, end) of a guest's own trace: before and after it nothing is known of the guest."""

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
        """Take the bounds of the intervals, and where in them the guest's own trace lies."""
        trace = result.trace
        self.life = Lifetime.of(result)
        bounds = [result.interval_start, *(snapshot.time for snapshot in result.snapshots)]
        known = [bound for bound in bounds if bound is not None]
        unit = nanoseconds(trace.time_unit)
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
            lengths = np.diff(np.array(known, np.int64)).astype(np.float64) * float(unit) / 1e9
            self.intervals = lengths[self.life.begin : self.life.end]

    def of_intervals(self, intervals: int) -> Fraction | None:
        """Return how long a number of intervals is."""
        return None if self.span is None else self._whole * intervals / self._count

    def seconds(self, intervals: int) -> float | None:
        """Return how long a number of intervals is, at most as long as the trace."""
        length = self.of_intervals(intervals)
        return None if length is None or self.span is None else float(min(length, self.span))

    def idle(self, age: int) -> float | None:
        """Return the least time that a page was idle at the end of the trace if it was last touched `age` intervals before the last one."""
        until = self.of_intervals(self.life.end - age)
        return None if until is None else float(max(Fraction(0), self._end - until))
