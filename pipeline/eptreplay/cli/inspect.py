"""The command `inspect`: what is in traces, in about a second, with what of it is exact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eptreplay.cli.console import ProgressBar, note, say
from eptreplay.cli.json_output import STANDARD_OUTPUT, write_json
from eptreplay.cli.traces import open_traces
from eptreplay.errors import Exit, UsageError
from eptreplay.ingest.importing.format import Approximated
from eptreplay.ingest.inspecting.look import look_at
from eptreplay.ingest.sources.sizes import bytes_of
from eptreplay.ingest.taking.source import Taking
from eptreplay.ingest.trace.guard import MANIFEST
from eptreplay.ingest.trace.schema import (
    KEY_CLOCK,
    KEY_MEMORY_BYTES,
    KEY_SEGMENTS,
    KEY_TIME,
    KEY_TIME_UNIT,
    KEY_VCPUS,
    Op,
)
from eptreplay.run.failures import Failure, forget_locals
from eptreplay.units import CYCLES, PAGE_BYTES, binary_size, nanoseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.ingest.inspecting.look import Looked
    from eptreplay.ingest.trace.guest_trace import GuestTrace

_SHOWN_ELSEWHERE = {KEY_SEGMENTS, KEY_VCPUS, KEY_MEMORY_BYTES, KEY_TIME_UNIT, KEY_CLOCK, KEY_TIME, "pandas"}
_APPROXIMATED = "approximated"
_LONGEST = 160
"""Characters that are shown of a value of the metadata."""

_PROCESS_PAGE = (1 << 46) // PAGE_BYTES
"""Far above any guest's memory; a process has its libraries and its stack there."""


def inspect(specs: Sequence[str], *, exact: bool, clock_mhz: float | None, json: str | None) -> int:
    """Carry out `inspect` and return the exit code."""
    traces, failed = open_traces(specs, taking=Taking(clock_mhz=clock_mhz, verify=False))
    if clock_mhz is not None and not any(trace.time_unit.startswith(CYCLES) for trace in traces):
        raise UsageError(
            "--clock-mhz needs a trace that counts cycles, by time_unit in its metadata or in guest.toml"
        )
    found = []
    with ProgressBar(sum(trace.rows for trace in traces) if exact else None, "rows", "looking at") as bar:
        for trace in traces:
            try:
                looked = look_at(trace, exact=exact, advance=bar.advance)
            except Exception as error:  # noqa: BLE001 - whatever a trace raises, the others are looked at
                forget_locals(error)
                failed.append(Failure(trace.name, error))
                continue
            found.append(_described(trace, looked))
            if json != STANDARD_OUTPUT:
                _say(trace, looked)
    if json is not None:
        write_json(
            json,
            {"traces": found, "failed": [{"guest": each.guest, "error": each.message()} for each in failed]},
        )
    for failure in failed:
        note(failure.message())
    return Exit.BAD_INPUT if failed else Exit.GOOD


def _say(trace: GuestTrace, looked: Looked) -> None:
    """Print what is in a trace."""
    files = f"{len(trace.files)} files" if len(trace.files) > 1 else "1 file"
    size = bytes_of(trace)
    say(
        f"{trace.name}: {trace.rows:,} rows in {len(trace.row_groups)} row groups of {files}, {_per_row(size, trace)}"
    )
    say(f"  span     {_span(trace)}")
    say(
        f"  guest    {trace.vcpus} vCPUs, memory {binary_size(trace.ram_pages * PAGE_BYTES)} in {len(trace.ram_ranges())} ranges"
        + (f", by {trace.config}" if trace.config else "")
    )
    say(f"  accesses {_accesses(looked)}{_of_sample(trace, looked)}")
    least = "" if looked.exact else "at least "
    say(
        f"  touched  {least}{len(looked.pages):,} pages ({binary_size(len(looked.pages) * PAGE_BYTES)}) in {least}"
        f"{looked.regions:,} regions of 2 MB; {least}{len(looked.written):,} pages written{_of_sample(trace, looked)}"
    )
    say(f"  vCPUs    {least}{len(looked.vcpus)} of {trace.vcpus} have accesses{_of_sample(trace, looked)}")
    if looked.outside:
        say(f"  outside  {looked.outside:,} rows lie outside the guest's memory{_of_sample(trace, looked)}")
    if looked.nulls_or_unfit:
        say(
            f"  bad      {looked.nulls_or_unfit:,} rows have a null, or a value that does not fit{_of_sample(trace, looked)}"
        )
    if _of_process(looked):
        say(
            f"  hint     addresses like {(looked.highest_page or 0) * PAGE_BYTES:#x} are those of a process, not of a guest; "
            "'eptreplay pack --dense' numbers its pages by first touch"
        )
    for key, text in _origin(trace).items():
        say(f"  {key}: {text[:_LONGEST]}{'...' if len(text) > _LONGEST else ''}")
    for sentence in _approximated(trace):
        say(f"  approximated: {sentence}")
    listed = any((file.parent / MANIFEST).is_file() for file in trace.files)
    say(
        f"  {MANIFEST} is beside it; 'eptreplay check' compares it"
        if listed
        else f"  no {MANIFEST} is beside it"
    )


