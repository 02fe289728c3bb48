"""Rows of the tables `invalidations` and `ipis`: what was invalidated, the IPIs and INVEPTs it took, by cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.results.columns import Columns

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


def invalidations(result: GuestResult, profiles: Sequence[str]) -> Columns:
    """Return one row per profile, cause and kind of invalidation that occurred."""
    counts = result.snapshots[-1].cnt["invalidations"]
    where = np.argwhere(counts)
    return {
        "guest": [result.trace.name] * len(where),
        "profile": [profiles[number] for number, _, _ in where],
        "cause": [INVALIDATION_CAUSES[cause] for _, cause, _ in where],
        "kind": [INVALIDATION_KINDS[kind] for _, _, kind in where],
        "count": counts[tuple(where.T)],
    }


def ipis(result: GuestResult, profiles: Sequence[str]) -> Columns:
    """Return one row per profile and cause that occurred."""
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
