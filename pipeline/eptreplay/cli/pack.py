"""The command `pack`: traces written again in the fastest layout."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from eptreplay.cli.console import ProgressBar, note, say
from eptreplay.cli.traces import open_traces
from eptreplay.errors import Exit, OutputError, UsageError
from eptreplay.ingest.native.rows import BadRows
from eptreplay.ingest.native.whole_file import check_target
from eptreplay.ingest.packing.pack import Packing, pack_trace
from eptreplay.ingest.sources.sizes import bytes_of
from eptreplay.ingest.taking.source import Taking
from eptreplay.ingest.trace.schema import COLUMNS
from eptreplay.run.failures import Failure, forget_locals
from eptreplay.units import CYCLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.ingest.packing.pack import Packed
    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.request.choices import OnBadRows

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
"""Names of guests that are names of files as they are."""

_KNOWN = [column.name for column in COLUMNS]


class PackRequest(NamedTuple):
    """The arguments and options of `pack`, as given."""

    traces: Sequence[str]
    out: Path
    sort: bool
    dense: bool
    columns: Sequence[str]
    hexadecimal: bool
    seconds: bool
    clock_mhz: float | None
    on_bad_rows: OnBadRows
    overwrite: bool


def pack(request: PackRequest) -> int:
    """Carry out `pack` and return the exit code."""
    taking = Taking(
        _renamed(request.columns), request.hexadecimal, seconds=request.seconds, clock_mhz=request.clock_mhz
    )
    traces, failed = open_traces(request.traces, taking=taking)
    _refuse_without_effect(request, traces)
    targets = _targets(request, traces)
    for trace, target in zip(traces, targets, strict=True):
        _refuse_input(trace, target)
    left_out = 0
    with ProgressBar(sum(trace.rows for trace in traces), "rows", "packing") as bar:
        packing = Packing(request.sort, request.dense, request.on_bad_rows, request.overwrite, bar.advance)
        for trace, target in zip(traces, targets, strict=True):
            skipped = BadRows()
            try:
                packed = pack_trace(trace, target, packing, skipped)
            except Exception as error:  # noqa: BLE001 - whatever a trace raises, the others are packed
                forget_locals(error)
                failed.append(Failure(trace.name, error))
                continue
            left_out += skipped.total
            _say_packed(trace, target, packed, skipped)
    for failure in failed:
        note(failure.message())
    return Exit.BAD_INPUT if failed else Exit.DIFFERENCES if left_out else Exit.GOOD


def _renamed(columns: Sequence[str]) -> dict[str, str]:
    """Return the names of columns that were given, by the column of a trace."""
    renamed: dict[str, str] = {}
    for each in columns:
        known, equals, name = each.partition("=")
        if not equals or not name or known not in _KNOWN:
            raise UsageError(
                f"--column {each}: give one of {', '.join(_KNOWN)}, and the column of the file, as in gpa=addr"
            )
        if known in renamed:
            raise UsageError(f"--column {each}: {known} is given twice; leave one out")
        renamed[known] = name
    return renamed


def _refuse_without_effect(request: PackRequest, traces: Sequence[GuestTrace]) -> None:
    """Refuse options that change nothing for these traces."""
    if request.hexadecimal and not any("in digits" in said for trace in traces for said in trace.taken):
        raise UsageError("--hex needs a column of numbers that are text")
    if request.seconds and not any("in seconds, rounded" in said for trace in traces for said in trace.taken):
        raise UsageError("--float-seconds needs a column of times that are floats")
    if request.clock_mhz is not None and not any(trace.time_unit.startswith(CYCLES) for trace in traces):
        raise UsageError(
            "--clock-mhz needs a trace that counts cycles, by time_unit in its metadata or in guest.toml"
        )


def _targets(request: PackRequest, traces: Sequence[GuestTrace]) -> list[Path]:
    """Return the file that each trace is packed into, and make the folder of several."""
    out = request.out
    if len(traces) == 1 and not out.is_dir():
        targets = [out]
    else:
        try:
            out.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{out}: {len(traces)} guests are packed into a folder, one file each, and this cannot be one ({error.strerror})"
            ) from error
        targets = [out / f"{_file_name(trace.name)}.parquet" for trace in traces]
    for target in targets:
        check_target(target, overwrite=request.overwrite)
    return targets


def _file_name(guest: str) -> str:
    """Return the name of a file for a guest: its own, if that can be one."""
    if _PLAIN.fullmatch(guest):
        return guest
    from eptreplay.tables.files import slug  # noqa: PLC0415 - few names need it, and it loads polars

    return slug(guest)


def _refuse_input(trace: GuestTrace, target: Path) -> None:
    """Refuse to replace what is read."""
    if target.exists() and any(isinstance(file, Path) and file.samefile(target) for file in trace.files):
        raise OutputError(f"{target}: is what is to be packed; give another file with -o")


def _say_packed(trace: GuestTrace, target: Path, packed: Packed, skipped: BadRows) -> None:
    """Print what was written."""
    before = bytes_of(trace)
    after = target.stat().st_size
    rows = max(1, packed.rows)
    say(
        f"{target}: {packed.rows:,} rows, {after / rows:.2f} bytes a row (before: {before / max(1, trace.rows):.2f}); "
        "listed in SHA256SUMS beside it"
    )
    if packed.moved:
        say(f"  sorted: time went back at {packed.moved:,} rows")
    if packed.pages is not None:
        say(f"  {packed.pages:,} pages, numbered by first touch; which pages were neighbours is lost")
    if packed.divided:
        say(f"  {packed.divided:,} accesses crossed the end of a page and became two rows each")
    for reason, count in skipped.counts.items():
        say(f"  {count:,} bad rows left out: {reason}; the first: {skipped.first[reason]}")
    if trace.pins or trace.devices or trace.idle_gap_ns is not None:
        say(
            f"  pin, passthrough and idle_gap are in {trace.config} only: put a guest.toml with them beside the new file, too"
        )
