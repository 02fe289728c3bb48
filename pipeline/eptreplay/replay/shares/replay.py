"""One guest on several threads: each replays the rows that concern its share of the guest's 2 MB regions.

What an access does depends on its own region alone (model/access_loop/shares.py says when), so a share is a replay of its
own: it takes its rows out of the trace, closes intervals and sweeps where all do, and never waits for another.  At the end what
shares found is put together: counters add up, and a page belongs to one share.  The tables are the same as those of one thread.

Rows are decoded once, by whichever thread runs out of them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from eptreplay.ingest.native.reader import BATCH_ROWS
from eptreplay.ingest.native.schema import EVENT_MIN
from eptreplay.model.access_loop.shares import region_owners, take_rows, upper_tables
from eptreplay.model.instances import GuestMemory
from eptreplay.model.statistics.reuse import note_reuses, reuse_of
from eptreplay.replay.driver.replay import (
    NO_GUESTS,
    Replay,
    accesses,
    guest_ram_pages,
    replay_trace,
    reuse_for,
)
from eptreplay.replay.found.guest import guest_result
from eptreplay.replay.rows.in_order import Due, steps
from eptreplay.replay.rows.schedule import Action
from eptreplay.replay.shares.shared_steps import SharedSteps
from eptreplay.replay.shares.together import Share, merged
from eptreplay.request.options import MissRatio, Span, interval_schedules, sweep_schedules

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from eptreplay.ingest.native.rows import BadRows
    from eptreplay.ingest.sources.dataset import GuestTrace
    from eptreplay.model.statistics.reuse import Reuse
    from eptreplay.replay.driver.replay import Columns, OnRows
    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.replay.found.snapshots import Snapshot
    from eptreplay.replay.state.pmap_choice import Pmap
    from eptreplay.request.options import Options, Policy

GIGABYTE_PAGES = 1 << 18
ROWS_A_VISIT = 4
"""Rows that take as long to decode as a visit of the models to a page, at the least."""


def why_whole(trace: GuestTrace, profiles: Sequence[Pmap], options: Options) -> str:
    """Return why a guest cannot be replayed in shares, as the end of a sentence; empty if it can."""
    reasons = (
        (options.host is not None, "guests share the memory of their host"),
        (options.tlb is not None, "its TLBs hold translations of all its memory (--tlb)"),
        (
            any(profile.pml for profile in profiles),
            "logs of page modifications fill up with writes to all its memory",
        ),
        (bool(trace.devices), "devices reach all its memory"),
        (_may_have_events(trace), "its trace has events, or no statistics that say it has none"),
    )
    return next((reason for applies, reason in reasons if applies), "")


def is_large(trace: GuestTrace, profiles: Sequence[Pmap]) -> bool:
    """Return whether replaying a guest may take much longer than decoding its trace, so that threads are worth their while.

    What takes long is the first access to a page under every profile: at most as many as there are pages and profiles.
    Where rows by far outnumber them, one thread that decodes ahead does as well, and takes less CPU time.  Where there are
    fewer rows than pages, what every share does to all of its memory, however little is used, takes longest.
    """
    pages = trace.ram_pages
    return pages <= trace.rows < pages * len(profiles) * ROWS_A_VISIT


def _may_have_events(trace: GuestTrace) -> bool:
    known = (group.ranges.get("op") for group in trace.row_groups)
    return any(of is None or of.high >= EVENT_MIN for of in known)


def replay_guest(
    trace: GuestTrace,
    profiles: Sequence[Pmap],
    options: Options,
    threads: int,
    *,
    on_rows: OnRows | None = None,
    bad_rows: BadRows | None = None,
) -> GuestResult:
    """Replay a trace on so many threads, or on one where it cannot be taken apart or is not large; see replay_trace."""
    if threads > 1 and is_large(trace, profiles) and not why_whole(trace, profiles, options):
        return replay_in_shares(trace, profiles, options, threads, on_rows=on_rows, bad_rows=bad_rows)
    return replay_trace(trace, profiles, options, on_rows=on_rows, bad_rows=bad_rows)


def replay_in_shares(
    trace: GuestTrace,
    profiles: Sequence[Pmap],
    options: Options,
    shares: int,
    *,
    on_rows: OnRows | None = None,
    bad_rows: BadRows | None = None,
) -> GuestResult:
    """Replay a trace that can be taken apart (why_whole) on several threads, with the result of replay_trace.

    Raises:
        TraceError: the trace is damaged, has no memory, or a row breaks a rule and the policy is `fail`.
        UsageError: the trace's unit of time does not fit the options.
    """
    memory = GuestMemory(guest_ram_pages(trace), trace.vcpus)
    owner = region_owners(memory.pages, shares)
    reuse = reuse_for(options.mrc, [memory])
    feed = SharedSteps(_steps(trace, options, on_rows, bad_rows), shares)

    def run(number: int) -> Share:
        try:
            replay = Replay(
                profiles,
                [memory],
                count_pages=options.page_accesses,
                slow_path=options.slow_path,
                intervals=max(1, options.intervals),
            )
            steps_of = feed.read(number)
            if number == 0:
                steps_of = _noting_reuses(steps_of, reuse, replay)
            return _replay_share(trace, replay, steps_of, Own(owner, number), options.policy)
        except BaseException as error:
            feed.fail(error)
            raise

    with ThreadPoolExecutor(shares, thread_name_prefix="share") as executor:
        running = [executor.submit(run, number) for number in range(shares)]
        found = merged([future.result() for future in running])
    return replace(
        found, mrc=options.mrc, reuse=None if options.mrc is MissRatio.INTERVALS else reuse_of(reuse, 0)
    )


class Rows(NamedTuple):
    """Rows without a cut between them; `first` is the number of the first one in the trace."""

    columns: Columns
    first: int


class Stop(NamedTuple):
    """An action that is due after `rows` rows of the trace; `time` is the cut's own, None for a cut by rows."""

    action: Action
    time: int | None
    rows: int


