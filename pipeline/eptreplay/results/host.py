"""From what a host and its guests did to the rows of the host's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.model.vm import swap_candidates as flags
from eptreplay.tables.host import HOST_TABLES
from eptreplay.units import BLOCK_PAGES, PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.replay.found.host import HostFindings

Columns = dict[str, Any]

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
        for number, candidates in enumerate(host.looks[result.trace.name].candidates)
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


def _has(candidates: NDArray[Any], flag: int) -> NDArray[np.bool_]:
    """Return for every candidate whether it has a flag."""
    has: NDArray[np.bool_] = (candidates["flags"] & flag) != 0
    return has


def _takable(candidates: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which candidates could be taken: pages in memory that nothing keeps there."""
    takable: NDArray[np.bool_] = (
        candidates["flags"] & (flags.RESIDENT | flags.WIRED | flags.HELD)
    ) == flags.RESIDENT
    return takable


def _runs(candidates: NDArray[Any], host: HostFindings, result: GuestResult, number: int) -> Columns:
    """Return the runs of neighbouring pages in memory that are alike, under one profile."""
    look = host.looks[result.trace.name]
    page = np.flatnonzero(_has(candidates, flags.RESIDENT))
    known = candidates[page]
    alike = np.ones(len(page), bool)
    alike[1:] = page[1:] == page[:-1] + 1
    likeness = known["flags"] & (flags.USED | flags.DIRTY | flags.WIRED | flags.HELD | flags.SUPERPAGE)
    for values in (known["queue"], known["last_reference"], likeness):
        alike[1:] &= values[1:] == values[:-1]
    first = np.flatnonzero(~alike | (np.arange(len(page)) == 0))
    pages = np.diff(np.append(first, len(page)))
    head = known[first]
    writes = np.where(_takable(head) & _has(head, flags.DIRTY), -(-pages // host.cluster_pages[number]), 0)
    return {
        "gpa": page[first].astype(np.uint64) * np.uint64(PAGE_BYTES),
        "bytes": pages * PAGE_BYTES,
        "queue_number": head["queue"],
        "position": _reduced(np.minimum, known["position"], first) - 1,
        "act_count_min": _reduced(np.minimum, known["act_count"], first),
        "act_count_max": _reduced(np.maximum, known["act_count"], first),
        "age_scans": look.idle_scans[number] - head["last_reference"],
        "age_time": host.age_times(result.trace, head["last_reference"]),
        "used": _has(head, flags.USED),
        "dirty": _has(head, flags.DIRTY),
        "superpage": _has(head, flags.SUPERPAGE),
        "wired": _has(head, flags.WIRED),
        "held": _has(head, flags.HELD),
        "cost_ns": writes * host.options.swap_write_ns,
        "writes": writes,
    } | _predictions(page, known, first, host, look.active[number])


def _predictions(
    page: NDArray[np.int64], known: NDArray[Any], first: NDArray[np.int64], host: HostFindings, active: int
) -> Columns:
    """Return what it would take to take the pages of each run, and to bring them back, but for writes to swap.

    Args:
        page: shape [n]: guest pages in memory.
        known: CANDIDATE [n] of those.
        first: shape [runs]: where each run begins.
        host: the host.
        active: CPUs in the guest.
    """
    takable = _takable(known)
    demotes = np.zeros(len(page), bool)
    whole = np.flatnonzero(takable & _has(known, flags.SUPERPAGE))
    demotes[whole[np.unique(page[whole] // BLOCK_PAGES, return_index=True)[1]]] = True
    # A written page loses the right to be written before it is written to swap, and its mapping when it is freed.
    # The daemon takes pages that were not used; a superpage that was not used is unmapped whole as the first one goes.
    mapped = takable & _has(known, flags.MAPPED) & ~_has(known, flags.SUPERPAGE)
    protected = mapped & _has(known, flags.DIRTY) & _has(known, flags.WRITEABLE)
    comes_back = takable & _has(known, flags.DIRTY | flags.COPIED)
    reads = _reduced(np.add, comes_back.astype(np.int64), first)
    return {
        "demotions": _reduced(np.add, demotes.astype(np.int64), first),
        "ipis": _reduced(np.add, mapped.astype(np.int64) + protected + demotes, first) * active,
        "reads": reads,
        "read_ns": reads * host.options.swap_read_ns,
    }


def _reduced(function: np.ufunc, values: NDArray[Any], first: NDArray[np.int64]) -> NDArray[Any]:
    """Return a function over the values of each run."""
    found: NDArray[Any] = function.reduceat(values, first) if len(first) else values[:0]
    return found


def _cold_age(result: GuestResult, host: HostFindings, profiles: Sequence[str]) -> Columns:
    columns: Columns = {
        name: [] for name in ("profile", "age_scans", "age_time", "pages", "dirty_pages", "bytes")
    }
    look = host.looks[result.trace.name]
    for number, candidates in enumerate(look.candidates):
        takable = candidates[_takable(candidates)]
        scans = look.idle_scans[number]
        dirty = _has(takable, flags.DIRTY)
        # A page used since it was last asked has no age, whatever the last scan saw.
        last = np.where(_has(takable, flags.USED), scans, takable["last_reference"])
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
