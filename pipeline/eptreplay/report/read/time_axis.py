"""The time axis of a page: how many steps, and in which unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from eptreplay.report.read.scales import Scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.report.read.scales import Tick

SHORTEST = 0.1
"""Length of the shortest trace whose time axis is in a unit, in that unit."""

TIME_UNITS = (
    (1, "seconds", "s"),
    (1e-3, "milliseconds", "ms"),
    (1e-6, "microseconds", "us"),
    (1e-9, "nanoseconds", "ns"),
)


MOST_STEPS = 1024
"""Steps of a time axis; a trace with more intervals is drawn with several to a step."""


class Span(NamedTuple):
    """The time axis of a page: steps of equal length from 0 to `end` in `unit`."""

    steps: int
    end: float
    unit: str
    symbol: str = ""
    """Of the unit, behind a number; empty where time is not known and intervals are counted."""
    group: int = 1
    """Intervals to a step."""

    def ticks(self) -> Sequence[Tick]:
        """Return the marks of the axis."""
        return Scale(0, self.end or 1, whole=not self.symbol).ticks(5)
