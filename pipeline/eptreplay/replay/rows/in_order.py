"""The rows of one guest in order, as row batches."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from eptreplay.ingest.native.reader import read_batches
from eptreplay.replay.rows.activity import with_transitions
from eptreplay.replay.rows.batch import row_batch
from eptreplay.replay.rows.schedule import timed_row_groups

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eptreplay.ingest.native.reader import Transition
    from eptreplay.ingest.native.rows import BadRows
    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.replay.rows.batch import RowBatch
    from eptreplay.replay.rows.schedule import Schedule
    from eptreplay.request.options import Options


def guest_rows(
    trace: GuestTrace,
    schedules: Sequence[Schedule],
    options: Options,
    *,
    vcpu: bool = True,
    transitions: Sequence[Transition] = (),
    bad_rows: BadRows | None = None,
    first_group: int | None = None,
) -> Iterator[RowBatch]:
    """Yield the rows of a trace in batches, with their times where a schedule needs them.

    Args:
        trace: of the only guest of a host.
        schedules: where the replay has to stop.
        options: of the replay.
        vcpu: whether it matters which vCPU made an access; if not, all accesses count as made by vCPU 0.
        transitions: when vCPUs begin and stop running.
        bad_rows: counts of the rows that are left out, updated.
        first_group: number of the row group to begin with, where batches are to say which row groups end with them; no row may be
            left out then.
    """
    # The row group before is read too, and not given: so the order of times is checked across its end.
    begin = max(0, (first_group or 0) - 1)
    whole, trace = trace, replace(trace, row_groups=trace.row_groups[begin:]) if begin else trace
    batches = read_batches(
        trace,
        time_row_groups=timed_row_groups(trace, schedules),
        vcpu=vcpu,
        prefetch=options.decode_ahead,
        on_bad_rows=options.on_bad_rows,
        bad_rows=bad_rows,
    )
    if transitions:
        batches = with_transitions(batches, transitions, trace.rows)
    for batch in batches:
        group, number = trace.row_groups[batch.row_group], begin + batch.row_group
        if number < (first_group or 0):
            continue
        rows = row_batch(batch, (group.vcpu_constant or 0) if vcpu else 0, group.time_min)
        ends = batch.first_row + batch.rows == group.first_row + group.rows
        if first_group is not None and ends and number + 1 < len(whole.row_groups):
            rows = replace(rows, next_group=number + 1)
        yield rows
