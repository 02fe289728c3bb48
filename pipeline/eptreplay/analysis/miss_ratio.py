"""Miss-ratio curves: how often a guest would miss with so much memory, under LRU and 4 KiB pages.

An access hits in a memory of c pages exactly if its reuse distance (distinct pages since the last access to the same page)
is below c.  Reuse distances come from model/statistics/reuse.py, of all pages or of a sample, or from the interval statistics,
which bound them on both sides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eptreplay.analysis.history import NEVER, Repeated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eptreplay.analysis.history import History

STANDARD_ERRORS = 2
"""How many the error of a sample is stated with: about 95 % of normal deviations are smaller."""

LEAST_SAMPLES = 8
"""Pages of a sample that the smallest size of memory of its curve holds."""


class Curve(NamedTuple):
    """A miss-ratio curve.

    Args:
        pages: shape [n]: sizes of memory, ascending.
        miss_ratio: shape [n]: accesses that miss over all accesses, first touches included.
        error: shape [n]: how far it may be off, either way.
    """

    pages: NDArray[np.int64]
    miss_ratio: NDArray[np.float64]
    error: NDArray[np.float64]


def from_distances(
    starts: NDArray[np.int64],
    distances: NDArray[np.int64],
    first: int,
    accesses: int,
    sampling_rate: float,
) -> Curve:
    """Return the curve of a distribution of reuse distances.

    Its error has two parts: which pages are in the sample decides how many misses are seen (estimated from how far the
    parts of the sample differ), and how many of the pages between two accesses are (a binomial number, which moves
    the curve along the sizes).

    Args:
        starts: shape [buckets]: the smallest reuse distance of each bucket, ascending from 0.
        distances: shape [parts, buckets]: accesses by reuse distance, for equal parts of the sample, scaled up to all pages;
            those of reuse distance 0 may be missing.
        first: first accesses to a page: exact.
        accesses: all accesses to memory.
        sampling_rate: share of the pages in the sample; 1: all of them, and the curve is exact.
    """
    missing = np.cumsum(distances[:, ::-1], axis=1)[:, ::-1]  # [parts, buckets]
    again = missing.sum(axis=0)
    beyond = int(np.flatnonzero(distances.sum(axis=0)).max(initial=0)) + 1
    wanted = (starts >= (LEAST_SAMPLES / sampling_rate if sampling_rate < 1 else 1)) & (
        np.arange(len(starts)) <= max(beyond, 1)
    )
    ratio = np.minimum(1.0, (again + first) / max(1, accesses))
    parts = len(distances)
    spread = parts / (parts - 1) * ((missing - again / parts) ** 2).sum(axis=0)
    counted = np.sqrt(spread * (1 - sampling_rate)) / max(1, accesses)
    size = np.maximum(starts, 1)
    moved = STANDARD_ERRORS * np.sqrt((1 - sampling_rate) / (sampling_rate * size))
    shift = np.maximum(
        np.abs(_at(size, ratio, size * (1 + moved)) - ratio),
        np.abs(_at(size, ratio, size / (1 + moved)) - ratio),
    )
    error = np.minimum(1.0, STANDARD_ERRORS * counted + shift)
    return Curve(starts[wanted], ratio[wanted], error[wanted])


def _at(
    pages: NDArray[np.int64], ratio: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return a curve at other sizes, on straight lines between its points."""
    return np.interp(wanted, pages, ratio)


def from_intervals(starts: NDArray[np.int64], touched: History, accesses: NDArray[np.int64]) -> Curve:
    """Return the middle between the smallest and the largest miss ratio that the interval statistics allow.

    A page touched in interval i, and before that in p, was away for at least the distinct pages of the intervals between, and
    for at most those of p to i, less itself.  Another access in an interval in which the page was touched has a
    reuse distance below the distinct pages of that interval.  So from the size of the largest interval on, only first
    accesses of an interval can miss.

    Args:
        starts: sizes of memory to choose from, pages, ascending.
        touched: pages by when they were touched.
        accesses: shape [intervals]: accesses to memory.
    """
    repeated = Repeated(touched)
    returns = touched.before != NEVER
    at, before, pages = touched.at[returns], touched.before[returns], touched.pages[returns]
    least = repeated.distinct_within(before + 1, at)
    most = repeated.distinct_within(before, at + 1) - 1
    first = int(touched.pages[~returns].sum())
    largest = int(touched.windows(1).max())
    beyond = int(np.searchsorted(starts, max(1, largest, repeated.pages)))
    sizes = starts[int(np.searchsorted(starts, max(1, largest))) : beyond + 1]
    total = max(1, int(accesses.sum()))
    low = (first + _at_least(least, pages, sizes)) / total
    high = (first + _at_least(most, pages, sizes)) / total
    return Curve(sizes, (low + high) / 2, (high - low) / 2)


def _at_least(
    distance: NDArray[np.int64], pages: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return how many of `pages` have a reuse distance of at least each of `sizes`."""
    order = np.argsort(distance)
    above = np.concatenate([np.cumsum(pages[order][::-1])[::-1], [0]])
    return above[np.searchsorted(distance[order], sizes)]
