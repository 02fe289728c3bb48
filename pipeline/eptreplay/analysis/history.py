"""How many distinct pages occurred in any stretch of a trace, from counts alone.

A page counts once in intervals [begin, end): at its first occurrence in them, the one whose previous occurrence
lies before `begin`.  So no lists of pages are needed: it is enough to know of every interval how many pages occurred
in it, by the interval of their previous occurrence.  (The same idea finds working-set sizes in one pass over a
reference string: Denning and Slutz, Generalized working sets for segment reference strings, CACM 21(9), 1978.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEVER = -1
BEFORE_ALL = -1
"""For what came before interval 0."""
FOREVER = -2
"""For the time of what does not happen before the trace ends."""


class Gone(NamedTuple):
    """Pages that were gone for a while: given back, and not written again (given_back.py); intervals, shape [n] each.

    Args:
        before: the interval of their last occurrence before that, or NEVER.
        lost: the interval in which they were given back, or BEFORE_ALL.
        again: the interval of their next occurrence, or FOREVER.
        first: the interval of their first occurrence in the trace, or NEVER.
        last: the interval of their last occurrence in the trace; NEVER if there is none, or where another loss stands for this one when the trace is repeated.
        pages: how many pages.
    """

    before: NDArray[np.int64]
    lost: NDArray[np.int64]
    again: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    pages: NDArray[np.int64]

    def moved(self, by: int) -> Gone:
        """Return the same with intervals counted from `by`."""
        return Gone._make([*(np.where(time < 0, time, time - by) for time in self[:-1]), self.pages])

    def coarser(self, joined: int) -> Gone:
        """Return the same with so many neighbouring intervals joined."""
        return Gone._make([*(np.where(time < 0, time, time // joined) for time in self[:-1]), self.pages])


NOTHING_GONE = Gone._make(np.zeros((6, 0), np.int64))


@dataclass(frozen=True, slots=True)
class History:
    """When pages occurred (were touched, say, or written), interval by interval.

    Args:
        intervals: how many there are, at least 1.
        at: shape [n]: an interval in which pages occurred.
        before: shape [n]: the interval of their previous occurrence, or NEVER.
        pages: shape [n]: how many pages; those of equal `at` and `before` may be spread over several.
        first: shape [m]: the interval in which pages occurred first.
        last: shape [m]: the interval in which they occurred last.
        weight: shape [m]: how many pages.
        joined: how many intervals of the replay each of these is; the last one may be fewer.
        gone: pages that were given back.
    """

    intervals: int
    at: NDArray[np.int64]
    before: NDArray[np.int64]
    pages: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    weight: NDArray[np.int64]
    joined: int = 1
    gone: Gone = NOTHING_GONE

    def within(self, begin: int, end: int) -> History:
        """Return the history of intervals [begin, end) alone, as if nothing occurred outside of them."""
        if (begin, end) == (0, self.intervals):
            return self
        return replace(
            self,
            intervals=end - begin,
            at=self.at - begin,
            before=np.where(self.before == NEVER, NEVER, self.before - begin),
            first=self.first - begin,
            last=self.last - begin,
            gone=self.gone.moved(begin),
        )

    def windows(self, length: int) -> NDArray[np.int64]:
        """Return the distinct pages of every window of `length` intervals, by where it begins.

        Args:
            length: from 1 to `intervals`.

        Returns:
            Shape [intervals - length + 1].
        """
        # A page that occurs at `at` is new in every window that holds `at` and begins after `before`.
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
            gone=self.gone.coarser(joined),
        )


class Repeated:
    """A history that goes on as it was: after its last interval comes the first again."""

    def __init__(self, history: History) -> None:
        """Prepare sums over the history; memory grows with the square of its intervals."""
        self.intervals = size = history.intervals
        self.pages = int(history.weight.sum())
        came = np.zeros((size + 1, size + 1), np.int64)
        np.add.at(came, (history.at + 1, history.before + 1), history.pages)
        # [end, begin]: pages that occurred before `end`, and whose previous occurrence lies before `begin`.
        self._came = came.cumsum(axis=0).cumsum(axis=1)
        lived = np.zeros((size + 1, size + 1), np.int64)
        np.add.at(lived, (history.first + 1, history.last + 1), history.weight)
        # [end, begin]: pages that occurred first before `end` and last before `begin`.
        self._lived = lived.cumsum(axis=0).cumsum(axis=1)
        self.gone = RepeatedGone(history.gone, size)

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

    def to_send(self, begin: int, end: int, surely_over: int) -> int:
        """Return the same without pages that are gone at the end: given back since in intervals before `surely_over`."""
        return self.distinct(begin, end) - self.gone.not_to_send(begin, end, surely_over)

    def distinct_within(self, begin: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the distinct pages of stretches [begin, end) that do not go beyond the history's own end."""
        counts: NDArray[np.int64] = self._came[end, begin] - self._came[begin, begin]
        return counts


class RepeatedGone:
    """Pages that were given back, in a history that goes on as it was; its repetition begins with all memory there."""

    def __init__(self, gone: Gone, intervals: int) -> None:
        """Prepare for a history of so many intervals."""
        self._intervals = intervals
        self._gone = gone
        known = gone.last != NEVER
        # With none before in the trace, it is the last one of the round before that counts, and likewise with none after.
        before = np.where(gone.before == NEVER, gone.last - intervals, gone.before)
        self._before = np.where(known | (gone.before != NEVER), before, np.iinfo(np.int64).min // 2)
        self._again = np.where(gone.again == FOREVER, gone.first + intervals, gone.again)
        self._there_again = np.where(gone.again == FOREVER, intervals, gone.again)

    def not_to_send(self, begin: int, end: int, surely_over: int) -> int:
        """Return the pages that occurred in intervals [begin, end), for the last time before they were given back.

        Args:
            begin: counted on from 0 without end.
            end: likewise.
            surely_over: intervals before it are over; what is given back in later ones is still there.
        """
        if not len(self._gone.pages):
            return 0  # the usual case, asked a few hundred times a guest
        rounds, is_gone = self._at(self._again, end, surely_over)
        return int(self._gone.pages[is_gone & (self._before + rounds >= begin)].sum())

    def absent(self, end: int, surely_over: int) -> int:
        """Return the pages given back since the beginning that are gone at the end of intervals before `end`, ever written or not."""
        _, is_gone = self._at(self._there_again, end, surely_over)
        return int(self._gone.pages[is_gone & (self._gone.lost != BEFORE_ALL)].sum())

    def _at(
        self, again: NDArray[np.int64], end: int, surely_over: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the intervals of the rounds before the one that may hold a loss, and whether the pages are gone in it."""
        rounds = -((again - end) // self._intervals) * self._intervals
        return rounds, self._gone.lost + rounds < surely_over
