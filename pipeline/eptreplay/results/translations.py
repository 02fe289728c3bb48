"""Rows of the table `translations`: TLB misses and page walks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.model.cpu.tlb import STRUCTURES, TLB_COUNTERS, WALK_LEVELS, walk_references
from eptreplay.units import BLOCK_PAGES, PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.replay.found.guest import GuestResult


def translations(result: GuestResult, profiles: Sequence[str]) -> dict[str, Any]:
    """Return one row per profile; none if TLBs were not modelled."""
    found = result.tlb
    if found is None:
        profiles, found = (), np.zeros(0, TLB_COUNTERS)
    guest, host = _references(found["walks"], result.guest_large)
    columns: dict[str, Any] = {
        "guest": [result.trace.name] * len(profiles),
        "profile": list(profiles),
        "guest_page_bytes": [BLOCK_PAGES * PAGE_BYTES if result.guest_large else PAGE_BYTES] * len(profiles),
        "walks_4k": found["walks"][:, 0].sum(axis=-1),
        "walks_2m": found["walks"][:, 1].sum(axis=-1),
        "walk_refs": guest.sum(axis=1) + host.sum(axis=1),
        "dirty_walks": found["dirty_walks"],
        "stale_hits": found["stale"],
        "flushes": found["flushes"],
        "invepts": found["invepts"],
    }
    for kind, letter in enumerate("rwx"):
        columns[f"first_misses_{letter}"] = found["first_misses"][:, kind]
        columns[f"misses_{letter}"] = found["misses"][:, kind]
    for level in range(WALK_LEVELS):
        columns[f"guest_refs_l{level + 1}"] = guest[:, level]
        columns[f"host_refs_l{level + 1}"] = host[:, level]
    return columns


def _references(walks: np.ndarray[Any, Any], guest_large: bool) -> tuple[Any, Any]:
    """Return the references of walks (shape [profiles, sizes, structures]) to the guest's and the host's tables by level."""
    guest = np.zeros((len(walks), WALK_LEVELS), np.int64)
    host = np.zeros((len(walks), WALK_LEVELS), np.int64)
    for size in range(2):
        for structure in range(STRUCTURES + 1):
            to_guest, to_host = walk_references(guest_large, bool(size), structure)
            guest += walks[:, size, structure, None] * to_guest
            host += walks[:, size, structure, None] * to_host
    return guest, host
