"""Row groups whose statistics alone say that a row breaks a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from eptreplay.ingest.trace.ranges import LAST_TIME
from eptreplay.ingest.trace.schema import CODES, GPA_BITS, PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eptreplay.ingest.trace.guest_trace import GuestTrace, RowGroup


class UntrustedStatistic(NamedTuple):
    """A column of a row group that must hold a bad row, if its statistics are right.

    Args:
        group: the row group.
        column: the column.
        claim: what the statistics say, in words.
        last_time: latest time of the row groups before.
    """

    group: RowGroup
    column: str
    claim: str
    last_time: int


def untrusted_statistics(trace: GuestTrace) -> Iterator[UntrustedStatistic]:
    """Look for bad rows before anything is decoded.

    Args:
        trace: the trace.

    Yields:
        Them in the order of the row groups.
    """
    last_time = 0
    highest = {"gpa": (1 << GPA_BITS) - 1, "vcpu": trace.vcpus - 1, "size": PAGE_SIZE, "time": LAST_TIME}
    for group in trace.row_groups:
        for name in sorted(group.nulls & trace.columns - {"guest", "arg"}):
            yield UntrustedStatistic(group, name, "that there are nulls", last_time)
        for name, known in group.ranges.items():
            unknown_op = name == "op" and known.high not in CODES
            if unknown_op or known.high > highest.get(name, known.high):
                yield UntrustedStatistic(group, name, f"values up to {known.high}", last_time)
        count, time = group.ranges.get("count"), group.ranges.get("time")
        if count is not None and count.low == 0:
            yield UntrustedStatistic(group, "count", "values of 0", last_time)
        if time is not None:
            if time.low < last_time:
                yield UntrustedStatistic(
                    group, "time", f"{time.low} after {last_time} in the row groups before", last_time
                )
            last_time = max(last_time, time.high)
