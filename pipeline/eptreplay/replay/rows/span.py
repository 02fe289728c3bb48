"""Spans: which part of a clock a replay covers, and when in it something is due."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from eptreplay.errors import TraceError
from eptreplay.ingest.sources.times import why_unknown
from eptreplay.replay.rows.schedule import Action, EqualParts, EveryStep, Schedule
from eptreplay.request.choices import Policy

if TYPE_CHECKING:
    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.request.options import Options
    from eptreplay.units import Every


COARSE = {"s"}
"""Units in which even a long trace advances by a few."""


class Span(NamedTuple):
    """Which part of a clock a replay covers.

    Args:
        file: a trace, for messages.
        rows: rows in all.
        begin, end: first and last time; None if unknown.
        unit: unit of time.
        why_unknown: why a time is unknown, in words; empty where none is.
    """

    file: str
    rows: int
    begin: int | None
    end: int | None
    unit: str
    why_unknown: str = ""

    @classmethod
    def of(cls, trace: GuestTrace) -> Span:
        """Return which part of its own clock a trace covers."""
        file = str(trace.files[0]) if trace.files else trace.name
        return cls(file, trace.rows, trace.first_time, trace.last_time, trace.time_unit, why_unknown(trace))

    def schedule(self, action: Action, every: Every) -> Schedule:
        """Return the schedule of an action that is due every so often.

        Raises:
            TraceError: that is a time, and times are unknown.
            UsageError: that is a time, and does not fit the unit.
        """
        if not every.timed:
            return Schedule(action, rows=every.amount)
        if self.begin is None or self.end is None:
            raise TraceError(
                self.file,
                f"{self.why_unknown}, so it is unknown over what time sweeps or scans are due",
                column="time",
                advice="correct the trace, or give their distance in rows, as in 1M",
            )
        return Schedule(action, times=EveryStep(self.begin, every.in_units_of(self.unit), self.end))

    def fits(self, every: Every) -> bool:
        """Return whether `schedule` can make a schedule of that."""
        times_known = self.begin is not None and self.end is not None
        return not every.timed or (times_known and every.fits(self.unit))

    def intervals(self, wanted: int) -> int | None:
        """Return how many intervals of time it is divided into: fewer than wanted where a clock in whole seconds is too coarse.

        Returns:
            How many; None if intervals have to be of rows.
        """
        ticks = 0 if self.begin is None or self.end is None else self.end - self.begin
        if ticks >= wanted:
            return wanted
        return ticks if ticks > 0 and self.unit in COARSE else None

    def stops(self, schedule: Schedule) -> int:
        """Return how many stops a schedule that `schedule` returned has."""
        if schedule.rows is not None:
            return self.rows // schedule.rows
        return schedule.times.count() if isinstance(schedule.times, EveryStep) else 0


def sweep_schedules(span: Span, options: Options) -> list[Schedule]:
    """Return the schedule of sweeps, if there are any."""
    if span.rows == 0 or options.policy is Policy.PLAIN or options.every is None:
        return []
    return [span.schedule(Action.SWEEP, options.every)]


def interval_schedules(span: Span, options: Options) -> list[Schedule]:
    """Return the schedule of the ends of intervals, if there are several."""
    if span.rows == 0 or options.intervals <= 1:
        return []
    parts = span.intervals(options.intervals)
    if span.begin is None or span.end is None or parts is None:
        return [Schedule(Action.CLOSE_INTERVAL, rows=max(1, -(-span.rows // options.intervals)))]
    return [Schedule(Action.CLOSE_INTERVAL, times=EqualParts(span.begin, span.end, parts))]
