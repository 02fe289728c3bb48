"""The command `check`: read every row of traces, and say what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eptreplay.cli.console import ProgressBar, note, say
from eptreplay.cli.json_output import STANDARD_OUTPUT, write_json
from eptreplay.cli.traces import open_traces
from eptreplay.errors import Exit
from eptreplay.ingest.native.outside import Outside
from eptreplay.ingest.native.reader import read_batches
from eptreplay.ingest.native.rows import BadRows, rules_of_rows
from eptreplay.run.failures import Failure, forget_locals
from eptreplay.units import PAGE_BYTES, binary_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.request.choices import OnBadRows

_VERIFIED = {
    "": "unverified input: neither page checksums nor a SHA256SUMS beside it; damage may go unnoticed",
    "page checksums": "verified by page checksums, which guard neither the order of pages nor the metadata; "
    "a SHA256SUMS beside it would",
    "SHA256SUMS": "verified by the SHA256SUMS beside it",
}
"""What is printed about a trace, by what verifies it."""


@dataclass(slots=True)
class Checked:
    """What was found in a trace.

    Args:
        trace: the trace.
        outside: accesses outside memory.
        bad: bad rows by rule.
        error: what ended its reading; None: all rows were read.
    """

    trace: GuestTrace
    outside: Outside
    bad: BadRows
    error: Exception | None = None


def check(specs: Sequence[str], on_bad_rows: OnBadRows, json: str | None) -> int:
    """Carry out `check` and return the exit code."""
    traces, failed = open_traces(specs)
    found = []
    with ProgressBar(sum(trace.rows for trace in traces), "rows", "checking") as bar:
        for trace in traces:
            checked = _checked(trace, on_bad_rows, bar)
            found.append(checked)
            if checked.error is not None:
                failed.append(Failure(trace.name, checked.error))
            if json != STANDARD_OUTPUT and (checked.error is None or checked.bad.total):
                _say_trace(checked)
    if json is not None:
        write_json(json, {"traces": list(map(_described, found)), "failed": list(map(_failure, failed))})
    for failure in failed:
        note(failure.message())
    left_out = sum(each.bad.total for each in found)
    return Exit.BAD_INPUT if failed else Exit.DIFFERENCES if left_out else Exit.GOOD


def _checked(trace: GuestTrace, on_bad_rows: OnBadRows, bar: ProgressBar) -> Checked:
    """Read a trace; where a bad row ends that, read on to count them all."""
    checked = Checked(trace, Outside(trace.ram_ranges()), BadRows())
    try:
        _read(checked, on_bad_rows, bar)
    except Exception as error:  # noqa: BLE001 - whatever a trace raises, the others are checked
        forget_locals(error)
        if on_bad_rows == "fail":
            checked = Checked(trace, Outside(trace.ram_ranges()), BadRows())
            _read_to_the_end(checked, bar)
        checked.error = error
    return checked


def _read_to_the_end(checked: Checked, bar: ProgressBar) -> None:
    """Count the bad rows of a trace that has some, as far as it can be read."""
    bar.begin(checked.trace.rows, "rows", "counting bad rows")
    try:
        _read(checked, "skip", bar)
    except Exception as error:  # noqa: BLE001 - the error that led here is what is said
        forget_locals(error)


def _read(checked: Checked, on_bad_rows: OnBadRows, bar: ProgressBar) -> None:
    """Read all rows, or all good ones."""
    for batch in read_batches(checked.trace, vcpu=True, on_bad_rows=on_bad_rows, bad_rows=checked.bad):
        checked.outside.add(batch)
        bar.advance(batch.rows)


def _say_trace(checked: Checked) -> None:
    """Print what is in a trace, what verifies it, and what is wrong with it."""
    trace, outside = checked.trace, checked.outside
    say(f"{trace.name}: {trace.rows:,} rows in {len(trace.row_groups)} row groups, {trace.vcpus} vCPUs")
    say(
        f"  memory {binary_size(trace.ram_pages * PAGE_BYTES)} in {len(trace.ram_ranges())} ranges; time in {trace.time_unit}"
    )
    say(f"  {_VERIFIED[str(trace.verified_by)]}")
    if outside.rows:
        say(
            f"  {outside.rows:,} of {trace.rows:,} rows ({outside.accesses:,} of {outside.all_accesses:,} accesses) lie "
            f"outside the guest's memory, between {outside.lowest:#x} and {outside.highest:#x}; correct memory_segments "
            "if that is wrong"
        )
    rules = rules_of_rows(trace.vcpus)
    holding = [rule.reason for rule in rules if not checked.bad.counts[rule.reason]]
    say(f"  rules that every row keeps: {', '.join(holding)}")
    for reason, count in checked.bad.counts.items():
        if count:
            say(f"  {count:,} bad rows: {reason}; the first: {checked.bad.first[reason]}")


def _described(checked: Checked) -> dict[str, Any]:
    """Return everything that was found in a trace."""
    trace, outside = checked.trace, checked.outside
    return {
        "guest": trace.name,
        "files": [str(path) for path in trace.files],
        "rows": trace.rows,
        "row_groups": len(trace.row_groups),
        "vcpus": trace.vcpus,
        "memory_bytes": trace.ram_pages * PAGE_BYTES,
        "time_unit": trace.time_unit,
        "first_time": trace.first_time,
        "last_time": trace.last_time,
        "verified_by": str(trace.verified_by),
        "read_as": list(trace.taken),
        "rules": [
            {
                "rule": rule.reason,
                "column": rule.column or None,
                "expected": rule.expected,
                "bad_rows": checked.bad.counts[rule.reason],
                "first": checked.bad.first.get(rule.reason),
            }
            for rule in rules_of_rows(trace.vcpus)
        ],
        "outside_memory": {
            "rows": outside.rows,
            "accesses": outside.accesses,
            "of_accesses": outside.all_accesses,
            "lowest": outside.lowest if outside.rows else None,
            "highest": outside.highest if outside.rows else None,
        },
        "error": None if checked.error is None else str(checked.error),
    }


def _failure(failure: Failure) -> dict[str, str]:
    return {"guest": failure.guest, "error": failure.message()}
