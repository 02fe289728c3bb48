"""All guests of a run on one host: replayed together, in the order of their times."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay import guest as guest_replay
from eptreplay.activity import transitions, with_transitions
from eptreplay.cuts import Action, Cutter, EveryStep, GivenTimes, Rhythm
from eptreplay.errors import ConservationError, SharedHostError, UsageError
from eptreplay.events import HostEvent, attach_devices, carry_out, teller
from eptreplay.guest import Replay, drive, guest_memory
from eptreplay.guest_result import guest_result
from eptreplay.host import Align, HostOptions, VcpuModel, host_memory, least_need
from eptreplay.ingest.reader import read_batches
from eptreplay.ingest.rows import BadRows
from eptreplay.ingest.schema import Event
from eptreplay.merge import Clock, Merged, Source, merged, replay_merged
from eptreplay.model.candidates import CANDIDATE, list_candidates, note_positions
from eptreplay.model.conservation import HOLDS, LAWS, check_worlds
from eptreplay.model.host_state import VM
from eptreplay.model.state import records
from eptreplay.model.sweep import scan
from eptreplay.model.worlds import GuestMemory, guest_bases, out_of_memory
from eptreplay.options import Span, interval_rhythms, sweep_rhythms
from eptreplay.pmap_choice import AnyPmap
from eptreplay.shared_host import naming, naming_batches, naming_one_of, untimed
from eptreplay.units import NANOSECONDS, binary_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from eptreplay.guest import Watcher
    from eptreplay.guest_result import GuestResult
    from eptreplay.ingest.dataset import GuestTrace
    from eptreplay.ingest.reader import Batch, Transition
    from eptreplay.options import Options, Policy
    from eptreplay.pmap_choice import Pmap
    from eptreplay.snapshots import Snapshot

PAGE_BYTES = 4096
MOST_SCANS = 1 << 20
"""Idle scans of a run: as many as there may be intervals, and likewise rows of tables."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the page daemon would do next to a guest, when its trace ends: of what comes after, nothing is known.

    Args:
        begin, end: of the guest's trace, on the host's clock; None if unknown.
        idle_scans: shape [profiles]: idle scans so far.
        active: shape [profiles]: host CPUs that run the guest.
        candidates: for every profile: CANDIDATE [guest pages].
    """

    begin: int | None
    end: int | None
    idle_scans: list[int]
    active: list[int]
    candidates: list[NDArray[Any]]


@dataclass(slots=True)
class HostFindings:
    """What a host did beside what its guests did; times count on the host's clock.

    Args:
        options: of the host.
        clocks: by guest, how its times are placed on the host's clock.
        begin, end: when the first guest begins and the last one ends; None if unknown.
        scans: when idle scans were due, of which there can be too many for a list; None if only their rows are known.
        vm: VM [profiles] at the end of every interval.
        cluster_pages: shape [profiles]: the most pages written to swap at once.
        looks: by guest, what would be done to it at the end of its trace.
    """

    options: HostOptions
    clocks: Mapping[str, Clock]
    begin: int | None
    end: int | None
    scans: EveryStep | None = None
    vm: list[NDArray[np.void]] = field(default_factory=list)
    cluster_pages: list[int] = field(default_factory=list)
    looks: dict[str, Look] = field(default_factory=dict)

    def age_times(self, trace: GuestTrace, scan: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how long before the guest's end each idle scan was, at most as long as its trace, in the trace's unit.

        Scan 0 is the begin of the host; -1: unknown.
        """
        look = self.looks[trace.name]
        if self.begin is None or look.begin is None or look.end is None:
            return np.full(len(scan), -1, np.int64)
        step = 0 if self.scans is None else self.scans.step
        ages = look.end - (self.begin + step * scan.astype(np.int64))
        ages = np.minimum(ages, look.end - look.begin) // self.clocks[trace.name].tick
        return ages if self.scans is not None else np.where(scan == 0, ages, -1)


def _refuse_alone_only(options: Options) -> None:
    """Refuse options that only guests on hosts of their own can have."""
    if options.tlb is not None:
        raise UsageError("--tlb models guests on hosts of their own; leave it, or the host's options, out")


