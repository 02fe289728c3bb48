"""The books of the interval that closed last, in one array: one call and one copy at the end of an interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.model._jit import entry_point
from eptreplay.model.books import HISTORIES, KINDS, TOUCHED_AT_ALL, Books
from eptreplay.model.state import Int

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEAT_COLUMNS = KINDS + 1
STRETCHES = HISTORIES  # index of the number of stretches, after those of the histories


def room_for_interval(books: Books) -> NDArray[np.int32]:
    """Return an array that the books of any interval fit into."""
    histories = 2 * HISTORIES * books.returns.shape[1]
    return np.empty(histories + (1 + HEAT_COLUMNS) * len(books.heat) + len(books.first_writes), np.int32)


@entry_point
def pack_interval(books: Books, packed: NDArray[np.int32], counts: NDArray[np.int64]) -> Int:
    """Write what the books say of the interval that closed last, and return how many numbers that is.

    Args:
        books: the books.
        packed: shape [room_for_interval]: for each history `before`, 1 + the intervals that pages came up in the time before, and
            how many pages for each; numbers of the stretches of addresses that were touched; their rows of Books.heat;
            Books.first_writes.
        counts: shape [HISTORIES + 1]: intervals before, of each history, and stretches.
    """
    end: Int = 0
    for history in range(HISTORIES):
        count = np.int64(books.returned_count[history])
        for i in range(count):
            before = books.returned[history, i]
            packed[end + i] = before
            packed[end + count + i] = books.returns[history, before]
        counts[history] = count
        end += 2 * count
    touched: Int = 0
    for stretch in range(len(books.heat)):
        if books.heat[stretch, TOUCHED_AT_ALL] != 0:
            packed[end + touched] = stretch
            touched += 1
    counts[STRETCHES] = touched
    heat = end + touched
    for i in range(touched):
        for column in range(HEAT_COLUMNS):
            packed[heat + HEAT_COLUMNS * i + column] = books.heat[packed[end + i], column]
    end = heat + HEAT_COLUMNS * touched
    for vcpu in range(len(books.first_writes)):
        packed[end + vcpu] = books.first_writes[vcpu]
    return end + len(books.first_writes)
