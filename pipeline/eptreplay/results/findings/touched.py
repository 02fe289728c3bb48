"""What was touched, when: heatmap, working sets, idle memory, miss ratios."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.analysis.distribution import percentiles, window_lengths
from eptreplay.analysis.history import NEVER
from eptreplay.analysis.miss_ratio import from_distances, from_intervals
from eptreplay.model.state.rows import OP_FETCH, OP_READ, OP_WRITE
from eptreplay.model.statistics.intervals import TOUCHED_AT_ALL
from eptreplay.model.statistics.reuse_buckets import bucket_starts
from eptreplay.replay.found.snapshots import stacked
from eptreplay.results.findings.intervals import MOST_INTERVALS, columns_of, joined
from eptreplay.tables.analysis import IDLE_AGE, MISS_RATIO, WORKING_SET
from eptreplay.units import PAGE_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eptreplay.analysis.history import History
    from eptreplay.analysis.miss_ratio import Curve
    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.results.findings.intervals import Columns, Times


def heatmap(result: GuestResult) -> Columns:
    """Return distinct pages of stretches of addresses in every interval."""
    statistics = [snapshot.statistics for snapshot in result.snapshots]
    stretch = joined([book.stretch for book in statistics])
    heat = np.concatenate([book.heat for book in statistics]).astype(np.int64)
    stretch_bytes = result.stretch_pages * PAGE_BYTES
    return {
        "guest": [result.trace.name] * len(stretch),
        "interval": np.repeat(np.arange(len(statistics)), [len(book.stretch) for book in statistics]),
        "gpa_start": stretch.astype(np.uint64) * np.uint64(stretch_bytes),
        "bytes": [stretch_bytes] * len(stretch),
        "pages_touched": heat[:, TOUCHED_AT_ALL],
        "pages_read": heat[:, OP_READ],
        "pages_written": heat[:, OP_WRITE],
        "pages_fetched": heat[:, OP_FETCH],
    }


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


def idle_age(result: GuestResult, times: Times) -> Columns:
    """Return pages by how long before the end of the trace they were last touched, and those that never were."""
    count = times.life.end
    touches, written, untouched = _in_use(result)
    age = count - touches.last_touch.astype(np.int64)
    pages = np.bincount(age, minlength=count)
    of_written = np.bincount(age[written], minlength=count)
    # What was last touched in interval i was idle from some moment in it on: at least through the intervals after.
    rows = [
        _idle(int(number), times.idle(int(number)), int(pages[number]), int(of_written[number]))
        for number in np.flatnonzero(pages)
    ]
    if untouched:
        rows.append(_idle(None, None, untouched, 0))
    return columns_of(IDLE_AGE, result, rows)


def _in_use(result: GuestResult) -> tuple[Any, NDArray[np.bool_], int]:
    """Return the touches of pages that were not given back since, which of those were written, and pages never touched."""
    touches = result.touches
    written = touches.last_write != 0
    given_back = result.given_back
    if given_back is None:
        return touches, written, result.trace.ram_pages - len(touches)
    kept = ~given_back.gone[result.page]
    written &= given_back.written[result.page] | ~given_back.changed[result.page]
    there = result.trace.ram_pages - int(given_back.absent.sum()) - int(given_back.freed.sum())
    return touches[kept], written[kept], there - int(kept.sum())


def _idle(age: int | None, seconds: float | None, pages: int, written: int) -> dict[str, Any]:
    """Return a row of idle_age."""
    return {
        "age_intervals": age,
        "idle_s": seconds,
        "pages": pages,
        "pages_written": written,
        "bytes": pages * PAGE_BYTES,
    }


def miss_ratio(result: GuestResult, touched: History) -> Columns:
    """Return miss ratios by size of memory, from the interval statistics and, if they were asked for, from distances of reuse."""
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