def _per_row(size: int, trace: GuestTrace) -> str:
    return f"{size / trace.rows:.2f} bytes a row" if trace.rows else f"{size:,} bytes"


def _span(trace: GuestTrace) -> str:
    """Return from when to when a trace is, in words."""
    first, last, unit = trace.first_time, trace.last_time, trace.time_unit
    if first is None or last is None:
        return "unknown: times are missing"
    length = nanoseconds(unit)
    if Approximated.NO_TIME in trace.metadata.get(_APPROXIMATED, ""):
        return f"no times: accesses have the numbers {first:,} to {last:,}"
    if length is None:
        return f"{last - first:,} {unit}, from {first:,} to {last:,}; no clock_mhz says how long that is"
    return f"{float((last - first) * length) / 1e9:.6g} s, from {first:,} to {last:,} ({unit})"


def _accesses(looked: Looked) -> str:
    """Return how accesses are divided by kind, in words."""
    total = sum(looked.accesses.values())
    if not total:
        return f"none; {looked.events:,} events"
    parts = [
        f"{looked.accesses[kind]:,} {word} ({100 * looked.accesses[kind] / total:.1f} %)"
        for kind, word in ((Op.READ, "reads"), (Op.WRITE, "writes"), (Op.FETCH, "fetches"))
    ]
    events = f", {looked.events:,} events" if looked.events else ""
    return ", ".join(parts) + events


def _of_sample(trace: GuestTrace, looked: Looked) -> str:
    """Return what a figure is of, if not of all rows."""
    return (
        "" if looked.exact else f" [in a sample of {looked.rows:,} of {trace.rows:,} rows; --exact reads all]"
    )


def _of_process(looked: Looked) -> bool:
    return looked.highest_page is not None and looked.highest_page >= _PROCESS_PAGE


def _origin(trace: GuestTrace) -> dict[str, str]:
    """Return what the metadata says of where a trace comes from."""
    found = {
        key: text for key, text in trace.metadata.items() if key not in {*_SHOWN_ELSEWHERE, _APPROXIMATED}
    }
    return found | ({"read_as": "; ".join(trace.taken)} if trace.taken else {})


def _approximated(trace: GuestTrace) -> list[str]:
    text = trace.metadata.get(_APPROXIMATED, "")
    return [each.strip() for each in text.split(";") if each.strip()]


def _described(trace: GuestTrace, looked: Looked) -> dict[str, Any]:
    """Return everything that is known of a trace; `exact` says whether the figures under `rows_looked_at` are of all rows."""
    size = bytes_of(trace)
    return {
        "guest": trace.name,
        "files": [str(path) for path in trace.files],
        "guest_toml": trace.config or None,
        "rows": trace.rows,
        "row_groups": len(trace.row_groups),
        "bytes": size,
        "bytes_per_row": size / trace.rows if trace.rows else None,
        "time_unit": trace.time_unit,
        "first_time": trace.first_time,
        "last_time": trace.last_time,
        "vcpus": trace.vcpus,
        "memory_bytes": trace.ram_pages * PAGE_BYTES,
        "segments": [{"gpa": each.gpa, "bytes": each.bytes, "kind": each.kind} for each in trace.segments],
        "origin": _origin(trace),
        "approximated": _approximated(trace),
        "exact": looked.exact,
        "rows_looked_at": {
            "rows": looked.rows,
            "reads": looked.accesses[Op.READ],
            "writes": looked.accesses[Op.WRITE],
            "fetches": looked.accesses[Op.FETCH],
            "events": looked.events,
            "pages": len(looked.pages),
            "regions": looked.regions,
            "pages_written": len(looked.written),
            "rows_outside_memory": looked.outside,
            "vcpus": len(looked.vcpus),
            "rows_null_or_unfit": looked.nulls_or_unfit,
            "highest_page": looked.highest_page,
        },
    }
