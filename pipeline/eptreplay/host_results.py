"""From what a host and its guests did to the rows of the host's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.report.host_tables import HOST_TABLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eptreplay.guest_result import GuestResult
    from eptreplay.host_replay import HostFindings

Columns = dict[str, Any]
PAGE_BYTES = 4096
BLOCK_PAGES = 512

INVALIDATION_CAUSES = (
    "fault",
    "aging",
    "harvest",
    "page_daemon",
    "demotion",
    "protect",
    "unmap",
    "advise",
    "wiring",
    "host_access",
)
INVALIDATION_KINDS = ("page", "range", "all")
QUEUES = ("none", "inactive", "active")
INACTIVE, ACTIVE = 1, 2

_LEVELS = ("reservations", "reservations_broken", "reservations_refused", "promotions_lost")
_GAINED = (
    "zero_fills",
    "swap_ins",
    "soft_faults",
    "pageouts",
    "laundered",
    "cached",
    "freed_clean",
    "deactivated",
    "reactivated",
    "unswapped",
)


def host_tables(result: GuestResult, profiles: Sequence[str]) -> dict[str, Columns]:
    """Return the rows of the host's tables for one guest, as columns by table name.

    Args:
        result: what the replay found; without a host of its own, only its invalidations and IPIs.
        profiles: names of the profiles, in the order of the replay.
    """
    found: dict[str, Columns] = {table.name: {name: [] for name in table.names()} for table in HOST_TABLES}
    found["invalidations"] = _invalidations(result, profiles)
    found["ipis"] = _ipis(result, profiles)
    found["wiring"] = _wiring(result, profiles)
    found["passthrough"] = _passthrough(result, profiles)
    if result.host is not None:
        found["host_memory"] = _host_memory(result, result.host, profiles)
        found["swap_activity"] = _swap_activity(result, result.host, profiles)
        found["swap_candidates"] = _swap_candidates(result, result.host, profiles)
        found["cold_age"] = _cold_age(result, result.host, profiles)
    return found


def _invalidations(result: GuestResult, profiles: Sequence[str]) -> Columns:
    counts = result.snapshots[-1].cnt["invalidations"]
    where = np.argwhere(counts)
    return {
        "guest": [result.trace.name] * len(where),
        "profile": [profiles[number] for number, _, _ in where],
        "cause": [INVALIDATION_CAUSES[cause] for _, cause, _ in where],
        "kind": [INVALIDATION_KINDS[kind] for _, _, kind in where],
        "count": counts[tuple(where.T)],
    }


def _ipis(result: GuestResult, profiles: Sequence[str]) -> Columns:
    last = result.snapshots[-1]
    nested = last.pmap["pm_type"] == 1
    invalidations = last.cnt["invalidations"].sum(axis=-1)
    where = np.argwhere(invalidations | last.cnt["invepts"])
    at = tuple(where.T)
    return {
        "guest": [result.trace.name] * len(where),
        "profile": [profiles[number] for number, _ in where],
        "cause": [INVALIDATION_CAUSES[cause] for _, cause in where],
        "generations": np.where(nested[at[0]], invalidations[at], 0),
        "ipis": last.cnt["ipis_by_cause"][at],
        "forced_exits": last.cnt["ipis_by_cause"][at],
        "invepts": last.cnt["invepts"][at],
        "x86_ipis": last.cnt["x86_ipis_by_cause"][at],
        "ipis_saved": last.cnt["ipis_saved"][at],
    }


_WIRING = ("holds", "releases", "host_accesses", "host_faults", "host_ipis", "denied")


def _wiring(result: GuestResult, profiles: Sequence[str]) -> Columns:
    cnt = result.snapshots[-1].cnt
    touched = np.flatnonzero(sum(cnt[name] for name in (*_WIRING, "v_wired")))
    wired = cnt["v_wired"][touched]
    reason = "passthrough" if result.trace.devices else "events"
    columns: Columns = {
        "guest": [result.trace.name] * len(touched),
        "profile": [profiles[int(number)] for number in touched],
        "wired_pages": wired,
        "reason": [reason if count else "" for count in wired],
        "held_at_end": cnt["held"][touched],
    }
    return columns | {name: cnt[name][touched] for name in _WIRING}


def _passthrough(result: GuestResult, profiles: Sequence[str]) -> Columns:
    cnt = result.snapshots[-1].cnt
    devices = result.trace.devices
    every = len(devices)
    bars = np.array([len(device.bars) for device in devices], np.int64)
    ends = bars.cumsum()
    counts = np.concatenate([result.bar_accesses, result.bar_faults[..., None]], axis=-1)
    before = np.insert(counts.cumsum(axis=1), 0, 0, axis=1)
    by_device = (before[:, ends] - before[:, ends - bars]).reshape(-1, 4)
    return {
        "guest": [result.trace.name] * (every * len(profiles)),
        "profile": [name for name in profiles for _ in devices],
        "device": [device.name for device in devices] * len(profiles),
        "bar_bytes": [sum(bar.bytes for bar in device.bars) for device in devices] * len(profiles),
        "domain_pages": [result.trace.ram_pages] * (every * len(profiles)),
        "dma_reads": np.repeat(cnt["dma_reads"], every),
        "dma_writes": np.repeat(cnt["dma_writes"], every),
        "invisible_pages": np.repeat(cnt["dma_pages"], every),
        "bar_reads": by_device[:, 0],
        "bar_writes": by_device[:, 1],
        "bar_fetches": by_device[:, 2],
        "bar_faults": by_device[:, 3],
    }


def _by_interval(result: GuestResult, profiles: Sequence[str]) -> Columns:
    """Return the columns that tables by interval begin with."""
    count = len(result.snapshots)
    return {
        "guest": [result.trace.name] * (count * len(profiles)),
        "profile": [name for name in profiles for _ in range(count)],
        "interval": list(range(count)) * len(profiles),
        "end_time": [snapshot.time for snapshot in result.snapshots] * len(profiles),
    }


def _host_memory(result: GuestResult, host: HostFindings, profiles: Sequence[str]) -> Columns:
    vm = np.stack(host.vm)
    cnt = np.stack([snapshot.cnt for snapshot in result.snapshots])
    columns = {
        "host_pages": vm["v_page_count"],
        "free": vm["v_free_count"],
        "active": vm["v_active_count"],
        "inactive": vm["v_inactive_count"],
        "wired": vm["v_wire_count"],
        "resident": cnt["v_resident"],
        "swap_copies": cnt["swap_copies"],
    } | {name: cnt[name] for name in _LEVELS}
    return _by_interval(result, profiles) | {name: values.T.reshape(-1) for name, values in columns.items()}


def _swap_activity(result: GuestResult, host: HostFindings, profiles: Sequence[str]) -> Columns:
    cnt = np.stack([snapshot.cnt for snapshot in result.snapshots])
    columns = {name: np.diff(cnt[name], axis=0, prepend=0).T.reshape(-1) for name in _GAINED}
    columns["read_ns"] = columns["swap_ins"] * host.options.swap_read_ns
    columns["write_ns"] = columns["pageouts"] * host.options.swap_write_ns
    return _by_interval(result, profiles) | columns


def _swap_candidates(result: GuestResult, host: HostFindings, profiles: Sequence[str]) -> Columns:
    parts = [
        _runs(candidates, host, result, number)
        for number, candidates in enumerate(host.candidates[result.trace.name])
    ]
    columns: Columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    lengths = [len(part["gpa"]) for part in parts]
    queue = columns.pop("queue_number")
    position = columns["position"]
    return columns | {
        "guest": [result.trace.name] * sum(lengths),
        "profile": np.repeat(np.array(profiles, object), lengths),
        "queue": [QUEUES[number] for number in queue],
        "position": np.ma.masked_where(queue == 0, position),
        "age_time": np.ma.masked_less(columns["age_time"], 0),
        "excluded": np.where(
            columns.pop("wired"), "wired", np.where(columns.pop("held"), "held", "")
        ).tolist(),
    }


def _runs(candidates: NDArray[Any], host: HostFindings, result: GuestResult, number: int) -> Columns:
    """Return the runs of neighbouring pages in memory that are alike, under one profile."""
    page = np.flatnonzero(candidates["resident"])
    known = candidates[page]
    alike = np.ones(len(page), bool)
    alike[1:] = page[1:] == page[:-1] + 1
    for name in ("queue", "last_reference", "used", "dirty", "wired", "held", "superpage"):
        alike[1:] &= known[name][1:] == known[name][:-1]
    first = np.flatnonzero(~alike | (np.arange(len(page)) == 0))
    pages = np.diff(np.append(first, len(page)))
    head = known[first]
    age_scans = host.idle_scans[number] - head["last_reference"]
    takable = (head["wired"] == 0) & (head["held"] == 0)
    dirty = head["dirty"] != 0
    clusters = -(-pages // host.cluster_pages[number])
    mapped = np.add.reduceat(known["mapped"].astype(np.int64), first) if len(first) else np.zeros(0, np.int64)
    begin_block, end_block = page[first] // BLOCK_PAGES, (page[first] + pages - 1) // BLOCK_PAGES
    active = int(result.snapshots[-1].pmap["pm_active"][number])
    writes = np.where(takable & dirty, clusters, 0)
    return {
        "gpa": page[first].astype(np.uint64) * np.uint64(PAGE_BYTES),
        "bytes": pages * PAGE_BYTES,
        "queue_number": head["queue"],
        "position": np.minimum.reduceat(known["position"], first) - 1 if len(first) else head["position"],
        "act_count_min": np.minimum.reduceat(known["act_count"], first) if len(first) else head["act_count"],
        "act_count_max": np.maximum.reduceat(known["act_count"], first) if len(first) else head["act_count"],
        "age_scans": age_scans,
        "age_time": host.age_times(result.trace, head["last_reference"]),
        "used": head["used"] != 0,
        "dirty": dirty,
        "superpage": head["superpage"] != 0,
        "wired": head["wired"] != 0,
        "held": head["held"] != 0,
        "writes": writes,
        "demotions": np.where(takable & (head["superpage"] != 0), end_block - begin_block + 1, 0),
        "ipis": np.where(takable, mapped * active, 0),
        "cost_ns": writes * host.options.swap_write_ns,
    }


def _cold_age(result: GuestResult, host: HostFindings, profiles: Sequence[str]) -> Columns:
    columns: Columns = {
        name: [] for name in ("profile", "age_scans", "age_time", "pages", "dirty_pages", "bytes")
    }
    for number, candidates in enumerate(host.candidates[result.trace.name]):
        takable = candidates[
            (candidates["resident"] != 0) & (candidates["wired"] == 0) & (candidates["held"] == 0)
        ]
        scans = host.idle_scans[number]
        dirty = takable["dirty"] != 0
        # A page used since it was last asked has no age, whatever the last scan saw.
        last = np.where(takable["used"] != 0, scans, takable["last_reference"])
        pages = np.cumsum(np.bincount(last, minlength=scans + 1))
        dirty_pages = np.cumsum(np.bincount(last[dirty], minlength=scans + 1))
        ages = np.arange(scans, -1, -1)
        columns["profile"] += [profiles[number]] * len(ages)
        columns["age_scans"] += ages.tolist()
        columns["age_time"] += [
            None if time < 0 else int(time) for time in host.age_times(result.trace, scans - ages)
        ]
        columns["pages"] += pages.tolist()
        columns["dirty_pages"] += dirty_pages.tolist()
        columns["bytes"] += (pages * PAGE_BYTES).tolist()
    return columns | {"guest": [result.trace.name] * len(columns["profile"])}
