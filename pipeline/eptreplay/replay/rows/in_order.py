"""What a replay is fed: the rows of a trace in order, and what is due between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from eptreplay.ingest.native.reader import read_batches
from eptreplay.replay.rows.activity import with_transitions
from eptreplay.replay.rows.schedule import Scheduler, timed_row_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from eptreplay.ingest.native.reader import Batch, Transition
    from eptreplay.ingest.native.rows import BadRows
    from eptreplay.ingest.sources.dataset import GuestTrace
    from eptreplay.replay.rows.schedule import Action, Schedule
    from eptreplay.request.options import Options


class Piece(NamedTuple):
    """Rows [begin, end) of a batch, without a cut between them; what Replay.replay takes."""

    batch: Batch
    begin: int
    end: int
    vcpu_constant: int


class Due(NamedTuple):
    """A cut asks for an action; `time` is the cut's own, None for a cut by rows."""

    action: Action
    time: int | None


def steps(
    trace: GuestTrace,
    schedules: Sequence[Schedule],
    options: Options,
    *,
    vcpu: bool = False,
    found: Sequence[Transition] = (),
    on_rows: Callable[[int], None] | None = None,
    bad_rows: BadRows | None = None,
) -> Iterator[Piece | Due]:
    """Yield the rows of a trace and the actions that cuts ask for between them.

    Without `vcpu`, vCPU 0 counts as the one that made every access.  `found` are the vCPUs that begin and cease
    to run, `on_rows` hears of rows that were used.
    """
    replayed = 0
    scheduler = Scheduler(schedules)
    batches = read_batches(
        trace,
        time_row_groups=timed_row_groups(trace, schedules),
        vcpu=vcpu,
        prefetch=options.decode_ahead,
        on_bad_rows=options.on_bad_rows,
        bad_rows=bad_rows,
    )
    if found:
        batches = with_transitions(batches, found, trace.rows)
    for batch in batches:
        begin = 0
        constant = trace.row_groups[batch.row_group].vcpu_constant if vcpu else None
        for cut in scheduler.stops(batch, replayed, trace.row_groups[batch.row_group].time_min):
            if cut.rows > begin:
                yield Piece(batch, begin, cut.rows, constant or 0)
                begin = cut.rows
            yield Due(cut.action, cut.time)
        if batch.rows > begin:
            yield Piece(batch, begin, batch.rows, constant or 0)
        replayed += batch.rows
        if on_rows is not None:
            on_rows(batch.rows)
