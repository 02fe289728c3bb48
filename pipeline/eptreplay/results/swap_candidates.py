"""Rows of the tables `swap_candidates` and `cold_age`: what the page daemon would take at the end of a guest's trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.model.vm import swap_candidates as flags
from eptreplay.units import BLOCK_PAGES, PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.replay.found.host import HostFindings
    from eptreplay.results.columns import Columns

QUEUES = ("none", "inactive", "active")


def swap_candidates(result: GuestResult, host: HostFindings, profiles: Sequence[str]) -> Columns:
    """Return one row per profile and run of neighbouring pages that are alike."""
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
    at_end = host.looks[result.trace.name]
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
        "age_scans": at_end.idle_scans[number] - head["last_reference"],
        "age_time": host.age_times(result.trace, head["last_reference"]),
        "used": _has(head, flags.USED),
        "dirty": _has(head, flags.DIRTY),
        "superpage": _has(head, flags.SUPERPAGE),
        "wired": _has(head, flags.WIRED),
        "held": _has(head, flags.HELD),
        "cost_ns": writes * host.options.swap_write_ns,
        "writes": writes,
    } | _predictions(page, known, first, host, at_end.active[number])


def _predictions(
    page: NDArray[np.int64], known: NDArray[Any], first: NDArray[np.int64], host: HostFindings, active: int
) -> Columns:
    """Return what taking the pages of each run would cost, and what bringing them back would, without writes to swap.

    Args:
        page: shape [n]: guest pages in memory.
        known: CANDIDATE [n] of those.
        first: shape [runs]: where each run begins.
        host: the host.
        active: CPUs that run the guest.
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


def cold_age(result: GuestResult, host: HostFindings, profiles: Sequence[str]) -> Columns:
    """Return one row per profile and age, from the oldest to the youngest."""
    columns: Columns = {
        name: [] for name in ("profile", "age_scans", "age_time", "pages", "dirty_pages", "bytes")
    }
    at_end = host.looks[result.trace.name]
    for number, candidates in enumerate(at_end.candidates):
        takable = candidates[_takable(candidates)]
        scans = at_end.idle_scans[number]
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
