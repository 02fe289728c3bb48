"""Guests and their traces: everything a footer tells, before a row is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from eptreplay.errors import TraceError
from eptreplay.ingest.native.columns import check_columns
from eptreplay.ingest.parquet.file import PARQUET_ERRORS, one_line, open_parquet, read_footer
from eptreplay.ingest.parquet.statistics import group_statistics
from eptreplay.ingest.sources.devices import check_bars
from eptreplay.ingest.sources.guards import verified_by, weakest
from eptreplay.ingest.sources.guest_config import load_guest_config
from eptreplay.ingest.sources.guest_facts import guest_facts
from eptreplay.ingest.sources.locate import GuestFiles, locate, unique_names
from eptreplay.ingest.sources.times import with_ends
from eptreplay.ingest.trace.guest_trace import GuestTrace, RowGroup
from eptreplay.ingest.trace.schema import KEY_SEGMENTS, KEY_TIME_UNIT, KEY_VCPUS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eptreplay.ingest.parquet.footer import Footer, Group
    from eptreplay.ingest.trace.guard import Guard
    from eptreplay.ingest.trace.remote_path import AnyPath


class BadGuest(NamedTuple):
    """A guest whose trace cannot be opened, and why."""

    name: str
    files: tuple[AnyPath, ...]
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

    path: AnyPath
    row_groups: tuple[tuple[RowGroup, str | None], ...]
    columns: Mapping[str, str]
    footer: Footer
    guard: Guard


def _read_file(path: AnyPath) -> _File:
    footer = read_footer(path)
    with open_parquet(path, footer.digest) as file:
        try:
            columns = check_columns(path, file.parquet.schema_arrow)
        except PARQUET_ERRORS as error:
            raise TraceError(str(path), f"its schema is damaged ({one_line(error)})") from error
        guard = verified_by(path, footer, file.read_at)
    row_groups = []
    row = 0
    for index, group in enumerate(footer.groups):
        if group.rows:
            row_groups.append(_row_group(path, index, group, row))
            row += group.rows
    return _File(path, tuple(row_groups), columns, footer, guard)


def _row_group(path: AnyPath, index: int, group: Group, row: int) -> tuple[RowGroup, str | None]:
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
