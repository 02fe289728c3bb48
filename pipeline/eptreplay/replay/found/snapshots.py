"""Snapshots: what is known of a replay at the end of an interval, copied out of the model before the next interval closes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eptreplay.model.statistics.intervals import HISTORIES
from eptreplay.model.statistics.pack import HEAT_COLUMNS, STRETCHES, pack_interval, room_for_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from eptreplay.model.state.state import State
    from eptreplay.model.statistics.intervals import IntervalStatistics


CAUSES = (
    "accessed",
    "dirty",
    "first_use",
    "unmapped",
    "write_protected",
    "superpage_protected",
    "swapped_out",
    "freed_clean",
)
KINDS = ("read", "write", "fetch")
EMULATED_CAUSES = 2  # the first two of CAUSES


class Returns(NamedTuple):
    """Pages that came up in an interval, by when they did before.

    Args:
        before: shape [n]: 1 + the interval of the time before, 0 for none; each once, in no order.
        pages: shape [n]: how many.
    """

    before: NDArray[np.int32]
    pages: NDArray[np.int32]


def copied(records: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only copy of records, made of their bytes: numpy would copy field by field, 20 times slower."""
    return np.frombuffer(records.tobytes(), records.dtype).reshape(records.shape)


class ClosedInterval:
    """The interval statistics of one interval."""

    __slots__ = ("_counts", "_packed", "tally")

    def __init__(
        self, states: State, statistics: IntervalStatistics, guest: int, tally: NDArray[Any]
    ) -> None:
        """Copy the statistics of a guest's interval that closed last; `tally` is statistics.tally[guest] as a plain array."""
        packed = room_for_interval(statistics)
        self._counts = np.empty(HISTORIES + 1, np.int64)
        self._packed = packed[: pack_interval(states, statistics, guest, packed, self._counts)].copy()
        self.tally = copied(tally)

    @property
    def returns(self) -> tuple[Returns, ...]:
        """One for each of the HISTORIES."""
        return tuple(map(self.returns_of, range(HISTORIES)))

    def returns_of(self, history: int) -> Returns:
        """Return those of one of the HISTORIES: slices, as there are many intervals."""
        *before, count = self._counts[: history + 1].tolist()
        begin = 2 * sum(before)
        return Returns(self._packed[begin : begin + count], self._packed[begin + count : begin + 2 * count])

    @property
    def stretch(self) -> NDArray[np.int32]:
        """Shape [n]: numbers of the stretches of addresses that were touched, ascending."""
        begin = 2 * int(self._counts[:HISTORIES].sum())
        return self._packed[begin : begin + int(self._counts[STRETCHES])]

    @property
    def heat(self) -> NDArray[np.int32]:
        """Shape [n, 4]: distinct pages of those that were read, written, fetched from, touched."""
        begin, count = 2 * int(self._counts[:HISTORIES].sum()), int(self._counts[STRETCHES])
        return self._packed[begin + count : begin + (1 + HEAT_COLUMNS) * count].reshape(count, HEAT_COLUMNS)

    @property
    def first_writes(self) -> NDArray[np.int32]:
        """Shape [vCPUs]: pages of which each vCPU made the first write."""
        begin = 2 * int(self._counts[:HISTORIES].sum()) + (1 + HEAT_COLUMNS) * int(self._counts[STRETCHES])
        return self._packed[begin:]


class OtherWrites(NamedTuple):
    """What others than vCPUs did to a guest's memory in one interval.

    Args:
        hypervisor: pages that the hypervisor was the first to write.
        devices: pages that nobody but devices wrote, by the number of the device that was first.
        accesses: to pages, of all of them.
    """

    hypervisor: int = 0
    devices: Mapping[int, int] = {}
    accesses: int = 0


class Snapshot(NamedTuple):
    """Counters and interval statistics at one moment.

    Args:
        rows: rows replayed so far.
        time: time of the stop, in the trace's unit; None where only the row is known.
        statistics: of the interval that closed last.
        cnt: COUNTERS [profiles].
        pmap: PMAP [profiles].
        others: what others than vCPUs wrote in that interval.
    """

    rows: int
    time: int | None
    statistics: ClosedInterval
    cnt: NDArray[np.void]
    pmap: NDArray[np.void]
    others: OtherWrites


def stacked(records: Sequence[NDArray[np.void]]) -> NDArray[np.void]:
    """Return records of one type and shape along a new first axis; numpy.stack would compare all fields of every record."""
    first = records[0]
    return np.frombuffer(b"".join(record.tobytes() for record in records), first.dtype).reshape(
        -1, *first.shape
    )


def counters(snapshots: Sequence[Snapshot]) -> dict[str, NDArray[np.int64]]:
    """Return all counters at several moments, cumulative: shape [snapshots, profiles] by name, as the tables order them."""
    tally = stacked([snapshot.statistics.tally for snapshot in snapshots])
    cnt = stacked([snapshot.cnt for snapshot in snapshots])
    pmap = stacked([snapshot.pmap for snapshot in snapshots])
    emulated = cnt["faults"][..., :EMULATED_CAUSES].sum(axis=-1)
    resolved = cnt["faults"][..., EMULATED_CAUSES:].sum(axis=-1)
    left = emulated + resolved
    every = np.ones(cnt.shape, np.int64)
    return {
        "rows": np.array([[snapshot.rows] for snapshot in snapshots]) * every,
        "reads": tally["reads"] * every,
        "writes": tally["writes"] * every,
        "fetches": tally["fetches"] * every,
        "unbacked": tally["unbacked"] * every,
        "unbacked_rows": tally["unbacked_rows"] * every,
        "hit_r": tally["reads"] - left[..., 0],
        "hit_w": tally["writes"] - left[..., 1],
        "hit_x": tally["fetches"] - left[..., 2],
        "ad_emulated_r": emulated[..., 0],
        "ad_emulated_w": emulated[..., 1],
        "vm_faults_r": resolved[..., 0],
        "vm_faults_w": resolved[..., 1],
        "vm_faults_x": resolved[..., 2],
        "traps": cnt["traps"],
        "pages_allocated": cnt["pages_allocated"],
        "promotions": cnt["promotions"],
        "demotions": cnt["demotions"],
        "p_failures": cnt["p_failures"],
        "mappings": cnt["mappings"],
        "resident": pmap["resident_count"],
        "wired": pmap["wired_count"],
        "eptgen": pmap["pm_eptgen"],
        "ipis": cnt["ipis"],
        "x86_ipis": cnt["x86_ipis"],
        "inv_page": cnt["inv_page"],
        "inv_range": cnt["inv_range"],
        "inv_all": cnt["inv_all"],
        "dirty_calls": cnt["dirty_calls"],
        "sweeps": cnt["sweeps"],
        "ts_referenced": cnt["ts_referenced"],
        "dirty_last_harvest": cnt["dirty_last_harvest"],
        "dirty_all_harvests": cnt["dirty_all_harvests"],
        "soft_maps": cnt["soft_maps"],
        "soft_fails": cnt["soft_fails"],
        "soft_fail_reads": cnt["soft_fail_reads"],
    }
