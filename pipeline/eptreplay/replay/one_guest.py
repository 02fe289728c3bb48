"""One guest on a host of its own: its trace replayed under several CPU profiles at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.replay.driver.collect import guest_result
from eptreplay.replay.driver.drive import drive
from eptreplay.replay.driver.replay import OnRows, Replay
from eptreplay.replay.events.carry_out import attach_devices, bad_event_callback
from eptreplay.replay.rows.in_order import guest_rows
from eptreplay.replay.rows.schedule import Action
from eptreplay.replay.rows.span import Span, interval_schedules, sweep_schedules
from eptreplay.replay.state.guest_memory import guest_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.ingest.native.rows import BadRows
    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.replay.found.snapshots import Snapshot
    from eptreplay.replay.state.pmap_choice import Pmap
    from eptreplay.request.options import Options


def replay_trace(
    trace: GuestTrace,
    profiles: Sequence[Pmap],
    options: Options,
    *,
    on_rows: OnRows | None = None,
    bad_rows: BadRows | None = None,
) -> GuestResult:
    """Replay a trace from its first row to its last.

    Raises:
        TraceError: the trace is damaged, has no memory, or a row breaks a rule and the policy is `fail`.
        UsageError: the trace's unit of time does not fit the options.
    """
    replay = Replay(
        profiles,
        [guest_memory(trace)],
        count_pages=options.page_accesses,
        slow_path=options.slow_path,
        tlb=options.tlb,
        intervals=max(1, options.intervals),
        mrc=options.mrc,
    )
    replay.on_bad_event = bad_event_callback([trace], options, [bad_rows])
    attach_devices(replay, [trace])
    span = Span.of(trace)
    schedules = [*sweep_schedules(span, options), *interval_schedules(span, options)]
    snapshots: list[Snapshot] = []
    rows = guest_rows(trace, schedules, options, bad_rows=bad_rows)
    for action, time in drive(replay, rows, schedules, on_rows):
        if action is Action.SWEEP:
            replay.sweep(options.policy)
        else:
            replay.close_interval()
            snapshots.append(replay.snapshot(time))
    if not snapshots or snapshots[-1].rows < replay.rows:
        replay.close_interval()
        snapshots.append(replay.snapshot(trace.last_time))
    return guest_result(trace, replay, snapshots)
