"""Putting together what the shares of a guest found, each in a replay of its own (replay.py)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.replay.found.snapshots import ClosedInterval, Returns, Snapshot, copied

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eptreplay.replay.found.guest import GuestResult

COUNTED_ONCE = ("sweeps", "harvests")
"""Counters of what happens to the whole guest: every share counts all of it."""


@dataclass(slots=True)
class Share:
    """What one share found.

    Args:
        result: of its own rows; snapshots have the rows of the whole trace.
        upper: at every snapshot: its page-table pages above 2 MB regions (upper_tables).
    """

    result: GuestResult
    upper: list[NDArray[np.uint8]]


def merged(shares: Sequence[Share]) -> GuestResult:
    """Return what all shares found together."""
    results = [share.result for share in shares]
    first = results[0]
    page = np.concatenate([of.page for of in results])
    order = np.argsort(page)
    counted = [of.page_accesses for of in results if of.page_accesses is not None]
    return replace(
        first,
        snapshots=[_snapshot(shares, number) for number in range(len(first.snapshots))],
        faults=np.sum([of.faults for of in results], axis=0),
        page=page[order],
        first_row=np.concatenate([of.first_row for of in results])[order],
        touches=_records([of.touches for of in results])[order],
        regions=_records([of.regions for of in results]),
        page_accesses=np.concatenate(counted)[order] if counted else None,
        seen=np.concatenate([of.seen for of in results], axis=1)[:, order],
        state_sums=[sum(sums) % (1 << 64) for sums in zip(*(of.state_sums for of in results), strict=True)],
    )


def _records(parts: Sequence[Any]) -> Any:  # noqa: ANN401 - record arrays
    return np.concatenate(parts).view(np.recarray)


def _snapshot(shares: Sequence[Share], number: int) -> Snapshot:
    """Return the snapshots of all shares at the end of an interval as one."""
    parts = [share.result.snapshots[number] for share in shares]
    return parts[0]._replace(
        statistics=SharedInterval([part.statistics for part in parts]),
        cnt=_added([part.cnt for part in parts], COUNTED_ONCE),
        pmap=_pmap([part.pmap for part in parts], [share.upper[number] for share in shares]),
    )


def _added(parts: Sequence[NDArray[Any]], counted_once: Sequence[str]) -> NDArray[Any]:
    """Return the sums of records of 64-bit counters; those counted once are those of the first."""
    words = [np.frombuffer(part.tobytes(), np.int64) for part in parts]
    added = np.frombuffer(bytearray(np.sum(words, axis=0)), parts[0].dtype).reshape(parts[0].shape)
    for name in counted_once:
        added[name] = parts[0][name]
    return copied(added)


def _pmap(parts: Sequence[NDArray[Any]], upper: Sequence[NDArray[np.uint8]]) -> NDArray[Any]:
    """Return the pmaps of all shares as one: page-table pages of which several shares have a copy count once."""
    found = np.frombuffer(bytearray(parts[0].tobytes()), parts[0].dtype).reshape(parts[0].shape)
    for name in ("pm_eptgen", "wired_count", "resident_count"):
        found[name] = np.sum([part[name] for part in parts], axis=0)
    found["resident_count"] -= (len(parts) - 1) * found["pm_root_resident"]
    copies = np.sum(upper, axis=0, dtype=np.int64)
    found["resident_count"] -= (copies - np.minimum(copies, 1)).sum(axis=(1, 2))
    return copied(found)


class SharedInterval(ClosedInterval):
    """The interval statistics of one interval of all shares together."""

    __slots__ = ("_first_writes", "_heat", "_returns", "_stretch")

    def __init__(self, parts: Sequence[ClosedInterval]) -> None:
        """Add up the interval statistics of shares."""
        self._returns = tuple(
            Returns(*_summed([of.before for of in history], [of.pages for of in history]))
            for history in zip(*(part.returns for part in parts), strict=True)
        )
        self._stretch, self._heat = _summed([part.stretch for part in parts], [part.heat for part in parts])
        first_writes = np.stack([part.first_writes for part in parts])
        self._first_writes: NDArray[np.int32] = first_writes.sum(axis=0, dtype=np.int32)
        self.tally = _tally([part.tally for part in parts])

    def returns_of(self, history: int) -> Returns:
        """Return those of one of the HISTORIES."""
        return self._returns[history]

    @property
    def stretch(self) -> NDArray[np.int32]:
        """Shape [n]: numbers of the stretches of addresses that were touched, ascending."""
        return self._stretch

    @property
    def heat(self) -> NDArray[np.int32]:
        """Shape [n, 4]: distinct pages of those that were read, written, fetched from, touched."""
        return self._heat

    @property
    def first_writes(self) -> NDArray[np.int32]:
        """Shape [vCPUs]: pages of which each vCPU made the first write."""
        return self._first_writes


def _summed(
    keys: Sequence[NDArray[np.int32]], values: Sequence[NDArray[np.int32]]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return all keys, ascending, each with the sum of its values."""
    key, at = np.unique(np.concatenate(keys), return_inverse=True)
    value = np.concatenate(values)
    total = np.zeros((len(key), *value.shape[1:]), np.int32)
    np.add.at(total, at, value)
    return key, total


def _tally(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the sums of tallies; what is the same for all shares is that of the first."""
    found = np.frombuffer(bytearray(parts[0].tobytes()), parts[0].dtype).reshape(parts[0].shape)
    for name in parts[0].dtype.names or ():
        if name not in {"interval", "no_ops", "deferrable", "deferring", "unbacked_low", "unbacked_high"}:
            found[name] = np.sum([part[name] for part in parts], axis=0)
    outside = [part for part in parts if part["unbacked"][0]]
    if outside:
        found["unbacked_low"] = np.min([part["unbacked_low"] for part in outside], axis=0)
        found["unbacked_high"] = np.max([part["unbacked_high"] for part in outside], axis=0)
    return copied(found)
