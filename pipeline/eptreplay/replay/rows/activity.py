"""When vCPUs run, derived from when they access memory.

A vCPU runs from its first access to its last, except in gaps between two accesses that are longer than the idle gap: there it
is halted.  It runs on the host CPU that it is pinned to, or else on the one of its own number.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from eptreplay.ingest.native.reader import read_batches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eptreplay.ingest.native.reader import Batch, Transition
    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.request.choices import OnBadRows


def transitions(trace: GuestTrace, idle_gap: int, on_bad_rows: OnBadRows) -> list[Transition]:
    """Return when vCPUs of a trace begin and stop running, as (row, vCPU, whether it runs, host CPU), in the order of rows.

    Reads times and vCPUs of the whole trace once.

    Args:
        trace: the trace.
        idle_gap: in the trace's unit of time.
        on_bad_rows: as for reading it.
    """
    last: dict[int, tuple[int, int]] = {}
    found: list[Transition] = []
    rows = 0
    for batch in read_batches(trace, vcpu=True, size=False, on_bad_rows=on_bad_rows):
        constant = trace.row_groups[batch.row_group].vcpu_constant or 0
        who = np.full(batch.rows, constant) if batch.vcpu is None else batch.vcpu
        assert batch.time is not None  # noqa: S101 - asked for
        for vcpu in (int(number) for number in np.unique(who)):
            at = np.flatnonzero(who == vcpu)
            times = batch.time[at].astype(np.int64)
            cpu = trace.pins[vcpu] if vcpu < len(trace.pins) else vcpu
            if vcpu not in last:
                found.append((rows + int(at[0]), vcpu, True, cpu))
            elif int(times[0]) - last[vcpu][1] > idle_gap:
                found.append((last[vcpu][0] + 1, vcpu, False, cpu))
                found.append((rows + int(at[0]), vcpu, True, cpu))
            for gap in np.flatnonzero(np.diff(times) > idle_gap):
                found.append((rows + int(at[gap]) + 1, vcpu, False, cpu))
                found.append((rows + int(at[gap + 1]), vcpu, True, cpu))
            last[vcpu] = (rows + int(at[-1]), int(times[-1]))
        rows += batch.rows
    for vcpu, (row, _) in last.items():
        found.append((row + 1, vcpu, False, trace.pins[vcpu] if vcpu < len(trace.pins) else vcpu))
    return sorted(found, key=lambda transition: (transition[0], transition[2]))


def with_transitions(batches: Iterator[Batch], found: Sequence[Transition], rows: int) -> Iterator[Batch]:
    """Yield batches, each with the transitions that fall into it, whose positions count from its first row."""
    passed = 0
    begun = 0
    for batch in batches:
        end = passed + batch.rows
        mine: list[Transition] = []
        while begun < len(found) and (found[begun][0] < end or end >= rows):
            row, vcpu, runs, cpu = found[begun]
            mine.append((row - passed, vcpu, runs, cpu))
            begun += 1
        yield replace(batch, transitions=tuple(mine)) if mine else batch
        passed = end
