"""The trace of a guest: its files, its row groups, and what is known of the guest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eptreplay.ingest.trace.guard import Guard
from eptreplay.ingest.trace.ranges import LAST_TIME, ColumnRange
from eptreplay.ingest.trace.segments import ram_ranges

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from eptreplay.ingest.trace.devices import Device
    from eptreplay.ingest.trace.extents import Extent, IndexPlaces
    from eptreplay.ingest.trace.remote_path import AnyPath
    from eptreplay.ingest.trace.schema import Segment
    from eptreplay.ingest.trace.source import Source


@dataclass(frozen=True, slots=True)
class RowGroup:
    """One row group of a guest's trace.

    Args:
        file: the file it is in.
        index: its number in that file, from 0.
        rows: its rows.
        first_row: number of its first row in the guest's trace, from 0.
        file_row: number of its first row in its file, from 0.
        ranges: smallest and largest value of each integer column, where the statistics say.
        nulls: columns that hold nulls, where the statistics say.
        extents: where the pages of each known column are.
        null_counts: nulls of each known column, where the statistics say.
        indexes: where the page index of each known integer column is that has one.
        sources: where each column comes from, if one of the file is not stored as the schema says; empty: all are.
    """

    file: AnyPath
    index: int
    rows: int
    first_row: int
    file_row: int
    ranges: Mapping[str, ColumnRange]
    nulls: frozenset[str]
    extents: Mapping[str, Extent]
    null_counts: Mapping[str, int] = field(default_factory=dict)
    indexes: Mapping[str, IndexPlaces] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)

    def spans(self, columns: Iterable[str]) -> list[tuple[int, int]]:
        """Return the bytes of the file, from and up to, that hold columns and what the page index says of them."""
        found = []
        for name in columns:
            found.append(self.extents[name].span)
            found += self.indexes[name].spans if name in self.indexes else ()
        return found

    @property
    def time_min(self) -> int | None:
        """Time of the first row, if the statistics say and it is one that a row may have."""
        return self._time(0)

    @property
    def time_max(self) -> int | None:
        """Time of the last row, if the statistics say and it is one that a row may have."""
        return self._time(1)

    @property
    def vcpu_min(self) -> int | None:
        """Smallest vCPU number, if the statistics say."""
        return self._bound("vcpu", 0)

    @property
    def vcpu_max(self) -> int | None:
        """Largest vCPU number, if the statistics say."""
        return self._bound("vcpu", 1)

    @property
    def op_max(self) -> int | None:
        """Largest operation code, if the statistics say."""
        return self._bound("op", 1)

    @property
    def vcpu_constant(self) -> int | None:
        """The one vCPU of all its rows, if the statistics say that there is just one."""
        return self.vcpu_min if self.vcpu_min == self.vcpu_max else None

    def _time(self, which: int) -> int | None:
        time = self._bound("time", which)
        return None if time is None or time > LAST_TIME else time

    def _bound(self, column: str, which: int) -> int | None:
        known = self.ranges.get(column)
        return None if known is None else known[which]


@dataclass(frozen=True, slots=True)
class GuestTrace:
    """The trace of one guest and what is known of the guest.

    Args:
        name: unique among the guests of a run.
        files: in the order of the accesses.
        rows: in all files.
        row_groups: in the order of the accesses.
        columns: known columns that every file has.
        segments: memory layout in ascending order of address, without overlaps.
        vcpus: number of virtual CPUs.
        time_unit: one of `schema.TIME_UNITS`.
        metadata: key-value metadata of the first file, as text.
        digests: for each file the SHA-256 of its footer: another trace has others.
        pins: host CPU of every vCPU; empty: that of its number.
        idle_gap_ns: gap between accesses, ns, across which a vCPU counts as halted; None: nobody says.
        devices: passed through to the guest.
        verified_by: what guards its files, the weakest of them.
        taken: how it was taken where it is not stored as the schema says, sentence by sentence.
        config: the guest.toml that was used; empty: none.
    """

    name: str
    files: tuple[AnyPath, ...]
    rows: int
    row_groups: tuple[RowGroup, ...]
    columns: frozenset[str]
    segments: tuple[Segment, ...]
    vcpus: int
    time_unit: str
    metadata: Mapping[str, str]
    digests: Mapping[AnyPath, str]
    pins: tuple[int, ...] = ()
    idle_gap_ns: int | None = None
    devices: tuple[Device, ...] = ()
    verified_by: Guard = Guard.NOTHING
    taken: tuple[str, ...] = ()
    config: str = ""

    def ram_ranges(self) -> tuple[tuple[int, int], ...]:
        """Half-open ranges of guest page numbers that are memory, ascending."""
        return ram_ranges(self.segments)

    @property
    def first_time(self) -> int | None:
        """Earliest time of the first row group; None if all are null, or there is none."""
        return self.row_groups[0].time_min if self.row_groups else None

    @property
    def last_time(self) -> int | None:
        """Latest time of the last row group; None if all are null, or there is none."""
        return self.row_groups[-1].time_max if self.row_groups else None

    @property
    def ram_pages(self) -> int:
        """Pages of memory."""
        return sum(high - low for low, high in self.ram_ranges())
