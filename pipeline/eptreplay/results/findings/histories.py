"""Histories of pages and regions: in which intervals they were touched or written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.analysis.history import NOTHING_GONE, Gone, History
from eptreplay.model.statistics.intervals import PAGES_TOUCHED, PAGES_WRITTEN, REGIONS_WRITTEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eptreplay.replay.found.guest import GuestResult

MOST_INTERVALS = 1024
"""Where memory grows with the square of the intervals, neighbouring ones are joined until there are no more than these."""


def history(result: GuestResult, number: int) -> History:
    """Return one of the histories in the interval statistics of a replay: PAGES_TOUCHED, PAGES_WRITTEN or REGIONS_WRITTEN."""
    returns = [snapshot.statistics.returns_of(number) for snapshot in result.snapshots]
    first, last, weight = _lives(result, number)
    return History(
        intervals=len(returns),
        at=np.repeat(np.arange(len(returns)), [len(one.before) for one in returns]),
        before=joined([one.before for one in returns]) - 1,
        pages=joined([one.pages for one in returns]),
        first=first.astype(np.int64) - 1,
        last=last.astype(np.int64) - 1,
        weight=weight.astype(np.int64),
        gone=_gone(result, number),
    )


def _gone(result: GuestResult, number: int) -> Gone:
    """Return when pages of a history were given back: that does not undo a touch, but what was written need not be sent."""
    given_back = result.given_back
    if given_back is None or number == PAGES_TOUCHED:
        return NOTHING_GONE
    return given_back.regions if number == REGIONS_WRITTEN else given_back.pages


def _lives(result: GuestResult, number: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return 1 + the first and last interval of every page or region in a history, and how many pages it counts for."""
    if number == REGIONS_WRITTEN:
        regions = result.regions
        return regions.first_write, regions.last_write, regions.pages
    if number == PAGES_WRITTEN:
        pages = result.touches[result.touches.last_write != 0]
        return pages.first_write, pages.last_write, np.ones(len(pages))
    ends = np.array([snapshot.rows for snapshot in result.snapshots])
    first = np.searchsorted(ends, result.first_row, side="right") + 1
    return first, result.touches.last_touch, np.ones(len(first))


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    """Return arrays one after the other, as 64-bit integers."""
    return np.concatenate([*parts, np.zeros(0)]).astype(np.int64)
