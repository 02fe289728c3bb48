"""Schedules: where along a trace the replay has to stop between two rows, and what for.

A batch of rows is replayed in pieces: up to the next sweep, the next end of an interval, the next checkpoint.  Stops by rows are
known beforehand.  Stops by time need the time column of the batch, which is decoded only for row groups in which there is such
a stop (timed_row_groups).

Stops are made one by one, as the replay comes to them: with a step of a nanosecond there would be more of them than fit into
memory.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import IntEnum
from heapq import merge
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.replay.rows.batch import RowBatch


class Action(IntEnum):
    """What is done at a stop; where stops coincide, in this order."""

    GUEST_END = -1
    SWEEP = 0
    SCAN = 1
    CHECKPOINT = 2
    CLOSE_INTERVAL = 3


class Stop(NamedTuple):
    """Do `action` when `rows` rows of the batch have been replayed; `time` is that of the stop, None for a stop by rows."""

    rows: int
    action: Action
    time: int | None


class Times(Protocol):
    """Times in ascending order, in the unit of a trace; they need not be in memory."""

    def __iter__(self) -> Iterator[int]:
        """Yield all of them."""

    def first_after(self, time: int) -> int | None:
        """Return the first one later than `time`; None if there is none."""


@dataclass(frozen=True, slots=True)
class EveryStep:
    """Times every `step` after `begin`, which is not one of them, up to `end`, which may be one."""

    begin: int
    step: int
    end: int

    def __iter__(self) -> Iterator[int]:
        """Yield all of them."""
        return iter(range(self.begin + self.step, self.end + 1, self.step))

    def first_after(self, time: int) -> int | None:
        """Return the first one later than `time`; None if there is none."""
        found = self.begin + self.step * (max(0, time - self.begin) // self.step + 1)
        return found if found <= self.end else None

    def number(self, ordinal: int) -> int:
        """Return the time of this number, counted from 1."""
        return self.begin + self.step * ordinal

    def count(self) -> int:
        """Return how many there are."""
        return max(0, self.end - self.begin) // self.step


@dataclass(frozen=True, slots=True)
class EqualParts:
    """Times that divide the time from `begin` to `end` into equal parts, rounded up; `begin` and `end` are not among them."""

    begin: int
    end: int
    parts: int

    def __iter__(self) -> Iterator[int]:
        """Yield all of them."""
        return map(self._at, range(1, self.parts))

    def first_after(self, time: int) -> int | None:
        """Return the first one later than `time`; None if there is none."""
        ordinals = range(1, self.parts)
        at = bisect_right(ordinals, time, key=self._at)
        return self._at(ordinals[at]) if at < len(ordinals) else None

    def _at(self, ordinal: int) -> int:
        return self.begin + -(-(self.end - self.begin) * ordinal // self.parts)


@dataclass(frozen=True, slots=True)
class GivenTimes:
    """A few times, in ascending order."""

    times: tuple[int, ...]

    def __iter__(self) -> Iterator[int]:
        """Yield all of them."""
        return iter(self.times)

    def first_after(self, time: int) -> int | None:
        """Return the first one later than `time`; None if there is none."""
        at = bisect_right(self.times, time)
        return self.times[at] if at < len(self.times) else None


@dataclass(frozen=True, slots=True)
class Schedule:
    """When one action is due: after every `rows` rows, or at each of `times`, in the unit of the trace.

    A stop at time t is before the first row of time t or later.
    """

    action: Action
    rows: int | None = None
    times: Times | None = None


class Scheduler:
    """Yields the stops of several schedules, batch by batch."""

    def __init__(self, schedules: Sequence[Schedule], due: Sequence[int | None] | None = None) -> None:
        """Begin before the first stop, or where `due` are the next stops by time: what `due` of another scheduler was."""
        self._by_rows = [schedule for schedule in schedules if schedule.rows is not None]
        self._by_time = [
            (schedule.action, iter(schedule.times)) for schedule in schedules if schedule.times is not None
        ]
        self._due = [next(times, None) for _, times in self._by_time]
        for number, time in enumerate(due or ()):
            while self._due[number] != time:
                self._due[number] = next(self._by_time[number][1], None)

    @property
    def due(self) -> tuple[int | None, ...]:
        """The next stop of every schedule by time; None where there is none."""
        return tuple(self._due)

    def stops(self, batch: RowBatch, replayed: int) -> Iterator[Stop]:
        """Yield the stops in a batch, in order; all of them have to be taken before those of the next batch.

        Args:
            batch: the rows about to be replayed.
            replayed: rows of the trace that were replayed before it.
        """
        by_rows = [_stops_by_rows(schedule, replayed, batch.length) for schedule in self._by_rows]
        by_time = [self._stops_by_time(number, batch) for number in range(len(self._by_time))]
        return merge(*by_rows, *by_time, key=lambda stop: (stop.rows, stop.action))

    def _stops_by_time(self, number: int, batch: RowBatch) -> Iterator[Stop]:
        """Yield the stops in a batch of one schedule by time."""
        action, times = self._by_time[number]
        last = _last_time(batch)
        rows, until = 0, None  # stops up to `until` come after `rows` rows
        while (due := self._due[number]) is not None and last is not None and due <= last:
            if until is None or due > until:
                rows = _rows_before(batch, due)
                until = None if batch.time is None else int(batch.time[rows])
            self._due[number] = next(times, None)
            yield Stop(rows, action, due)


def _stops_by_rows(schedule: Schedule, replayed: int, rows: int) -> Iterator[Stop]:
    """Yield the stops of a schedule by rows in the next `rows` rows."""
    for after in _multiples(schedule.rows or 1, replayed, replayed + rows):
        yield Stop(after - replayed, schedule.action, None)


def _multiples(step: int, above: int, up_to: int) -> Iterator[int]:
    """Yield the multiples of `step` that are greater than `above` and not greater than `up_to`."""
    yield from range(above - above % step + step, up_to + 1, step)


def _last_time(batch: RowBatch) -> int | None:
    """Return the latest time that is known to be reached in a batch, None if none is known."""
    return int(batch.time[-1]) if batch.time is not None else batch.time_min


def _rows_before(batch: RowBatch, time: int) -> int:
    """Return how many rows of a batch are earlier than `time`; none when its times are not decoded."""
    return int(batch.time.searchsorted(np.uint64(time))) if batch.time is not None else 0


def timed_row_groups(trace: GuestTrace, schedules: Sequence[Schedule]) -> frozenset[int]:
    """Return the row groups whose time column is needed: those in which there is a stop by time."""
    all_times = [
        times for schedule in schedules if (times := schedule.times) and next(iter(times), None) is not None
    ]
    needed = set()
    for ordinal, group in enumerate(trace.row_groups):
        for times in all_times:
            if group.time_min is None or group.time_max is None:
                needed.add(ordinal)
                continue
            after = times.first_after(group.time_min)
            if after is not None and after <= group.time_max:
                needed.add(ordinal)
    return frozenset(needed)
