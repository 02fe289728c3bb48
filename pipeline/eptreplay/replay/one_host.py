"""All guests of a run on one host: replayed together, in the order of the times of their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.errors import ConservationError, SharedHostError, UsageError
from eptreplay.ingest.native.reader import read_batches
from eptreplay.ingest.native.rows import BadRows
from eptreplay.ingest.trace.ranges import LAST_TIME
from eptreplay.ingest.trace.schema import KEY_TIME_UNIT, Event
from eptreplay.model._numba.arrays import records
from eptreplay.model.access_loop.sweep import scan
from eptreplay.model.instances import GuestMemory, guest_bases, out_of_memory
from eptreplay.model.state.host import VM
from eptreplay.model.state.rows import rows_of
from eptreplay.model.vm.conservation import HOLDS, LAWS, check_instances
from eptreplay.model.vm.swap_candidates import CANDIDATE, list_candidates, note_positions
from eptreplay.replay.driver import warm_up as one_guest
from eptreplay.replay.driver.collect import guest_result
from eptreplay.replay.driver.drive import drive
from eptreplay.replay.driver.replay import Replay
from eptreplay.replay.events.carry_out import attach_devices, bad_event_callback, carry_out
from eptreplay.replay.found.host import HostFindings, Look
from eptreplay.replay.rows.activity import transitions, with_transitions
from eptreplay.replay.rows.batch import RowBatch
from eptreplay.replay.rows.clock import Clock, tick_of
from eptreplay.replay.rows.event import HostEvent
from eptreplay.replay.rows.in_order import guest_rows
from eptreplay.replay.rows.interleave import Source, interleaved
from eptreplay.replay.rows.schedule import Action, EveryStep, GivenTimes, Schedule
from eptreplay.replay.rows.span import Span, interval_schedules, sweep_schedules
from eptreplay.replay.shared_host import naming_batches, naming_one_of, untimed
from eptreplay.replay.state.guest_memory import guest_memory
from eptreplay.replay.state.host_memory import host_memory, least_need
from eptreplay.replay.state.pmap_choice import AnyPmap
from eptreplay.request.host import Align, HostOptions, VcpuModel
from eptreplay.units import PAGE_BYTES, binary_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from eptreplay.ingest.native.reader import Batch, Transition
    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.replay.driver.replay import OnRows
    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.replay.found.snapshots import Snapshot
    from eptreplay.replay.rows.steps import Due
    from eptreplay.replay.state.pmap_choice import Pmap
    from eptreplay.request.choices import Policy
    from eptreplay.request.options import Options

MOST_SCANS = 1 << 20
"""The most idle scans of a run: a table has a row for each of them."""


def _refuse_alone_only(options: Options) -> None:
    """Refuse options that only guests on hosts of their own can have."""
    if options.tlb is not None:
        raise UsageError("--tlb models guests on hosts of their own; leave it, or the host's options, out")


def replay_host(
    traces: Sequence[GuestTrace],
    profiles: Sequence[Pmap],
    options: Options,
    *,
    on_rows: OnRows | None = None,
    bad_rows: Mapping[str, BadRows] | None = None,
) -> list[GuestResult]:
    """Replay traces together as guests of one host, and return what was found of each.

    Raises:
        TraceError: the only trace is damaged, has no memory, or a row breaks a rule and the policy is `fail`.
        SharedHostError: one of several traces is, or whatever else was raised because of one guest.
        UsageError: the host's memory is too little for the guests, or units of time do not fit.
    """
    host_options = options.host or HostOptions()
    _refuse_alone_only(options)
    replay = _new_replay(traces, profiles, options, host_options)
    span, clocks = _span(traces, host_options.align)
    host = HostFindings(host_options, clocks, span.begin, span.end, _scan_times(span, host_options))
    skipped = bad_rows or {trace.name: BadRows() for trace in traces}
    replay.on_bad_event = _naming_callback(traces, options, skipped)
    attach_devices(replay, traces)
    stream = _drive(traces, replay, span, options, clocks, on_rows, skipped)
    snapshots = _follow(stream, traces, replay, host, options.policy)
    _look_ahead(host, replay, traces, [trace for trace in traces if trace.name not in host.looks])
    host.cluster_pages = [
        max(1, int(page_count)) for page_count in replay.states.vm["vm_pageout_page_count"][:, 0]
    ]
    results = []
    for number, trace in enumerate(traces):
        with naming_one_of(traces, trace):
            results.append(guest_result(trace, replay, snapshots[number], number))
            results[-1].host = host
            results[-1].interval_start = _on_trace_clock(host.begin, clocks[trace.name])
    return results


def _naming_callback(
    traces: Sequence[GuestTrace], options: Options, bad_rows: Mapping[str, BadRows]
) -> Callable[[HostEvent, int, str], None]:
    """Return the callback for events that make no sense, which names the guest of one that ends the replay."""
    callback = bad_event_callback(traces, options, [bad_rows[trace.name] for trace in traces])

    def named(event: HostEvent, row: int, reason: str) -> None:
        with naming_one_of(traces, traces[event.guest]):
            callback(event, row, reason)

    return named


def _new_replay(
    traces: Sequence[GuestTrace], profiles: Sequence[Pmap], options: Options, host_options: HostOptions
) -> Replay:
    """Return empty guests on an empty host.

    Raises:
        UsageError: its memory is too little for them.
    """
    guests = []
    for trace in traces:
        with naming_one_of(traces, trace):
            guests.append(guest_memory(trace))
    wired = sum(trace.ram_pages for trace in traces if trace.devices)
    memory = host_memory(host_options, guests, wired)
    return Replay(
        profiles,
        guests,
        [memory] * len(profiles),
        count_pages=options.page_accesses,
        slow_path=options.slow_path,
        intervals=max(1, options.intervals),
        mrc=options.mrc,
    )


def _drive(
    traces: Sequence[GuestTrace],
    replay: Replay,
    span: Span,
    options: Options,
    clocks: Mapping[str, Clock],
    on_rows: OnRows | None,
    bad_rows: Mapping[str, BadRows],
) -> Iterator[Due]:
    """Replay traces, and yield what is due wherever the replay has to stop."""
    schedules = [
        *sweep_schedules(span, options),
        *_scan_schedules(span, options.host or HostOptions()),
        *_ends(traces, span, clocks),
        *interval_schedules(span, options),
    ]
    return drive(replay, _rows(traces, replay, schedules, options, clocks, bad_rows), schedules, on_rows)


def _rows(
    traces: Sequence[GuestTrace],
    replay: Replay,
    schedules: Sequence[Schedule],
    options: Options,
    clocks: Mapping[str, Clock],
    bad_rows: Mapping[str, BadRows],
) -> Iterator[RowBatch]:
    """Return the rows of the only trace, or of several in the order of their times."""
    if len(traces) == 1:
        (trace,) = traces
        found = _activity(trace, options)
        return guest_rows(trace, schedules, options, transitions=found, bad_rows=bad_rows[trace.name])
    bases = guest_bases(replay.guests)
    return interleaved(
        [
            _source(trace, number, bases[number], replay, options, clocks, bad_rows)
            for number, trace in enumerate(traces)
        ]
    )


def _follow(
    stream: Iterator[Due],
    traces: Sequence[GuestTrace],
    replay: Replay,
    host: HostFindings,
    policy: Policy,
) -> list[list[Snapshot]]:
    """Sweep, scan and close intervals as they fall due; return the snapshots of every guest."""
    snapshots: list[list[Snapshot]] = [[] for _ in traces]

    def close(time: int | None) -> None:
        replay.close_interval()
        for number, trace in enumerate(traces):
            snapshots[number].append(replay.snapshot(_on_trace_clock(time, host.clocks[trace.name]), number))
        host.vm.append(replay.states.vm.view(np.ndarray).view(VM)[:, 0].copy())

    closed_at = -1
    for action, time in stream:
        if action is Action.SWEEP:
            replay.sweep(policy)
        elif action is Action.GUEST_END:
            _look_ahead(
                host, replay, traces, [trace for trace in traces if _end_of(trace, host.clocks) == time]
            )
        elif action is Action.SCAN:
            scan(replay.states)
            check_conservation(replay, host.options)
        else:
            close(time)
            closed_at = replay.rows
        check_memory(replay)
    check_memory(replay)
    check_conservation(replay, host.options)
    if closed_at < replay.rows or not snapshots[0]:
        close(host.end)
    return snapshots


def check_memory(replay: Replay) -> None:
    """Refuse to go on when the host ran out of memory.

    Raises:
        UsageError: the page daemon could free nothing; with the arithmetic.
    """
    instance = int(out_of_memory(replay.states))
    if instance:
        vm = replay.states.vm[instance - 1, 0]
        wired = int(replay.states.cnt["v_wired"][instance - 1].sum())
        need = least_need(int(vm["v_page_count"]), replay.guests, wired)
        raise UsageError(
            f"out of memory before row {replay.rows:,}: of {int(vm['v_page_count']):,} pages"
            f" ({binary_size(int(vm['v_page_count']) * PAGE_BYTES)}) {int(vm['v_wire_count']):,} are wired or page tables,"
            f" {int(vm['v_active_count']):,} active, {int(vm['v_inactive_count']):,} inactive,"
            f" {int(vm['v_free_count']):,} free, and the page daemon could free no more;"
            f" the least the guests need is {need}; give more with --host-memory"
        )


def check_conservation(replay: Replay, options: HostOptions) -> None:
    """Check the laws of conservation, if asked.

    Raises:
        ConservationError: one is broken.
    """
    if options.check:
        broken = int(check_instances(replay.states))
        if broken != HOLDS:
            raise ConservationError(f"before row {replay.rows:,}: {LAWS[broken]}")


def _span(traces: Sequence[GuestTrace], align: Align) -> tuple[Span, dict[str, Clock]]:
    """Return which part of the host's clock the traces cover, and how the times of each are placed on it.

    With one trace the clock is the trace's own; with several it counts nanoseconds.
    """
    if len(traces) == 1:
        return Span.of(traces[0]), {traces[0].name: Clock()}
    clocks = {}
    ends = []
    for trace in traces:
        tick = tick_of(trace, "guests of one host need times to share it")
        if trace.first_time is None or trace.last_time is None:
            raise SharedHostError(trace.name, untimed(trace))
        start = 0 if align is Align.START else int(trace.first_time * tick)
        clock = Clock(trace.first_time, tick, start)
        if (trace.last_time - trace.first_time) * tick.numerator > LAST_TIME:
            raise UsageError(
                f"guest '{trace.name}' lasts too long for the host's clock in ns; correct its {KEY_TIME_UNIT}"
            )
        clocks[trace.name] = clock
        ends.append(clock.place(trace.last_time))
    begin = min(clock.start for clock in clocks.values())
    rows = sum(trace.rows for trace in traces)
    return Span(str(traces[0].files[0]), rows, begin, max(ends), "ns"), clocks


def _scan_schedules(span: Span, options: HostOptions) -> list[Schedule]:
    """Return the schedule of idle scans, if there are any.

    Raises:
        UsageError: there would be more of them than the table of cold memory may have rows.
    """
    if options.scan_interval is None or span.rows == 0:
        return []
    schedule = span.schedule(Action.SCAN, options.scan_interval)
    scans = span.stops(schedule)
    if scans > MOST_SCANS:
        raise UsageError(
            f"--scan-interval {options.scan_interval} is {scans:,} scans from the first row to the last, and cold memory"
            f" is told by the scan; at most {MOST_SCANS:,} are possible: give a longer interval"
        )
    return [schedule]


def _scan_times(span: Span, options: HostOptions) -> EveryStep | None:
    """Return when idle scans are due; None where that is by rows, or never."""
    (schedule,) = _scan_schedules(span, options) or [Schedule(Action.SCAN)]
    return schedule.times if isinstance(schedule.times, EveryStep) else None


def _source(
    trace: GuestTrace,
    number: int,
    base: int,
    replay: Replay,
    options: Options,
    clocks: Mapping[str, Clock],
    bad_rows: Mapping[str, BadRows],
) -> Source:
    """Return one trace as a source of the interleaved rows."""
    clock = clocks[trace.name]
    batches = read_batches(trace, vcpu=True, on_bad_rows=options.on_bad_rows, bad_rows=bad_rows[trace.name])
    found = _activity(trace, options)
    if found:
        batches = with_transitions(batches, found, trace.rows)

    def key(batch: Batch, _: int) -> NDArray[np.uint64]:
        return clock.at(batch)

    def vcpu(batch: Batch) -> int:
        return trace.row_groups[batch.row_group].vcpu_constant or 0

    first_vcpu = sum(guest.vcpus for guest in replay.guests[:number])
    return Source(
        number, naming_batches(trace, batches), base, replay.guests[number].pages, first_vcpu, key, vcpu
    )


def _activity(trace: GuestTrace, options: Options) -> list[Transition]:
    """Return when vCPUs begin and stop running, if that is to be worked out from their accesses."""
    if options.host is None or options.host.vcpus is VcpuModel.ALWAYS:
        return []
    gap = options.host.idle_gap_ns if trace.idle_gap_ns is None else trace.idle_gap_ns
    tick = tick_of(trace, "--vcpus activity needs times")
    return transitions(trace, max(1, int(gap // tick)), options.on_bad_rows)


def _on_trace_clock(time: int | None, clock: Clock) -> int | None:
    """Return a time of the host's clock on the clock of a trace, rounded down to its unit."""
    return None if time is None else clock.on_trace(time)


