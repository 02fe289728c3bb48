"""Rows of the table `pages`: every page that a trace touched, under every profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.model.access_loop import sweep
from eptreplay.units import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.results.columns import Columns


def pages(result: GuestResult, profiles: Sequence[str]) -> Columns:
    """Return one row per profile and touched page."""
    every = len(profiles)
    touches = result.touches
    ends = np.array([snapshot.rows for snapshot in result.snapshots])
    first_row = result.first_row
    last_write = touches.last_write.astype(np.int64) - 1
    accesses = result.page_accesses
    seen = result.seen.reshape(-1)
    columns: Columns = {
        "guest": [result.trace.name] * (len(result.page) * every),
        "profile": np.repeat(np.array(profiles, object), len(result.page)),
        "gpa": np.tile(result.page.astype(np.uint64) * np.uint64(PAGE_BYTES), every),
        "first_row": np.tile(first_row, every),
        "first_interval": np.tile(np.searchsorted(ends, first_row, side="right"), every),
        "last_interval": np.tile(touches.last_touch.astype(np.int64) - 1, every),
        "last_write_interval": np.ma.masked_less(np.tile(last_write, every), 0),
        "mapped": seen & sweep.SEEN_MAPPED != 0,
        "superpage": seen & sweep.SEEN_SUPERPAGE != 0,
        "accessed": seen & sweep.SEEN_ACCESSED != 0,
        "dirty": seen & sweep.SEEN_DIRTY != 0,
    }
    for number, name in enumerate(("reads", "writes", "fetches")):
        columns[name] = [None] * len(seen) if accesses is None else np.tile(accesses[:, number], every)
    return columns
