"""Rows of the table `idle_age`: how long memory had been idle at the end of a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.results.columns import columns_of
from eptreplay.tables.analysis import IDLE_AGE
from eptreplay.units import PAGE_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.results.columns import Columns
    from eptreplay.results.findings.times import Times


def idle_age(result: GuestResult, times: Times) -> Columns:
    """Return pages by how long before the end of the trace they were last touched, and the pages that never were."""
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
