"""Rows of the tables `working_set` and `returns`: distinct pages of stretches of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.analysis.distribution import percentiles, window_lengths
from eptreplay.analysis.history import NEVER
from eptreplay.results.columns import columns_of
from eptreplay.tables.analysis import WORKING_SET
from eptreplay.units import PAGE_BYTES

if TYPE_CHECKING:
    from eptreplay.analysis.history import History
    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.results.columns import Columns
    from eptreplay.results.findings.times import Times


def working_set(result: GuestResult, touched: History, written: History, times: Times) -> Columns:
    """Return how distinct pages are distributed over windows of every length."""
    rows = []
    for kind, whole in (("touched", touched), ("written", written)):
        history = whole.within(*times.life)
        for length in window_lengths(history.intervals):
            sizes = history.windows(length) * PAGE_BYTES
            rows.append(
                {
                    "kind": kind,
                    "window_intervals": length,
                    "window_s": times.seconds(length),
                    "windows": len(sizes),
                    "mean_bytes": float(sizes.mean()),
                    **percentiles(sizes, "bytes"),
                }
            )
    return columns_of(WORKING_SET, result, rows)


def returns(result: GuestResult, histories: dict[str, History]) -> Columns:
    """Return the histories themselves, by kind."""
    parts = [(kind, past, np.lexsort((past.before, past.at))) for kind, past in histories.items()]
    before = np.concatenate([past.before[order] for _, past, order in parts])
    return {
        "guest": [result.trace.name] * len(before),
        "kind": [kind for kind, _, order in parts for _ in order],
        "interval": np.concatenate([past.at[order] for _, past, order in parts]),
        "previous": np.ma.masked_equal(before, NEVER),
        "pages": np.concatenate([past.pages[order] for _, past, order in parts]),
    }
