"""When each page is accessed next, found while a trace passes once."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

NEVER = -1


class NextAccesses:
    """The number of the next access to the same page, for each access of a trace.

    Memory is for the pages touched, 16 bytes each; the numbers lie in a file without a name, 8 bytes an access.

    Args:
        numbers: int64, shape (accesses,), NEVER in each place.
    """

    def __init__(self, numbers: NDArray[np.int64]) -> None:
        self._numbers = numbers
        self._pages = np.zeros(0, np.uint64)
        self._last = np.zeros(0, np.int64)
        self.count = 0

    @property
    def pages(self) -> int:
        """Pages accessed so far."""
        return len(self._pages)

    def add(self, pages: NDArray[np.uint64]) -> None:
        """Take in the pages of the accesses that follow.

        Args:
            pages: uint64, shape (n,), page numbers.
        """
        if not len(pages):
            return
        order = np.argsort(pages, kind="stable")
        ordered = pages[order]
        number = order + self.count
        same = ordered[1:] == ordered[:-1]
        self._numbers[number[:-1][same]] = number[1:][same]
        begins = np.concatenate([[True], ~same])
        ends = np.concatenate([~same, [True]])
        found, first, last = ordered[begins], number[begins], number[ends]
        place = np.searchsorted(self._pages, found)
        known = np.zeros(len(found), np.bool_)
        inside = place < len(self._pages)
        known[inside] = self._pages[place[inside]] == found[inside]
        self._numbers[self._last[place[known]]] = first[known]
        self._last[place[known]] = last[known]
        self._pages = np.insert(self._pages, place[~known], found[~known])
        self._last = np.insert(self._last, place[~known], last[~known])
        self.count += len(pages)

    def of(self, first: int, count: int) -> NDArray[np.int64]:
        """Return the numbers for accesses from one on, when all were taken in."""
        return self._numbers[first : first + count]


@contextmanager
def next_accesses(accesses: int) -> Iterator[NextAccesses]:
    """Make room for the numbers of a trace's accesses, and free it at the end.

    Args:
        accesses: the most that there can be.

    Raises:
        OSError: the folder for temporary files takes no more.
    """
    with tempfile.TemporaryFile(prefix="eptreplay-") as file:
        block = np.full(1 << 17, NEVER, np.int64)
        for begin in range(0, accesses, len(block)):
            file.write(block[: min(len(block), accesses - begin)].tobytes())
        file.flush()
        numbers = np.memmap(file, np.int64, "r+", shape=(accesses,)) if accesses else np.zeros(0, np.int64)
        yield NextAccesses(numbers)
