"""The books of the interval that closed last, in one array: one call and one copy at the end of an interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.compiled import entry_point
from eptreplay.model.state.state import Int, State, world
from eptreplay.model.statistics.intervals import HISTORIES, KINDS, TOUCHED_AT_ALL, Books

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEAT_COLUMNS = KINDS + 1
STRETCHES = HISTORIES  # index of the number of stretches, after those of the histories


def room_for_interval(books: Books) -> NDArray[np.int32]:
    """Return an array that the books of any interval fit into."""
    histories = 2 * HISTORIES * books.returns.shape[2]
    return np.empty(histories + (1 + HEAT_COLUMNS) * books.heat.shape[1] + len(books.first_writes), np.int32)


@entry_point
def pack_interval(
    states: State, books: Books, guest: Int, packed: NDArray[np.int32], counts: NDArray[np.int64]
) -> Int:
    """Write what the books say of a guest's interval that closed last, and return how many numbers that is.

    Args:
        states: the worlds.
        books: of all guests.
        guest: which one.
        packed: shape [room_for_interval]: for each history `before`, 1 + the intervals that pages came up in the time before, and
            how many pages for each; numbers of the stretches of addresses that were touched; their rows of Books.heat;
            Books.first_writes of its vCPUs.
        counts: shape [HISTORIES + 1]: intervals before, of each history, and stretches.
    """
    end: Int = 0
    for history in range(HISTORIES):
        count = np.int64(books.returned_count[guest, history])
        for i in range(count):
            before = books.returned[guest, history, i]
            packed[end + i] = before
            packed[end + count + i] = books.returns[guest, history, before]
        counts[history] = count
        end += 2 * count
    touched: Int = 0
    for stretch in range(books.heat.shape[1]):
        if books.heat[guest, stretch, TOUCHED_AT_ALL] != 0:
            packed[end + touched] = stretch
            touched += 1
    counts[STRETCHES] = touched
    heat = end + touched
    for i in range(touched):
        for column in range(HEAT_COLUMNS):
            packed[heat + HEAT_COLUMNS * i + column] = books.heat[guest, packed[end + i], column]
    end = heat + HEAT_COLUMNS * touched
    known = world(states, 0).guests[guest]
    for vcpu in range(known.vcpus):
        packed[end + vcpu] = books.first_writes[known.first_vcpu + vcpu]
    return end + known.vcpus
