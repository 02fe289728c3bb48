"""Rows of the table `heatmap`: distinct pages by address and interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.model.state.rows import OP_FETCH, OP_READ, OP_WRITE
from eptreplay.model.statistics.intervals import TOUCHED_AT_ALL
from eptreplay.results.findings.histories import joined
from eptreplay.units import PAGE_BYTES

if TYPE_CHECKING:
    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.results.columns import Columns


def heatmap(result: GuestResult) -> Columns:
    """Return distinct pages of stretches of addresses in every interval."""
    statistics = [snapshot.statistics for snapshot in result.snapshots]
    stretch = joined([each.stretch for each in statistics])
    heat = np.concatenate([each.heat for each in statistics]).astype(np.int64)
    stretch_bytes = result.stretch_pages * PAGE_BYTES
    return {
        "guest": [result.trace.name] * len(stretch),
        "interval": np.repeat(np.arange(len(statistics)), [len(each.stretch) for each in statistics]),
        "gpa_start": stretch.astype(np.uint64) * np.uint64(stretch_bytes),
        "bytes": [stretch_bytes] * len(stretch),
        "pages_touched": heat[:, TOUCHED_AT_ALL],
        "pages_read": heat[:, OP_READ],
        "pages_written": heat[:, OP_WRITE],
        "pages_fetched": heat[:, OP_FETCH],
    }
