"""One guest on a host of its own: its trace replayed under several CPU profiles at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.errors import TraceError
from eptreplay.replay.driver.checkpoint import CheckpointError, go_on, kept
from eptreplay.replay.driver.collect import guest_result
from eptreplay.replay.driver.drive import drive_from
from eptreplay.replay.driver.replay import OnRows, Replay
from eptreplay.replay.events.carry_out import attach_devices, bad_event_callback
from eptreplay.replay.rows.in_order import guest_rows
from eptreplay.replay.rows.schedule import Action
from eptreplay.replay.rows.span import Span, interval_schedules, sweep_schedules
from eptreplay.replay.rows.steps import BEGINNING, Position
from eptreplay.replay.state.guest_memory import guest_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.ingest.native.rows import BadRows
    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.replay.driver.checkpoint import Keeper, Kept
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
    keeper: Keeper | None = None,
) -> GuestResult:
    """Replay a trace from its first row to its last, or from its checkpoint.

    Args:
        trace: of the guest.
        profiles: all of them at once.
        options: how.
        on_rows: called with how many more rows are replayed.
        bad_rows: counts of the rows that are left out, updated.
        keeper: keeps checkpoints; not of a trace of which rows may be left out.

    Raises:
        TraceError: the trace is damaged, has no memory, or a row breaks a rule and the policy is `fail`.
        UsageError: the trace's unit of time does not fit the options.
    """
    if keeper is None or options.on_bad_rows == "skip":
        return _replay(trace, profiles, options, on_rows, bad_rows)
    kept_before = keeper.load(trace)
    if kept_before is not None:
        try:
            return _replay(trace, profiles, options, on_rows, bad_rows, keeper, kept_before)
        except (CheckpointError, TraceError):
            pass  # of another version; or what is wrong with a trace is told from its first row on
    return _replay(trace, profiles, options, on_rows, bad_rows, keeper)


def _replay(
    trace: GuestTrace,
    profiles: Sequence[Pmap],
    options: Options,
    on_rows: OnRows | None,
    bad_rows: BadRows | None,
    keeper: Keeper | None = None,
    before: Kept | None = None,
) -> GuestResult:
    """Replay a trace from its first row, or from a checkpoint.

    Raises:
        CheckpointError: the checkpoint is not of this version.
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
    position = BEGINNING
    if before is not None:
        go_on(replay, before)
        position, snapshots = before.position, before.snapshots
        if on_rows is not None:
            on_rows(position.rows)
    first_group = None if keeper is None else position.group
    rows = guest_rows(trace, schedules, options, bad_rows=bad_rows, first_group=first_group)
    for step in drive_from(position, replay, rows, schedules, on_rows):
        if isinstance(step, Position):
            if keeper is not None and keeper.is_due(trace, step.rows):
                keeper.save(trace, kept(replay, step, snapshots))
        elif step.action is Action.SWEEP:
            replay.sweep(options.policy)
        else:
            replay.close_interval()
            snapshots.append(replay.snapshot(step.time))
    if not snapshots or snapshots[-1].rows < replay.rows:
        replay.close_interval()
        snapshots.append(replay.snapshot(trace.last_time))
    return guest_result(trace, replay, snapshots)
