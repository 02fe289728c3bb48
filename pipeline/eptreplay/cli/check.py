"""The command `check`: read every row of traces, and say what is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.cli.console import ProgressBar, note, say
from eptreplay.cli.traces import open_traces
from eptreplay.errors import Exit
from eptreplay.ingest.native.outside import Outside
from eptreplay.ingest.native.reader import read_batches
from eptreplay.ingest.native.rows import BadRows
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


def check(specs: Sequence[str], on_bad_rows: OnBadRows) -> int:
    """Carry out `check` and return the exit code."""
    traces, failed = open_traces(specs)
    left_out = 0
    with ProgressBar(sum(trace.rows for trace in traces), "rows", "checking") as bar:
        for trace in traces:
            skipped = BadRows()
            outside = Outside(trace.ram_ranges())
            try:
                for batch in read_batches(trace, vcpu=True, on_bad_rows=on_bad_rows, bad_rows=skipped):
                    outside.add(batch)
                    bar.advance(batch.rows)
            except Exception as error:  # noqa: BLE001 - whatever a trace raises, the others are checked
                forget_locals(error)
                failed.append(Failure(trace.name, error))
                continue
            left_out += skipped.total
            _say_trace(trace, skipped, outside)
    for failure in failed:
        note(failure.message())
    return Exit.BAD_INPUT if failed else Exit.DIFFERENCES if left_out else Exit.GOOD


def _say_trace(trace: GuestTrace, skipped: BadRows, outside: Outside) -> None:
    """Print what is in a trace, what verifies it, and what is wrong with it."""
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
    for reason, count in skipped.counts.items():
        say(f"  {count:,} bad rows: {reason}; the first: {skipped.first[reason]}")
