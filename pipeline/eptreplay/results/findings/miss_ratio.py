"""Rows of the table `miss_ratio`: miss ratios by size of memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.analysis.miss_ratio import from_distances, from_intervals
from eptreplay.model.statistics.reuse_buckets import bucket_starts
from eptreplay.replay.found.snapshots import stacked
from eptreplay.results.columns import columns_of
from eptreplay.results.findings.histories import MOST_INTERVALS
from eptreplay.tables.analysis import MISS_RATIO
from eptreplay.units import PAGE_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eptreplay.analysis.history import History
    from eptreplay.analysis.miss_ratio import Curve
    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.results.columns import Columns


def miss_ratio(result: GuestResult, touched: History) -> Columns:
    """Return miss ratios by size of memory, from the interval statistics and, if asked for, from reuse distances."""
    tally = stacked([snapshot.statistics.tally for snapshot in result.snapshots])[:, 0]
    by_interval = np.diff(tally["reads"] + tally["writes"] + tally["fetches"], prepend=0)
    by_interval += [snapshot.others.accesses for snapshot in result.snapshots]
    accesses = int(by_interval.sum())
    rows = _curve("intervals", 1.0, _bounds(touched, by_interval), accesses)
    if result.reuse is not None:
        found = result.reuse
        rate = 1 / found.weight
        curve = from_distances(bucket_starts(), found.distances, len(result.page), accesses, rate)
        rows += _curve(str(result.mrc), rate, curve, accesses)
    return columns_of(MISS_RATIO, result, rows)


def _curve(method: str, rate: float, curve: Curve, accesses: int) -> list[dict[str, Any]]:
    """Return the rows of a miss-ratio curve."""
    return [
        {
            "method": method,
            "memory_bytes": int(pages) * PAGE_BYTES,
            "miss_ratio": float(ratio),
            "error": float(error),
            "sampling_rate": rate,
            "accesses": accesses,
        }
        for pages, ratio, error in zip(*curve, strict=True)
    ]


def _bounds(touched: History, accesses: NDArray[np.int64]) -> Curve:
    """Return what the interval statistics say of miss ratios; `accesses` are those of each interval."""
    coarser = touched.coarser(MOST_INTERVALS)
    begins = np.arange(coarser.intervals) * coarser.joined
    return from_intervals(bucket_starts(), coarser, np.add.reduceat(accesses, begins))
