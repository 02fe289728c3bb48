"""Rows of the tables `faults` and `fault_intervals`: VM exits by kind and cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.replay.found.snapshots import CAUSES, EMULATED_CAUSES, KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.results.columns import Columns


def faults(result: GuestResult, profiles: Sequence[str]) -> Columns:
    """Return one row per profile, kind and cause that occurred."""
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


def fault_intervals(result: GuestResult, profiles: Sequence[str]) -> Columns:
    """Return one row per profile, interval, kind and cause that occurred."""
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
