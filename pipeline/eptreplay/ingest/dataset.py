"""Guests and their traces: everything a footer tells, before a row is read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from eptreplay.errors import TraceError
from eptreplay.ingest.columns import check_columns
from eptreplay.ingest.devices import check_bars
from eptreplay.ingest.guards import Guard, verified_by, weakest
from eptreplay.ingest.guest_config import load_guest_config
from eptreplay.ingest.guest_facts import guest_facts
from eptreplay.ingest.locate import GuestFiles, locate, unique_names
from eptreplay.ingest.parquet import PARQUET_ERRORS, one_line, open_parquet, read_footer
from eptreplay.ingest.schema import KEY_SEGMENTS, KEY_TIME_UNIT, KEY_VCPUS, Segment
from eptreplay.ingest.segments import ram_ranges
from eptreplay.ingest.statistics import LAST_TIME, ColumnRange, group_statistics
from eptreplay.ingest.times import with_ends

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eptreplay.ingest.devices import Device
    from eptreplay.ingest.footer import Extent, Footer, Group, IndexPlaces


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
    """

    file: Path
    index: int
    rows: int
    first_row: int
    file_row: int
    ranges: Mapping[str, ColumnRange]
    nulls: frozenset[str]
    extents: Mapping[str, Extent]
    null_counts: Mapping[str, int] = field(default_factory=dict)
    indexes: Mapping[str, IndexPlaces] = field(default_factory=dict)

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
    """

    name: str
    files: tuple[Path, ...]
    rows: int
    row_groups: tuple[RowGroup, ...]
    columns: frozenset[str]
    segments: tuple[Segment, ...]
    vcpus: int
    time_unit: str
    metadata: Mapping[str, str]
    digests: Mapping[Path, str]
    pins: tuple[int, ...] = ()
    idle_gap_ns: int | None = None
    devices: tuple[Device, ...] = ()
    verified_by: Guard = Guard.NOTHING

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


class BadGuest(NamedTuple):
    """A guest whose trace cannot be opened, and why."""

    name: str
    files: tuple[Path, ...]
    error: Exception


def find_traces(specs: Sequence[str], *, bad: list[BadGuest] | None = None) -> tuple[GuestTrace, ...]:
    """Find and open the traces that files, folders and globs stand for.

    Args:
        specs: see `locate.locate`.
        bad: takes the guests that cannot be opened, whatever they raise, so that the others can go on;
            without it the first one raises.

    Returns:
        Guests in order of their first appearance, names unique.

    Raises:
        UsageError: a name leads to nothing.
        TraceError: a trace is not what the format says, and `bad` is not given.
    """
    traces: list[GuestTrace] = []
    for guest in locate(specs):
        try:
            traces.extend(open_guest(guest))
        except Exception as error:
            if bad is None:
                raise
            bad.append(BadGuest(guest.name, guest.files, error))
    names = unique_names([(trace.name, trace.files[0]) for trace in traces])
    return tuple(
        trace if trace.name == name else replace(trace, name=name)
        for trace, name in zip(traces, names, strict=True)
    )


def open_trace(path: Path | str) -> GuestTrace:
    """Open one file that holds the trace of one guest.

    Raises:
        TraceError: it is not what the format says, or holds several guests.
    """
    path = Path(path)
    traces = open_guest(GuestFiles(path.name.removesuffix(".parquet"), (path,), path.parent))
    if len(traces) > 1:
        names = ", ".join(f"'{trace.name}'" for trace in traces[:5])
        raise TraceError(
            str(path),
            f"it holds {len(traces)} guests ({names})",
            column="guest",
            expected="one guest",
            advice="open it with find_traces",
        )
    return traces[0]


def open_guest(guest: GuestFiles) -> tuple[GuestTrace, ...]:
    """Open the files of a guest, or the file of several guests.

    Args:
        guest: see `locate.locate`.

    Returns:
        One trace; or, if the file has a `guest` column, one for each of its values.

    Raises:
        TraceError: a file is not what the format says, or two files contradict each other.
    """
    files = [_read_file(path) for path in guest.files]
    first = files[0]
    for other in files[1:]:
        _check_same(first, other)
    named = "guest" in first.columns and any(file.row_groups for file in files)
    groups: dict[str, list[RowGroup]] = {} if named else {guest.name: []}
    for file in files:
        for row_group, value in file.row_groups:
            groups.setdefault(guest.name if value is None else value, []).append(row_group)
    return tuple(_trace(name, rows, files, guest) for name, rows in groups.items())


@dataclass(frozen=True, slots=True)
class _File:
    """What one file says: its row groups with the guest each names, and its columns with types."""

    path: Path
    row_groups: tuple[tuple[RowGroup, str | None], ...]
    columns: Mapping[str, str]
    footer: Footer
    guard: Guard


def _read_file(path: Path) -> _File:
    footer = read_footer(path)
    with open_parquet(path, footer.digest) as file:
        try:
            columns = check_columns(path, file.parquet.schema_arrow)
        except PARQUET_ERRORS as error:
            raise TraceError(str(path), f"its schema is damaged ({one_line(error)})") from error
        guard = verified_by(path, footer, file.fd)
    row_groups = []
    row = 0
    for index, group in enumerate(footer.groups):
        if group.rows:
            row_groups.append(_row_group(path, index, group, row))
            row += group.rows
    return _File(path, tuple(row_groups), columns, footer, guard)


def _row_group(path: Path, index: int, group: Group, row: int) -> tuple[RowGroup, str | None]:
    """Return a row group that begins at a row of its file, and the guest it names."""
    stats = group_statistics(path, index, group)
    found = RowGroup(
        path,
        index,
        group.rows,
        0,
        row,
        stats.ranges,
        stats.nulls,
        extents={name: chunk.extent for name, chunk in group.chunks.items()},
        null_counts=stats.null_counts,
        indexes={
            name: chunk.page_index
            for name, chunk in group.chunks.items()
            if chunk.page_index and name != "guest"
        },
    )
    return found, stats.guest


def _check_same(first: _File, other: _File) -> None:
    """Refuse two files of one guest that cannot be one trace."""
    if first.columns != other.columns:
        differing = sorted(set(first.columns.items()) ^ set(other.columns.items()))
        name = differing[0][0]
        raise TraceError(
            str(other.path),
            f"this file has {other.columns.get(name, 'no such column')}",
            column=name,
            expected=f"{first.columns.get(name, 'no such column')}, as in {first.path}: files of one guest are alike",
        )
    for key in (KEY_SEGMENTS, KEY_VCPUS, KEY_TIME_UNIT):
        if first.footer.metadata.get(key) != other.footer.metadata.get(key):
            raise TraceError(
                str(other.path),
                f"metadata key '{key}' differs from that of {first.path}",
                expected="files of one guest with one layout",
                advice="put the files of different guests into folders guest=NAME/",
            )


def _trace(
    name: str, row_groups: Sequence[RowGroup], files: Sequence[_File], guest: GuestFiles
) -> GuestTrace:
    first = files[0]
    config = load_guest_config(guest.folder, name)
    facts = guest_facts(first.path, first.footer.metadata, config)
    check_bars(config.devices, facts.segments, config.path)
    digests = {file.path: file.footer.digest for file in files}
    numbered = []
    rows = 0
    for group in with_ends(row_groups, digests):
        numbered.append(replace(group, first_row=rows))
        rows += group.rows
    return GuestTrace(
        name=name,
        files=guest.files,
        rows=rows,
        row_groups=tuple(numbered),
        columns=frozenset(first.columns),
        segments=facts.segments,
        vcpus=facts.vcpus,
        time_unit=facts.time_unit,
        metadata=first.footer.metadata,
        digests=digests,
        pins=config.pins,
        idle_gap_ns=config.idle_gap_ns,
        devices=config.devices,
        verified_by=weakest(file.guard for file in files),
    )