def replay_host(
    traces: Sequence[GuestTrace],
    profiles: Sequence[Pmap],
    options: Options,
    *,
    watch: Watcher | None = None,
    bad_rows: Mapping[str, BadRows] | None = None,
) -> list[GuestResult]:
    """Replay traces together as guests of one host, and return what there is to tell of each.

    Raises:
        TraceError: the only trace is damaged, has no memory, or a row breaks a rule and the policy is `fail`.
        SharedHostError: one of several is, or whatever else was raised on behalf of one guest.
        UsageError: the host's memory is too little for the guests, or units of time do not fit.
    """
    host_options = options.host or HostOptions()
    _refuse_alone_only(options)
    replay = _new_replay(traces, profiles, options, host_options)
    span, clocks = _span(traces, host_options.align)
    host = HostFindings(host_options, clocks, span.begin, span.end, _scan_times(span, host_options))
    skipped = bad_rows or {trace.name: BadRows() for trace in traces}
    replay.tell_bad_event = _naming_teller(traces, options, skipped)
    attach_devices(replay, traces)
    stream = _drive(traces, replay, span, options, clocks, watch, skipped)
    snapshots = _follow(stream, traces, replay, host, options.policy)
    _look(host, replay, traces, [trace for trace in traces if trace.name not in host.looks])
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


def _naming_teller(
    traces: Sequence[GuestTrace], options: Options, bad_rows: Mapping[str, BadRows]
) -> Callable[[HostEvent, int, str], None]:
    """Return what hears of events that make no sense, and names the guest of one that ends the replay."""
    tell = teller(traces, options, [bad_rows[trace.name] for trace in traces])

    def named(event: HostEvent, row: int, reason: str) -> None:
        with naming_one_of(traces, traces[event.guest]):
            tell(event, row, reason)

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
    watch: Watcher | None,
    bad_rows: Mapping[str, BadRows],
) -> Iterator[tuple[Action, int | None]]:
    """Feed traces to a replay, and yield wherever a cut asks for an action, with the cut's time."""
    rhythms = [
        *sweep_rhythms(span, options),
        *_scan_rhythms(span, options.host or HostOptions()),
        *_ends(traces, span, clocks),
        *interval_rhythms(span, options),
    ]
    if len(traces) > 1:
        return _drive_together(traces, replay, rhythms, options, clocks, watch, bad_rows)
    (trace,) = traces
    return drive(
        trace,
        replay,
        rhythms,
        options,
        vcpu=True,
        found=_activity(trace, options),
        watch=watch,
        bad_rows=bad_rows[trace.name],
    )


def _follow(
    stream: Iterator[tuple[Action, int | None]],
    traces: Sequence[GuestTrace],
    replay: Replay,
    host: HostFindings,
    policy: Policy,
) -> list[list[Snapshot]]:
    """Sweep, scan and close intervals as the stream asks for it; return every guest's snapshots."""
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
            _look(host, replay, traces, [trace for trace in traces if _end_of(trace, host.clocks) == time])
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
    world = int(out_of_memory(replay.states))
    if world:
        vm = replay.states.vm[world - 1, 0]
        wired = int(replay.states.cnt["v_wired"][world - 1].sum())
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
        broken = int(check_worlds(replay.states))
        if broken != HOLDS:
            raise ConservationError(f"before row {replay.rows:,}: {LAWS[broken]}")


def _span(traces: Sequence[GuestTrace], align: Align) -> tuple[Span, dict[str, Clock]]:
    """Return what part of the host's clock the traces cover, and how each is placed on it.

    With one trace the clock is the trace's own; with several it counts nanoseconds.
    """
    if len(traces) == 1:
        return Span.of(traces[0]), {traces[0].name: Clock()}
    clocks = {}
    ends = []
    for trace in traces:
        if trace.time_unit not in NANOSECONDS:
            raise UsageError(
                f"guest '{trace.name}' counts {trace.time_unit}, no time; guests of one host need times to share it"
            )
        if trace.first_time is None or trace.last_time is None:
            raise SharedHostError(trace.name, untimed(trace))
        tick = NANOSECONDS[trace.time_unit]
        start = 0 if align is Align.START else trace.first_time * tick
        clocks[trace.name] = Clock(trace.first_time, tick, start)
        ends.append((trace.last_time - trace.first_time) * tick + start)
    begin = min(clock.start for clock in clocks.values())
    rows = sum(trace.rows for trace in traces)
    return Span(str(traces[0].files[0]), rows, begin, max(ends), "ns"), clocks