def _end_of(trace: GuestTrace, clocks: Mapping[str, Clock]) -> int | None:
    """Return when a guest's last row is over, on the host's clock; None if unknown."""
    clock = clocks[trace.name]
    return None if trace.last_time is None else clock.place(trace.last_time) + 1


def _ends(traces: Sequence[GuestTrace], span: Span, clocks: Mapping[str, Clock]) -> list[Schedule]:
    """Return the schedule of the ends of guests that end before the host does."""
    ends = {_end_of(trace, clocks) for trace in traces}
    early = sorted(end for end in ends if end is not None and span.end is not None and end <= span.end)
    return [Schedule(Action.GUEST_END, times=GivenTimes(tuple(early)))] if early else []


def _look_ahead(
    host: HostFindings, replay: Replay, traces: Sequence[GuestTrace], ending: Sequence[GuestTrace]
) -> None:
    """Record what the page daemon would do next to guests whose traces end here."""
    begins = {
        trace.name: host.clocks[trace.name].start if len(traces) > 1 else host.begin for trace in traces
    }
    for trace in ending:
        end = _end_of(trace, host.clocks)
        host.looks[trace.name] = Look(begins[trace.name], None if end is None else end - 1, [], [], [])
    for number in range(len(replay.profiles)):
        positions = np.zeros(replay.states.page.shape[1], np.int32)
        note_positions(replay.states, number, positions)
        for trace in ending:
            guest, look = traces.index(trace), host.looks[trace.name]
            found = records(replay.guests[guest].pages, CANDIDATE)
            list_candidates(replay.states, number, guest, positions, found)
            look.candidates.append(found.view(np.ndarray).view(CANDIDATE))
            look.idle_scans.append(int(replay.states.vm[number, 0]["scans_idle"]))
            look.active.append(int(replay.states.pmap["pm_active"][number, guest]))


def warm_up() -> None:
    """Compile every kernel that a replay, of one guest or of several on one host, can need."""
    one_guest.warm_up()
    guests = [GuestMemory(np.array([[0, 1]], np.int64), 1)] * 2
    replay = Replay([AnyPmap()], guests)
    scan(replay.states)
    check_instances(replay.states)
    out_of_memory(replay.states)
    positions = np.zeros(replay.states.page.shape[1], np.int32)
    note_positions(replay.states, 0, positions)
    list_candidates(replay.states, 0, 0, positions, records(1, CANDIDATE))
    one = np.zeros(1, np.int64)
    rows = rows_of(one.astype(np.uint64), one.astype(np.uint8), guest=one.astype(np.uint8), row=one)
    replay.replay(RowBatch(1, rows), 0, 1)
    for kind in Event:
        carry_out(replay, HostEvent(0, False, 0, kind, 0, 0, 1))
