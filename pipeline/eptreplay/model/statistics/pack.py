"""The statistics of the interval that closed last, in one array: one call and one copy at the end of an interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.compiled import entry_point
from eptreplay.model._numba.types import Int
from eptreplay.model.state.rows import KINDS
from eptreplay.model.state.state import State, instance
from eptreplay.model.statistics.intervals import HISTORIES, TOUCHED_AT_ALL, IntervalStatistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEAT_COLUMNS = KINDS + 1
STRETCHES = HISTORIES  # index of the number of stretches, after those of the histories


def room_for_interval(statistics: IntervalStatistics) -> NDArray[np.int32]:
    """Return an array with room for what pack_interval writes of any interval."""
    histories = 2 * HISTORIES * statistics.returns.shape[2]
    return np.empty(
        histories + (1 + HEAT_COLUMNS) * statistics.heat.shape[1] + len(statistics.first_writes), np.int32
    )


@entry_point
def pack_interval(
    states: State,
    statistics: IntervalStatistics,
    guest: Int,
    packed: NDArray[np.int32],
    counts: NDArray[np.int64],
) -> Int:
    """Write the statistics of a guest's interval that closed last to `packed`; return how many numbers they are.

    Args:
        states: the instances.
        statistics: of all guests.
        guest: number of the guest.
        packed: from room_for_interval.  One after the other: for each history, 1 + the intervals in which pages came up the
            time before, and then how many pages for each of these; the numbers of the stretches of addresses that were
            touched; their rows of IntervalStatistics.heat; IntervalStatistics.first_writes of the guest's vCPUs.
        counts: shape [HISTORIES + 1]: of each history, how many intervals; then, at STRETCHES, how many stretches.
    """
    end: Int = 0
    for history in range(HISTORIES):
        count = np.int64(statistics.returned_count[guest, history])
        for i in range(count):
            before = statistics.returned[guest, history, i]
            packed[end + i] = before
            packed[end + count + i] = statistics.returns[guest, history, before]
        counts[history] = count
        end += 2 * count
    touched: Int = 0
    for stretch in range(statistics.heat.shape[1]):
        if statistics.heat[guest, stretch, TOUCHED_AT_ALL] != 0:
            packed[end + touched] = stretch
            touched += 1
    counts[STRETCHES] = touched
    heat = end + touched
    for i in range(touched):
        for column in range(HEAT_COLUMNS):
            packed[heat + HEAT_COLUMNS * i + column] = statistics.heat[guest, packed[end + i], column]
    end = heat + HEAT_COLUMNS * touched
    known = instance(states, 0).guests[guest]
    for vcpu in range(known.vcpus):
        packed[end + vcpu] = statistics.first_writes[known.first_vcpu + vcpu]
    return end + known.vcpus
