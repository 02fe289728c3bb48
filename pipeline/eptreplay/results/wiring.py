"""Rows of the tables `wiring` and `passthrough`: memory wired and held, and the devices of a guest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.results.columns import Columns

COUNTS = ("holds", "releases", "host_accesses", "host_faults", "host_ipis", "denied")


def wiring(result: GuestResult, profiles: Sequence[str]) -> Columns:
    """Return one row per profile under which the host wired, held or accessed memory of the guest."""
    cnt = result.snapshots[-1].cnt
    touched = np.flatnonzero(sum(cnt[name] for name in (*COUNTS, "v_wired")))
    wired = cnt["v_wired"][touched]
    reason = "passthrough" if result.trace.devices else "events"
    columns: Columns = {
        "guest": [result.trace.name] * len(touched),
        "profile": [profiles[int(number)] for number in touched],
        "wired_pages": wired,
        "reason": [reason if count else "" for count in wired],
        "held_at_end": cnt["held"][touched],
    }
    return columns | {name: cnt[name][touched] for name in COUNTS}


def passthrough(result: GuestResult, profiles: Sequence[str]) -> Columns:
    """Return one row per profile and device."""
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
