"""Guests and their traces: everything a footer tells, before a row is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from eptreplay.errors import TraceError
from eptreplay.ingest.sources.devices import check_bars
from eptreplay.ingest.sources.guards import weakest
from eptreplay.ingest.sources.guest_config import load_guest_config
from eptreplay.ingest.sources.guest_facts import Clocked, guest_facts
from eptreplay.ingest.sources.locate import GuestFiles, locate, unique_names
from eptreplay.ingest.sources.order_of_files import in_order_of_time
from eptreplay.ingest.sources.times import with_ends
from eptreplay.ingest.sources.trace_file import read_file
from eptreplay.ingest.taking.source import AS_IT_IS
from eptreplay.ingest.trace.guest_trace import GuestTrace
from eptreplay.ingest.trace.schema import KEY_CLOCK, KEY_SEGMENTS, KEY_TIME_UNIT, KEY_VCPUS
from eptreplay.ingest.trace.suffixes import without_suffix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.ingest.sources.trace_file import TraceFile
    from eptreplay.ingest.taking.source import Taking
    from eptreplay.ingest.trace.guest_trace import RowGroup
    from eptreplay.ingest.trace.remote_path import AnyPath


class BadGuest(NamedTuple):
    """A guest whose trace cannot be opened, and why."""

    name: str
    files: tuple[AnyPath, ...]
    error: Exception


def find_traces(
    specs: Sequence[str], *, bad: list[BadGuest] | None = None, taking: Taking = AS_IT_IS
) -> tuple[GuestTrace, ...]:
    """Find and open the traces that files, folders and globs stand for.

    Args:
        specs: see `locate.locate`.
        bad: takes the guests that cannot be opened, whatever they raise, so that the others can go on;
            without it the first one raises.
        taking: what the user says of the columns.

    Returns:
        Guests in order of their first appearance, names unique.

    Raises:
        UsageError: a name leads to nothing.
        TraceError: a trace is not what the format says, and `bad` is not given.
    """
    traces: list[GuestTrace] = []
    for guest in locate(specs):
        try:
            traces.extend(open_guest(guest, taking))
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
    traces = open_guest(GuestFiles(without_suffix(path.name), (path,), path.parent))
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


def open_guest(guest: GuestFiles, taking: Taking = AS_IT_IS) -> tuple[GuestTrace, ...]:
    """Open the files of a guest, or the file of several guests.

    Args:
        guest: see `locate.locate`.
        taking: what the user says of the columns.

    Returns:
        One trace; or, if the file has a `guest` column, one for each of its values.

    Raises:
        TraceError: a file is not what the format says, or two files contradict each other.
    """
    files, ordered = in_order_of_time([read_file(path, taking) for path in guest.files])
    first = files[0]
    for other in files[1:]:
        _check_same(first, other)
    named = "guest" in first.columns and any(file.row_groups for file in files)
    groups: dict[str, list[RowGroup]] = {} if named else {guest.name: []}
    for file in files:
        for row_group, value in file.row_groups:
            groups.setdefault(guest.name if value is None else value, []).append(row_group)
    said = tuple(dict.fromkeys(each for file in files for each in file.taken)) + ordered
    return tuple(
        replace(_trace(name, rows, files, guest, taking), taken=said) for name, rows in groups.items()
    )


def _check_same(first: TraceFile, other: TraceFile) -> None:
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
    if first.time_unit != other.time_unit:
        raise TraceError(
            str(other.path),
            f"its times are in {other.time_unit or 'a unit that metadata say'} by their type or name",
            column="time",
            expected=f"{first.time_unit or 'a unit that metadata say'}, as in {first.path}: files of one guest are alike",
        )
    for key in (KEY_SEGMENTS, KEY_VCPUS, KEY_TIME_UNIT, KEY_CLOCK):
        if first.footer.metadata.get(key) != other.footer.metadata.get(key):
            raise TraceError(
                str(other.path),
                f"metadata key '{key}' differs from that of {first.path}",
                expected="files of one guest with one layout",
                advice="put the files of different guests into folders guest=NAME/",
            )


def _trace(
    name: str, row_groups: Sequence[RowGroup], files: Sequence[TraceFile], guest: GuestFiles, taking: Taking
) -> GuestTrace:
    first = files[0]
    config = load_guest_config(guest.folder, name)
    facts = guest_facts(first.path, first.footer.metadata, config, Clocked(first.time_unit, taking.clock_mhz))
    check_bars(config.devices, facts.segments, config.path)
    digests = {file.path: file.footer.digest for file in files}
    numbered = []
    rows = 0
    for group in with_ends(row_groups, digests):
        numbered.append(replace(group, first_row=rows))
        rows += group.rows
    return GuestTrace(
        name=name,
        files=tuple(file.path for file in files),
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
        config=config.path,
    )
