"""Rows of the tables `host_memory` and `swap_activity`: the memory of the host by interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.replay.found.host import HostFindings
    from eptreplay.results.columns import Columns

LEVELS = ("reservations", "reservations_broken", "reservations_refused", "promotions_lost")
"""Columns of `host_memory` that are counters of the guest, as they stand at the end of an interval."""

GAINED = (
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
"""Columns of `swap_activity` that are counters of the guest, as an interval added to them."""


def _by_interval(result: GuestResult, profiles: Sequence[str]) -> Columns:
    """Return the columns that tables by interval begin with."""
    count = len(result.snapshots)
    return {
        "guest": [result.trace.name] * (count * len(profiles)),
        "profile": [name for name in profiles for _ in range(count)],
        "interval": list(range(count)) * len(profiles),
        "end_time": [snapshot.time for snapshot in result.snapshots] * len(profiles),
    }


def host_memory(result: GuestResult, host: HostFindings, profiles: Sequence[str]) -> Columns:
    """Return one row per profile and interval: the host's memory at its end, and the guest's part of it."""
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
    } | {name: cnt[name] for name in LEVELS}
    return _by_interval(result, profiles) | {name: values.T.reshape(-1) for name, values in columns.items()}


def swap_activity(result: GuestResult, host: HostFindings, profiles: Sequence[str]) -> Columns:
    """Return one row per profile and interval: what the page daemon did to the guest, and what came back."""
    cnt = np.stack([snapshot.cnt for snapshot in result.snapshots])
    columns = {name: np.diff(cnt[name], axis=0, prepend=0).T.reshape(-1) for name in GAINED}
    columns["read_ns"] = columns["swap_ins"] * host.options.swap_read_ns
    columns["write_ns"] = columns["pageouts"] * host.options.swap_write_ns
    return _by_interval(result, profiles) | columns
