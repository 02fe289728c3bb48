"""How many distinct pages came up in any stretch of a trace, from counts alone.

A page counts in intervals [begin, end) once: at its first time in them, and that is the one whose time before
lies before `begin`.  So it takes no lists of pages: of every interval it is enough to know how many pages came
up in it by the interval of their time before.  (The same idea finds working-set sizes in one pass over a
reference string: Denning and Slutz, Generalized working sets for segment reference strings, CACM 21(9), 1978.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEVER = -1


@dataclass(frozen=True, slots=True)
class History:
    """When pages came up (were touched, say, or written), interval by interval.

    Args:
        intervals: how many there are, at least 1.
        at: shape [n]: an interval in which pages came up.
        before: shape [n]: the interval of their time before; NEVER.
        pages: shape [n]: how many pages; those of equal `at` and `before` may be spread over several.
        first: shape [m]: the interval in which pages came up first.
        last: shape [m]: the interval in which they came up last.
        weight: shape [m]: how many pages.
        joined: how many intervals of the replay each of these is; the last one may be fewer.
    """

    intervals: int
    at: NDArray[np.int64]
    before: NDArray[np.int64]
    pages: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    weight: NDArray[np.int64]
    joined: int = 1

    def windows(self, length: int) -> NDArray[np.int64]:
        """Return the distinct pages of every window of `length` intervals, by where it begins.

        Args:
            length: from 1 to `intervals`.

        Returns:
            Shape [intervals - length + 1].
        """
        # A page that comes up at `at` is new in every window that holds `at` and begins after `before`.
        lowest = np.maximum(np.maximum(self.before + 1, self.at - length + 1), 0)
        highest = np.minimum(self.at, self.intervals - length)
        fits = lowest <= highest
        change = np.bincount(lowest[fits], self.pages[fits], self.intervals + 1)
        change -= np.bincount(highest[fits] + 1, self.pages[fits], self.intervals + 1)
        return np.rint(np.cumsum(change)[: self.intervals - length + 1]).astype(np.int64)

    def coarser(self, limit: int) -> History:
        """Return the same with neighbouring intervals joined, as few as it takes to have at most `limit` of them."""
        joined = 1
        while -(-self.intervals // joined) > limit:
            joined *= 2
        if joined == 1:
            return self
        at, before = self.at // joined, self.before // joined
        anew = at != before
        return History(
            intervals=-(-self.intervals // joined),
            at=at[anew],
            before=before[anew],
            pages=self.pages[anew],
            first=self.first // joined,
            last=self.last // joined,
            weight=self.weight,
            joined=joined * self.joined,
        )


class Repeated:
    """A history that goes on as it was: after its last interval comes the first again."""

    def __init__(self, history: History) -> None:
        """Prepare sums over the history; memory grows with the square of its intervals."""
        self.intervals = size = history.intervals
        self.pages = int(history.weight.sum())
        came = np.zeros((size + 1, size + 1), np.int64)
        np.add.at(came, (history.at + 1, history.before + 1), history.pages)
        # [end, begin]: pages that came up before `end`, and whose time before lies before `begin`.
        self._came = came.cumsum(axis=0).cumsum(axis=1)
        lived = np.zeros((size + 1, size + 1), np.int64)
        np.add.at(lived, (history.first + 1, history.last + 1), history.weight)
        # [end, begin]: pages that came up first before `end` and last before `begin`.
        self._lived = lived.cumsum(axis=0).cumsum(axis=1)

    def distinct(self, begin: int, end: int) -> int:
        """Return the distinct pages of intervals [begin, end), counted on from 0 without end."""
        if end - begin >= self.intervals:
            return self.pages
        start = begin % self.intervals
        stop = start + end - begin
        wrapped = max(0, stop - self.intervals)
        stop = min(stop, self.intervals)
        came = self._came[stop, start] - self._came[start, start]
        return int(came + self._lived[wrapped, start])

    def distinct_within(self, begin: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the distinct pages of stretches [begin, end) that do not go beyond the history's own end."""
        counts: NDArray[np.int64] = self._came[end, begin] - self._came[begin, begin]
        return counts
