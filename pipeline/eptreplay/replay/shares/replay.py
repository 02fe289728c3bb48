"""One guest on several threads: each replays the rows that concern its share of the guest's 2 MB regions.

What an access does depends on its own region alone (model/access_loop/shares.py says when), so a share is a replay of its own: it
takes its rows out of the trace, closes intervals and sweeps where all shares do, and never waits for another one's results.  At
the end the results of all shares are put together: counters add up, and each page belongs to one share.  The tables are the same
as those of one thread.

Rows are decoded once, by whichever thread runs out of decoded ones first.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eptreplay.ingest.native.reader import BATCH_ROWS
from eptreplay.ingest.trace.schema import EVENT_MIN
from eptreplay.model.access_loop.shares import UPPER_LEVELS, region_owners, take_rows, upper_tables
from eptreplay.model.instances import GuestMemory
from eptreplay.model.state.rows import Rows, rows_of
from eptreplay.model.statistics.reuse import note_reuses, reuse_of
from eptreplay.replay.driver.collect import guest_result
from eptreplay.replay.driver.replay import Replay, reuse_for
from eptreplay.replay.one_guest import replay_trace
from eptreplay.replay.rows.in_order import guest_rows
from eptreplay.replay.rows.schedule import Action
from eptreplay.replay.rows.span import Span, interval_schedules, sweep_schedules
from eptreplay.replay.rows.steps import Due, steps
from eptreplay.replay.shares.shared_steps import SharedSteps
from eptreplay.replay.shares.together import Share, merged
from eptreplay.replay.state.guest_memory import guest_ram_pages
from eptreplay.request.choices import MissRatio

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from eptreplay.ingest.native.rows import BadRows
    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.model.statistics.reuse_arrays import Reuse
    from eptreplay.replay.driver.checkpoint import Keeper
    from eptreplay.replay.driver.replay import OnRows
    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.replay.found.snapshots import Snapshot
    from eptreplay.replay.state.pmap_choice import Pmap
    from eptreplay.request.choices import Policy
    from eptreplay.request.options import Options

GIGABYTE_PAGES = 1 << 18
ROWS_A_VISIT = 4
"""Rows that take as long to decode as the first access to a page takes under one profile, at least."""


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
    """Return whether replaying a guest may take much longer than decoding its trace, so that several threads pay off.

    What takes long are first accesses: at most one per page and profile.  Where there are far more rows than that, one
    thread with another one that decodes ahead is as fast, and takes less CPU time.  Where there are fewer rows than pages,
    what every share does to all of its memory, however little of it is used, takes longest.
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
    keeper: Keeper | None = None,
) -> GuestResult:
    """Replay a trace on several threads, or on one where it cannot be split into shares or is not large; see replay_trace.

    A trace that is split is short for the memory it uses, so no checkpoints of it are kept.
    """
    if threads > 1 and is_large(trace, profiles) and not why_whole(trace, profiles, options):
        return replay_in_shares(trace, profiles, options, threads, on_rows=on_rows, bad_rows=bad_rows)
    return replay_trace(trace, profiles, options, on_rows=on_rows, bad_rows=bad_rows, keeper=keeper)


def replay_in_shares(
    trace: GuestTrace,
    profiles: Sequence[Pmap],
    options: Options,
    shares: int,
    *,
    on_rows: OnRows | None = None,
    bad_rows: BadRows | None = None,
) -> GuestResult:
    """Replay a trace that can be split into shares (why_whole) on several threads, with the result of replay_trace.

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


class OwnRows(NamedTuple):
    """Rows [begin, end) without a stop between them; `first` is the number of the batch's first row in the trace."""

    rows: Rows
    begin: int
    end: int
    first: int


class Stop(NamedTuple):
    """An action that is due after `rows` rows of the trace; `time` is that of the stop, None for a stop by rows."""

    action: Action
    time: int | None
    rows: int


def _steps(
    trace: GuestTrace, options: Options, on_rows: OnRows | None, bad_rows: BadRows | None
) -> Iterator[OwnRows | Stop]:
    """Yield the rows of a trace and the stops between them; the last interval is closed at the end."""
    span = Span.of(trace)
    schedules = [*sweep_schedules(span, options), *interval_schedules(span, options)]
    in_turn = replace(options, decode_ahead=False)  # the threads decode in turn
    rows, closed = 0, -1
    for step in steps(guest_rows(trace, schedules, in_turn, bad_rows=bad_rows), schedules, on_rows):
        if isinstance(step, Due):
            closed = rows if step.action is Action.CLOSE_INTERVAL else closed
            yield Stop(step.action, step.time, rows)
        else:
            yield OwnRows(step.batch.rows, step.begin, step.end, rows - step.begin)
            rows += step.end - step.begin
    if closed < rows:
        yield Stop(Action.CLOSE_INTERVAL, trace.last_time, rows)


def _noting_reuses(feed: Iterator[OwnRows | Stop], reuse: Reuse, replay: Replay) -> Iterator[OwnRows | Stop]:
    """Take in the reuse distances of all rows, since they concern all of the guest's memory, while one share reads the rows."""
    for step in feed:
        if isinstance(step, OwnRows):
            note_reuses(reuse, replay.states.fast_path, step.rows, step.begin, step.end)
        yield step


class Own:
    """Takes the rows of one share out of those of a trace."""

    def __init__(self, owner: NDArray[np.uint8], share: int) -> None:
        self._owner = owner
        self._share = share
        self._rows: dict[tuple[bool, bool, bool], Rows] = {}

    def take(self, step: OwnRows) -> tuple[Rows, int]:
        """Return the share's rows, with their numbers in the trace, and how many there are; valid until the next call."""
        own = self._room(step.rows, step.end - step.begin)
        found = take_rows(self._owner, self._share, step.rows, step.begin, step.end, step.first, own)
        return own, int(found)

    def _room(self, rows: Rows, length: int) -> Rows:
        """Return rows with the columns that `rows` has, and room for `length` of them."""
        columns = (len(rows.vcpu) > 1, len(rows.size) > 0, len(rows.count) > 0)
        known = self._rows.get(columns)
        if known is None or len(known.gpa) < length:
            room = max(length, BATCH_ROWS)
            own = {name: np.empty(room, getattr(rows, name).dtype) for name in ("gpa", "op")}
            own["vcpu"] = np.empty(room if columns[0] else 1, np.uint16)
            own |= {"size": np.empty(room, np.uint16)} if columns[1] else {}
            own |= {"count": np.empty(room, np.uint32)} if columns[2] else {}
            known = self._rows[columns] = rows_of(**own, row=np.empty(room, np.int64))
        return known


def _replay_share(
    trace: GuestTrace, replay: Replay, feed: Iterator[OwnRows | Stop], own: Own, policy: Policy
) -> Share:
    """Replay one share from the first row to the last."""
    snapshots: list[Snapshot] = []
    upper = []
    gigabytes = -(-replay.guests[0].pages // GIGABYTE_PAGES)
    for step in feed:
        if isinstance(step, OwnRows):
            rows, found = own.take(step)
            if found:
                replay.replay_rows(rows, 0, found, 0)
        elif step.action is Action.SWEEP:
            replay.sweep(policy)
        else:
            replay.close_interval()
            snapshots.append(replay.snapshot(step.time)._replace(rows=step.rows))
            upper.append(np.zeros((len(replay.profiles), UPPER_LEVELS, gigabytes), np.uint8))
            upper_tables(replay.states, upper[-1])
    return Share(guest_result(trace, replay, snapshots), upper)
