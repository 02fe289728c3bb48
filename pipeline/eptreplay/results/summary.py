"""Rows of the tables `summary` and `intervals`: the counters of a guest under every profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.model.access_loop import sweep
from eptreplay.replay.found.snapshots import counters
from eptreplay.tables.schema import COUNTERS, GAUGES
from eptreplay.units import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.results.columns import Columns

COUNTER_NAMES = tuple(column.name for column in COUNTERS)


def summary(result: GuestResult, profiles: Sequence[str]) -> Columns:
    """Return one row per profile: what the whole trace added up to."""
    final = counters(result.snapshots[-1:])
    every = len(profiles)
    trace = result.trace
    given_back = result.given_back
    tally = result.snapshots[-1].statistics.tally[0]
    outside = bool(tally["unbacked"])
    columns: Columns = {
        "guest": [trace.name] * every,
        "profile": list(profiles),
        "vcpus": [trace.vcpus] * every,
        "memory_bytes": [trace.ram_pages * PAGE_BYTES] * every,
        "first_time": [trace.first_time] * every,
        "last_time": [trace.last_time] * every,
        "pages_touched": [len(result.page)] * every,
        "pages_written": [int(np.count_nonzero(result.touches.last_write))] * every,
        "pages_unmapped": [0 if given_back is None else int(given_back.absent.sum())] * every,
        "pages_freed": [0 if given_back is None else int(given_back.freed.sum())] * every,
        "unbacked_low": [int(tally["unbacked_low"]) if outside else None] * every,
        "unbacked_high": [int(tally["unbacked_high"]) if outside else None] * every,
        "superpage_pages": [int(np.count_nonzero(seen & sweep.SEEN_SUPERPAGE)) for seen in result.seen],
        "state_sum": result.state_sums,
    }
    return columns | {name: final[name][0] for name in COUNTER_NAMES}


def intervals(result: GuestResult, profiles: Sequence[str]) -> Columns:
    """Return one row per profile and interval: what the interval added."""
    snapshots = result.snapshots
    times = [snapshot.time for snapshot in snapshots]
    columns: Columns = {
        "guest": [result.trace.name] * (len(snapshots) * len(profiles)),
        "profile": [name for name in profiles for _ in snapshots],
        "interval": list(range(len(snapshots))) * len(profiles),
        "start_time": [result.interval_start, *times[:-1]] * len(profiles),
        "end_time": times * len(profiles),
        "pages_touched": [int(snapshot.statistics.tally["touched"][0]) for snapshot in snapshots]
        * len(profiles),
        "pages_written": [int(snapshot.statistics.tally["written"][0]) for snapshot in snapshots]
        * len(profiles),
    }
    for name, values in counters(snapshots).items():
        gained = values if name in GAUGES else np.diff(values, axis=0, prepend=0)
        columns[name] = gained.T.reshape(-1)
    return columns
