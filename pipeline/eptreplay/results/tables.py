"""From what a replay found to the rows of the result tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.model.access_loop import sweep
from eptreplay.replay.found.snapshots import CAUSES, EMULATED_CAUSES, KINDS, counters
from eptreplay.results.findings import findings
from eptreplay.results.findings.translations import translations
from eptreplay.results.host import host_tables
from eptreplay.tables.schema import COUNTERS, GAUGES
from eptreplay.units import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.request.link import Link

Columns = dict[str, Any]
COUNTER_NAMES = tuple(column.name for column in COUNTERS)


def tables(result: GuestResult, profiles: Sequence[str], link: Link) -> dict[str, Columns]:
    """Return the rows of every table for one guest, as columns by table name.

    Args:
        result: what the replay found.
        profiles: names of the profiles, in the order of the replay.
        link: what migrations are estimated with.
    """
    return {
        "summary": _summary(result, profiles),
        "intervals": _intervals(result, profiles),
        "faults": _faults(result, profiles),
        "fault_intervals": _fault_intervals(result, profiles),
        "pages": _pages(result, profiles),
        "translations": translations(result, profiles),
        **findings(result, profiles, link),
        **host_tables(result, profiles),
    }


def _summary(result: GuestResult, profiles: Sequence[str]) -> Columns:
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


def _intervals(result: GuestResult, profiles: Sequence[str]) -> Columns:
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


def _faults(result: GuestResult, profiles: Sequence[str]) -> Columns:
    rows = [
        (profiles[number], KINDS[kind], CAUSES[cause], int(result.faults[number, kind, cause]), cause)
        for number, kind, cause in np.argwhere(result.faults)
    ]
    return {
        "guest": [result.trace.name] * len(rows),
        "profile": [row[0] for row in rows],
        "kind": [row[1] for row in rows],
        "cause": [row[2] for row in rows],
        "resolution": ["ad_emulation" if row[4] < EMULATED_CAUSES else "vm_fault" for row in rows],
        "count": [row[3] for row in rows],
    }


def _fault_intervals(result: GuestResult, profiles: Sequence[str]) -> Columns:
    until = np.stack([snapshot.cnt["faults"] for snapshot in result.snapshots], axis=1)
    gained = np.diff(until, axis=1, prepend=0)  # by profile, interval, kind and cause
    at = np.argwhere(gained)
    profile, interval, kind, cause = at.T
    return {
        "guest": [result.trace.name] * len(at),
        "profile": [profiles[number] for number in profile],
        "interval": interval,
        "kind": [KINDS[number] for number in kind],
        "cause": [CAUSES[number] for number in cause],
        "count": gained[gained != 0],
    }


def _pages(result: GuestResult, profiles: Sequence[str]) -> Columns:
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
