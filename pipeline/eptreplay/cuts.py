"""Where along a trace the replay has to stop between two rows, and what for.

A batch of rows is replayed in pieces: up to the next sweep, the next end of an interval, the next
checkpoint.  Cuts by rows are known beforehand; cuts by time need the batch's time column, which is decoded
only for row groups that such a cut falls into (`timed_row_groups`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from eptreplay.ingest.dataset import GuestTrace


class Rows(Protocol):
    """The part of a batch of rows that matters here."""

    @property
    def rows(self) -> int:
        """How many there are."""

    @property
    def time(self) -> NDArray[np.uint64] | None:
        """When they happen, ascending; None where that is not decoded."""


class Action(IntEnum):
    """What is done at a cut, in the order in which it is done when cuts fall together."""

    GUEST_END = -1
    SWEEP = 0
    SCAN = 1
    CHECKPOINT = 2
    CLOSE_INTERVAL = 3


class Cut(NamedTuple):
    """Do `action` when `rows` rows of the batch have been replayed; `time` is the cut's own, None for a cut by rows."""

    rows: int
    action: Action
    time: int | None


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Cuts for one action: after every `rows` rows, or at every one of `times`, ascending, in the trace's unit.

    A cut at time t comes before the first row of time t or later.
    """

    action: Action
    rows: int | None = None
    times: Sequence[int] = ()


class Cutter:
    """Yields the cuts of one batch after the other; keeps track of what is still to come."""

    def __init__(self, rhythms: Sequence[Rhythm]) -> None:
        self._by_rows = [rhythm for rhythm in rhythms if rhythm.rows is not None]
        self._by_time = [(rhythm, iter(rhythm.times)) for rhythm in rhythms if rhythm.rows is None]
        self._due = [(rhythm, next(times, None)) for rhythm, times in self._by_time]

    def cuts(self, batch: Rows, replayed: int, time_min: int | None) -> list[Cut]:
        """Return the cuts that fall into a batch, in order.

        Args:
            batch: the rows about to be replayed.
            replayed: rows of the trace that were replayed before it.
            time_min: earliest time in the batch's row group, for a batch without its time column.
        """
        found = [
            Cut(after - replayed, rhythm.action, None)
            for rhythm in self._by_rows
            for after in _multiples(rhythm.rows or 1, replayed, replayed + batch.rows)
        ]
        for number, (rhythm, times) in enumerate(self._by_time):
            due = self._due[number][1]
            last = _last_time(batch, time_min)
            while due is not None and last is not None and due <= last:
                found.append(Cut(_rows_before(batch, due), rhythm.action, due))
                due = next(times, None)
            self._due[number] = (rhythm, due)
        return sorted(found, key=lambda cut: (cut.rows, cut.action))


def _multiples(step: int, above: int, up_to: int) -> Iterator[int]:
    """Yield the multiples of `step` that are greater than `above` and not greater than `up_to`."""
    yield from range(above - above % step + step, up_to + 1, step)


def _last_time(batch: Rows, time_min: int | None) -> int | None:
    """Return the latest time that is known to be reached in a batch."""
    return int(batch.time[-1]) if batch.time is not None else time_min


def _rows_before(batch: Rows, time: int) -> int:
    """Return how many rows of a batch are earlier than `time`; none when its times are not decoded."""
    return int(batch.time.searchsorted(np.uint64(time))) if batch.time is not None else 0


def timed_row_groups(trace: GuestTrace, rhythms: Sequence[Rhythm]) -> frozenset[int]:
    """Return the row groups whose time column is needed: those that a cut by time falls into."""
    times = np.array(sorted(time for rhythm in rhythms for time in rhythm.times), np.uint64)
    needed = set()
    for ordinal, group in enumerate(trace.row_groups):
        if len(times) == 0:
            break
        if group.time_min is None or group.time_max is None:
            needed.add(ordinal)
            continue
        after = np.searchsorted(times, np.uint64(group.time_min), side="right")
        if after < len(times) and int(times[after]) <= group.time_max:
            needed.add(ordinal)
    return frozenset(needed)