def _steps(
    trace: GuestTrace, options: Options, on_rows: OnRows | None, bad_rows: BadRows | None
) -> Iterator[Rows | Stop]:
    """Yield the rows of a trace, as kernels take them, and the cuts between them; the last interval is closed at the end."""
    span = Span.of(trace)
    schedules = [*sweep_schedules(span, options), *interval_schedules(span, options)]
    ahead = replace(options, decode_ahead=False)  # the threads do that in turn
    rows, closed = 0, -1
    for step in steps(trace, schedules, ahead, vcpu=True, on_rows=on_rows, bad_rows=bad_rows):
        if isinstance(step, Due):
            closed = rows if step.action is Action.CLOSE_INTERVAL else closed
            yield Stop(step.action, step.time, rows)
        else:
            yield Rows(accesses(*step), rows)
            rows += step.end - step.begin
    if closed < rows:
        yield Stop(Action.CLOSE_INTERVAL, trace.last_time, rows)


def _noting_reuses(feed: Iterator[Rows | Stop], reuse: Reuse, replay: Replay) -> Iterator[Rows | Stop]:
    """Take in the distances of reuse of all rows, which are about all of the guest's memory, while one share reads them."""
    for step in feed:
        if isinstance(step, Rows):
            gpa, _, _, size, _ = step.columns
            note_reuses(reuse, replay.states.fast_path, gpa, size)
        yield step


class Own:
    """Takes the rows of one share out of those of a trace."""

    def __init__(self, owner: NDArray[np.uint8], share: int) -> None:
        self._owner = owner
        self._share = share
        self._make_room(BATCH_ROWS)

    def _make_room(self, rows: int) -> None:
        self._gpa = np.empty(rows, np.uint64)
        self._op = np.empty(rows, np.uint8)
        self._vcpu = np.empty(rows, np.uint16)
        self._size = np.empty(rows, np.uint16)
        self._count = np.empty(rows, np.uint32)
        self._row = np.empty(rows, np.int64)

    def take(self, rows: Rows) -> tuple[Columns, NDArray[np.int64]]:
        """Return the share's rows, and their numbers in the trace; both are good until the next call."""
        gpa, _, vcpu, size, count = rows.columns
        if len(gpa) > len(self._gpa):
            self._make_room(len(gpa))
        own: Columns = (self._gpa, self._op, self._vcpu, self._size, self._count)
        found = int(take_rows(self._owner, self._share, *rows.columns, rows.first, *own, self._row))
        columns = (
            _first(self._gpa, found),
            _first(self._op, found),
            _first(self._vcpu, found) if len(vcpu) > 1 else vcpu,
            _first(self._size, found) if len(size) else size,
            _first(self._count, found) if len(count) else count,
        )
        return columns, _first(self._row, found)


S = TypeVar("S", bound=np.generic)


def _first(array: NDArray[S], number: int) -> NDArray[S]:
    """Return a read-only view, as kernels are compiled for, of the first elements."""
    view = array[:number]
    view.flags.writeable = False
    return view


def _replay_share(
    trace: GuestTrace, replay: Replay, feed: Iterator[Rows | Stop], own: Own, policy: Policy
) -> Share:
    """Replay one share from the first row to the last."""
    snapshots: list[Snapshot] = []
    upper = []
    gigabytes = -(-replay.guests[0].pages // GIGABYTE_PAGES)
    for step in feed:
        if isinstance(step, Rows):
            columns, row = own.take(step)
            if len(row):
                replay.replay_flat(*columns, NO_GUESTS, row)
        elif step.action is Action.SWEEP:
            replay.sweep(policy)
        else:
            replay.close_interval()
            snapshots.append(replay.snapshot(step.time)._replace(rows=step.rows))
            upper.append(np.zeros((len(replay.profiles), 2, gigabytes), np.uint8))
            upper_tables(replay.states, upper[-1])
    return Share(guest_result(trace, replay, snapshots), upper)