def _scan_rhythms(span: Span, options: HostOptions) -> list[Rhythm]:
    """Return the cuts that idle scans ask for.

    Raises:
        UsageError: there would be more of them than the table of cold memory may have rows.
    """
    if options.scan_interval is None or span.rows == 0:
        return []
    rhythm = span.rhythm(Action.SCAN, options.scan_interval)
    scans = span.cuts(rhythm)
    if scans > MOST_SCANS:
        raise UsageError(
            f"--scan-interval {options.scan_interval} is {scans:,} scans from the first row to the last, and cold memory"
            f" is told by the scan; at most {MOST_SCANS:,} are possible: give a longer interval"
        )
    return [rhythm]


def _scan_times(span: Span, options: HostOptions) -> EveryStep | None:
    """Return when idle scans are due; None where that is by rows, or never."""
    (rhythm,) = _scan_rhythms(span, options) or [Rhythm(Action.SCAN)]
    return rhythm.times if isinstance(rhythm.times, EveryStep) else None


def _drive_together(
    traces: Sequence[GuestTrace],
    replay: Replay,
    rhythms: Sequence[Rhythm],
    options: Options,
    clocks: Mapping[str, Clock],
    watch: Watcher | None,
    bad_rows: Mapping[str, BadRows],
) -> Iterator[tuple[Action, int | None]]:
    """Feed several traces to a replay in the order of their times, and yield wherever a cut asks for an action."""
    bases = guest_bases(replay.guests)
    sources = []
    for number, trace in enumerate(traces):
        with naming(trace):
            sources.append(_source(trace, number, bases[number], replay, options, clocks, bad_rows))
    cutter = Cutter(rhythms)
    for batch in merged(sources):
        begin = 0
        for cut in cutter.cuts(batch, replay.rows, None):
            if cut.rows > begin:
                replay_merged(replay, batch, begin, cut.rows)
                begin = cut.rows
            yield cut.action, cut.time
        if batch.rows > begin:
            replay_merged(replay, batch, begin, batch.rows)
        if watch is not None:
            watch(batch.rows)


def _source(
    trace: GuestTrace,
    number: int,
    base: int,
    replay: Replay,
    options: Options,
    clocks: Mapping[str, Clock],
    bad_rows: Mapping[str, BadRows],
) -> Source:
    """Return one trace on its way into the common order."""
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
    """Return when vCPUs begin and cease to run, if activity is to tell."""
    if options.host is None or options.host.vcpus is VcpuModel.ALWAYS:
        return []
    gap = options.host.idle_gap_ns if trace.idle_gap_ns is None else trace.idle_gap_ns
    if trace.time_unit not in NANOSECONDS:
        raise UsageError(
            f"guest '{trace.name}' counts {trace.time_unit}, no time; --vcpus activity needs times"
        )
    return transitions(trace, max(1, gap // NANOSECONDS[trace.time_unit]), options.on_bad_rows)


def _on_trace_clock(time: int | None, clock: Clock) -> int | None:
    """Return a time of the host's clock in the unit of a trace, where it begins."""
    return None if time is None else clock.begin + (time - clock.start) // clock.tick


def _end_of(trace: GuestTrace, clocks: Mapping[str, Clock]) -> int | None:
    """Return when a guest's last row is over, on the host's clock; None if unknown."""
    clock = clocks[trace.name]
    return None if trace.last_time is None else (trace.last_time - clock.begin) * clock.tick + clock.start + 1


def _ends(traces: Sequence[GuestTrace], span: Span, clocks: Mapping[str, Clock]) -> list[Rhythm]:
    """Return the cuts where guests end before the host does."""
    ends = {_end_of(trace, clocks) for trace in traces}
    early = sorted(end for end in ends if end is not None and span.end is not None and end <= span.end)
    return [Rhythm(Action.GUEST_END, times=GivenTimes(tuple(early)))] if early else []


def _look(
    host: HostFindings, replay: Replay, traces: Sequence[GuestTrace], ending: Sequence[GuestTrace]
) -> None:
    """Note what the page daemon would do next to guests whose traces end here."""
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
    guest_replay.warm_up()
    guests = [GuestMemory(np.array([[0, 1]], np.int64), 1)] * 2
    replay = Replay([AnyPmap()], guests)
    scan(replay.states)
    check_worlds(replay.states)
    out_of_memory(replay.states)
    positions = np.zeros(replay.states.page.shape[1], np.int32)
    note_positions(replay.states, 0, positions)
    list_candidates(replay.states, 0, 0, positions, records(1, CANDIDATE))
    batch = Merged.of_one_row()
    replay_merged(replay, batch, 0, batch.rows)
    for kind in Event:
        carry_out(replay, HostEvent(0, False, 0, kind, 0, 0, 1))
