"""One guest: its trace replayed under several CPU profiles at once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from eptreplay.errors import TraceError
from eptreplay.ingest.native.reader import Batch
from eptreplay.ingest.native.row_scan import scan_rows
from eptreplay.model.access_loop import fast_path as kernels
from eptreplay.model.access_loop import sweep
from eptreplay.model.access_loop.deferred_accessed import write_deferred
from eptreplay.model.access_loop.dirty_log import harvest, new_dirty_log
from eptreplay.model.cpu.tlb import TLB_COUNTERS, Tlbs, flush_all_if_invalidated, new_tlbs, no_tlbs
from eptreplay.model.instances import GuestMemory, flat_ram_pages, guest_bases, new_instances
from eptreplay.model.recorded.checksum import state_sums
from eptreplay.model.state.address_space import PMAP
from eptreplay.model.state.counters import COUNTERS
from eptreplay.model.statistics.close_interval import close_interval
from eptreplay.model.statistics.intervals import (
    TALLY,
    count_page_accesses,
    new_interval_statistics,
    statistics_of,
)
from eptreplay.model.statistics.reuse import enter_at_rate, new_reuse, no_reuse, note_reuses
from eptreplay.model.vm.vm_limits import HostMemory
from eptreplay.profiles import resolve
from eptreplay.replay.events.carry_out import (
    PAGE_SHIFT,
    HostEvent,
    attach_devices,
    bad_event_callback,
    between,
    carry_out,
    events_of,
)
from eptreplay.replay.events.given_back import GivenBack
from eptreplay.replay.events.other_writers import OtherWriters
from eptreplay.replay.found.guest import GuestResult, guest_result
from eptreplay.replay.found.snapshots import ClosedInterval, OtherWrites, Snapshot, copied
from eptreplay.replay.rows.in_order import Due, steps
from eptreplay.replay.rows.schedule import Action, Schedule
from eptreplay.replay.state.pmap_choice import AnyPmap
from eptreplay.replay.state.tlb_shapes import tlb_shapes
from eptreplay.request.options import (
    SHARDS_PAGES,
    SHARDS_WEIGHT,
    MissRatio,
    Options,
    Policy,
    Span,
    TlbOptions,
    interval_schedules,
    sweep_schedules,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from eptreplay.ingest.native.reader import Transition
    from eptreplay.ingest.native.rows import BadRows
    from eptreplay.ingest.sources.dataset import GuestTrace
    from eptreplay.model.statistics.intervals import GuestStatistics
    from eptreplay.model.statistics.reuse import Reuse
    from eptreplay.replay.state.pmap_choice import Pmap

PAGE_BYTES = 4096
GUEST_PBASE = 0x1_0000_0000
"""Physical address of frame 0, bytes."""

HEATMAP_STRETCHES = 256
"""The most stretches of addresses that a heatmap has."""


TLB_STAND_IN = "haswell"
"""The CPU whose TLBs a profile gets that is no real CPU."""


OnRows = Callable[[int], None]
"""Hears how many more rows were replayed."""


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array marked read-only, like views of decoded columns: kernels are compiled for that alone."""
    array.flags.writeable = False
    return array


NO_SIZES = _read_only(np.zeros(0, np.uint16))
NO_COUNTS = _read_only(np.zeros(0, np.uint32))
NO_GUESTS = _read_only(np.zeros(0, np.uint8))
NO_ROW_NUMBERS = _read_only(np.zeros(0, np.int64))


Columns: TypeAlias = (
    "tuple[NDArray[np.uint64], NDArray[np.uint8], NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint32]]"
)
"""Rows as kernels take them: gpa, op, vcpu, size and count of kernels.replay_rows."""


def accesses(batch: Batch, begin: int, end: int, vcpu_constant: int) -> Columns:
    """Return rows [begin, end) of a batch; `vcpu_constant` made them where the batch has no column of vCPUs."""
    return (
        batch.gpa[begin:end],
        batch.op[begin:end],
        _one_vcpu(vcpu_constant) if batch.vcpu is None else _wide(batch.vcpu[begin:end]),
        _wide(batch.size[begin:end]) if batch.size is not None and batch.crosses else NO_SIZES,
        NO_COUNTS if batch.count is None else batch.count[begin:end],
    )


@functools.cache
def _one_vcpu(number: int) -> NDArray[np.uint16]:
    return _read_only(np.array([number], np.uint16))


def _wide(values: NDArray[np.unsignedinteger]) -> NDArray[np.uint16]:
    return _read_only(values.astype(np.uint16))


def reuse_for(
    mrc: MissRatio, guests: Sequence[GuestMemory], watched: NDArray[np.uint8] | None = None
) -> Reuse:
    """Return what takes in distances of reuse for a miss-ratio curve, none if it needs none; see new_reuse."""
    if mrc is MissRatio.INTERVALS:
        return no_reuse()
    pages = int(flat_ram_pages(guests)[-1, 1])
    bounds = np.array([*guest_bases(guests), pages], np.int64)
    sample = (SHARDS_PAGES, SHARDS_WEIGHT) if mrc is MissRatio.SHARDS else (pages, 1)
    return new_reuse(bounds, *sample, watched)


@dataclass(slots=True)
class Replay:
    """The state of a host's replay under several profiles; rows of its guests go in, counters come out.

    Args:
        profiles: the CPUs.
        guests: memory and vCPUs of every guest.
        hosts: the memory of the host under every profile; empty: a frame for every guest page, and no page
            daemon.
        count_pages: whether to count the accesses of every page exactly.
        slow_path: whether the models make every access, also those known to change nothing.
        tlb: how TLBs are modelled, of a host with one guest; None: not at all.
        intervals: the most intervals there will be.
        mrc: how the miss-ratio curve is found.
        log_words: room for the log of what the host does, words a profile.
        on_bad_event: hears of events that make no sense, and why.
    """

    profiles: Sequence[Pmap]
    guests: Sequence[GuestMemory]
    hosts: Sequence[HostMemory] = ()
    count_pages: bool = False
    slow_path: bool = False
    tlb: TlbOptions | None = None
    intervals: int = 1
    mrc: MissRatio = MissRatio.INTERVALS
    log_words: int = 0
    on_bad_event: Callable[[HostEvent, int, str], None] | None = None
    rows: int = 0
    rows_of: NDArray[np.int64] = field(init=False)
    states: Any = field(init=False)
    statistics: Any = field(init=False)
    log: Any = field(init=False)
    tlbs: Any = field(init=False)
    reuse: Any = field(init=False)
    page_accesses: NDArray[np.int64] = field(init=False)
    others: list[OtherWriters] = field(init=False)
    given_back: list[GivenBack] = field(init=False)
    _closed: list[OtherWrites] = field(init=False)
    _tally: NDArray[np.void] = field(init=False)
    _cnt: NDArray[np.void] = field(init=False)
    _pmap: NDArray[np.void] = field(init=False)

    def __post_init__(self) -> None:
        """Make the empty guests."""
        self.rows_of = np.zeros(len(self.guests), np.int64)
        self.states = new_instances(
            np.array([profile.pmap_type for profile in self.profiles], np.int64),
            np.array([profile.pmap_flags for profile in self.profiles], np.int64),
            self.guests,
            self.hosts or [HostMemory(page_daemon=False)] * len(self.profiles),
            GUEST_PBASE,
            self.log_words,
        )
        ram_pages = flat_ram_pages(self.guests)
        pages = int(ram_pages[-1, 1])
        self.statistics = new_interval_statistics(
            self.states.guests[0],
            ram_pages,
            self.intervals,
            HEATMAP_STRETCHES,
            slow_path=self.slow_path,
            deferring=not self.hosts and self.tlb is None,
        )
        pml = np.array([profile.pml for profile in self.profiles])
        self.log = new_dirty_log(pml, pages, sum(guest.vcpus for guest in self.guests))
        self.reuse = reuse_for(self.mrc, self.guests, self.states.fast_path)
        self.tlbs = no_tlbs() if self.tlb is None else self._new_tlbs(self.tlb)
        # Views that every end of an interval needs, without attribute access, which is slow outside kernels.
        self._tally = self.statistics.tally.view(np.ndarray).view(TALLY)
        self._cnt = self.states.cnt.view(np.ndarray).view(COUNTERS)
        self._pmap = self.states.pmap.view(np.ndarray).view(PMAP)
        self.page_accesses = np.zeros((pages if self.count_pages else 0, 4), np.int64)
        self.others = [OtherWriters(base) for base in guest_bases(self.guests)]
        self.given_back = [
            GivenBack(base, guest.pages)
            for base, guest in zip(guest_bases(self.guests), self.guests, strict=True)
        ]
        self._closed = [OtherWrites()] * len(self.guests)

    def _new_tlbs(self, options: TlbOptions) -> Tlbs:
        """Return the TLBs of every profile's CPU; a profile that is no real CPU has those of TLB_STAND_IN."""
        units, route = tlb_shapes(self.profiles, resolve(TLB_STAND_IN))
        (guest,) = self.guests
        return new_tlbs(
            units, route, guest.vcpus, guest_large=options.guest_large, structures=options.structures
        )

    def tlb_counters(self) -> NDArray[Any]:
        """Return TLB_COUNTERS [profiles] as they are now, invalidations since the last row included."""
        flush_all_if_invalidated(self.states, self.tlbs)
        counters: NDArray[Any] = self.tlbs.counters.view(np.ndarray).view(TLB_COUNTERS)[:, 0].copy()
        return counters

    def replay(self, batch: Batch, begin: int, end: int, vcpu_constant: int = 0) -> None:
        """Replay rows [begin, end) of a batch of the only guest.

        `vcpu_constant` made the accesses where the batch has no column of vCPUs.
        """
        if not batch.events and not batch.transitions:
            self._replay_rows(batch, begin, end, vcpu_constant)
            return
        for first, last, event in between(events_of(batch, begin, end), begin, end):
            self._replay_rows(batch, first, last, vcpu_constant)
            if event is not None:
                self.carry_out(event)

    def carry_out(self, event: HostEvent) -> None:
        """Carry out an event, or tell whoever wants to know why it makes no sense."""
        if event.is_row:
            self.rows += 1
            self.rows_of[event.guest] += 1
        row = int(self.rows_of[event.guest]) - 1
        self.write_deferred()
        reason = carry_out(self, event)
        if not reason:
            self._note_other(event, row)
        elif self.on_bad_event is not None:
            self.on_bad_event(event, row, reason)

    def _note_other(self, event: HostEvent, row: int) -> None:
        """Enter an event in the interval statistics if it is an access to memory."""
        flat = self.others[event.guest].note(event, self.statistics, self.states.fast_path, row)
        if flat is not None:
            gpa = _read_only(np.array([flat << PAGE_SHIFT], np.uint64))
            note_reuses(self.reuse, self.states.fast_path, gpa, NO_SIZES)

    def _replay_rows(self, batch: Batch, begin: int, end: int, vcpu_constant: int) -> None:
        """Replay rows [begin, end) of a batch, all of them accesses."""
        if end <= begin:
            return
        self.rows_of[0] += end - begin
        self.replay_flat(*accesses(batch, begin, end, vcpu_constant), NO_GUESTS, NO_ROW_NUMBERS)

    def replay_flat(
        self,
        gpa: NDArray[np.uint64],
        op: NDArray[np.uint8],
        vcpu: NDArray[np.uint16],
        size: NDArray[np.uint16],
        count: NDArray[np.uint32],
        guest: NDArray[np.uint8],
        row: NDArray[np.int64],
    ) -> None:
        """Replay rows; see kernels.replay_rows."""
        kernels.replay_rows(
            self.states,
            self.statistics,
            self.log,
            self.tlbs,
            self.reuse,
            gpa,
            op,
            vcpu,
            size,
            count,
            guest,
            row,
            self.rows,
        )
        if self.count_pages:
            count_page_accesses(gpa, op, size, count, self.page_accesses)
        self.rows += len(gpa)

    def sweep(self, policy: Policy) -> None:
        """Let the host sweep over all pages in every profile."""
        if policy is Policy.AGE:
            sweep.age(self.states, self.statistics)
        elif policy is Policy.HARVEST:
            self.write_deferred()
            harvest(self.states, self.statistics, self.log)

    def write_deferred(self) -> None:
        """Write what stands for accessed bits to the entries, before anything but rows and sweeps looks at them."""
        write_deferred(self.states, self.statistics)

    def close_interval(self) -> None:
        """Enter the open interval in the interval statistics and begin the next."""
        self._closed = [others.close(self.statistics, self.states.fast_path) for others in self.others]
        close_interval(self.states, self.statistics)
        for given_back, tally in zip(self.given_back, self._tally, strict=True):
            given_back.close(self.statistics, int(tally["interval"]) - 1)

    def snapshot(self, time: int | None, guest: int = 0) -> Snapshot:
        """Return the interval statistics of a guest as they are now."""
        statistics = ClosedInterval(self.states, self.statistics, guest, self._tally[guest : guest + 1])
        cnt, pmap = copied(self._cnt[:, guest]), copied(self._pmap[:, guest])
        return Snapshot(int(self.rows_of[guest]), time, statistics, cnt, pmap, self._closed[guest])

    def statistics_of(self, guest: int) -> GuestStatistics:
        """Return the interval statistics of one guest, as views."""
        return statistics_of(self.statistics, self.states.guests[0, guest])

    def state_sums(self) -> list[int]:
        """Return the checksum of every profile's tables."""
        self.write_deferred()
        sums = np.zeros(len(self.profiles), np.uint64)
        state_sums(self.states, sums)
        return [int(value) for value in sums]


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
    for action, time in drive(
        trace, replay, schedules, options, vcpu=True, on_rows=on_rows, bad_rows=bad_rows
    ):
        if action is Action.SWEEP:
            replay.sweep(options.policy)
        else:
            replay.close_interval()
            snapshots.append(replay.snapshot(time))
    if not snapshots or snapshots[-1].rows < replay.rows:
        replay.close_interval()
        snapshots.append(replay.snapshot(trace.last_time))
    return guest_result(trace, replay, snapshots)


def drive(
    trace: GuestTrace,
    replay: Replay,
    schedules: Sequence[Schedule],
    options: Options,
    *,
    vcpu: bool = False,
    found: Sequence[Transition] = (),
    on_rows: OnRows | None = None,
    bad_rows: BadRows | None = None,
) -> Iterator[tuple[Action, int | None]]:
    """Feed a trace to a replay and yield wherever a cut asks for an action, with the cut's time.

    Without `vcpu`, vCPU 0 counts as the one that made every access.  `found` are the vCPUs that begin and cease
    to run.
    """
    for step in steps(trace, schedules, options, vcpu=vcpu, found=found, on_rows=on_rows, bad_rows=bad_rows):
        if isinstance(step, Due):
            yield step
        else:
            replay.replay(*step)


def guest_ram_pages(trace: GuestTrace) -> NDArray[np.int64]:
    """Return the guest pages that are memory, shape [ranges, 2].

    Raises:
        TraceError: none are.
    """
    ranges = trace.ram_ranges()
    if not ranges:
        raise TraceError(
            str(trace.files[0]),
            "the memory layout has no whole page of memory",
            expected="at least one segment whose kind starts with 'ram'",
            advice="give the segments in a guest.toml beside the trace",
        )
    return np.array(ranges, np.int64)


def guest_memory(trace: GuestTrace) -> GuestMemory:
    """Return the guest as its host knows it.

    Raises:
        TraceError: it has no memory.
    """
    bars = [
        (bar.gpa // PAGE_BYTES, (bar.gpa + bar.bytes) // PAGE_BYTES)
        for device in trace.devices
        for bar in device.bars
    ]
    return GuestMemory(guest_ram_pages(trace), trace.vcpus, np.array(bars, np.int64).reshape(-1, 2))


def warm_up(policies: Sequence[Policy] = tuple(Policy)) -> None:
    """Compile the kernels of a replay with any of these policies, or load them from the cache."""
    guest = GuestMemory(np.array([[0, 1]], np.int64), 1)
    replay = Replay([AnyPmap()], [guest], mrc=MissRatio.SHARDS)
    gpa = _read_only(np.zeros(1, np.uint64))
    sizes = _read_only(np.ones(1, np.uint16))
    op = _read_only(np.zeros(1, np.uint8))
    for kind in (np.uint8, np.uint16):
        scan_rows({"gpa": gpa, "op": op, "size": _read_only(sizes.astype(kind))}, 0)
    batch = Batch(
        row_group=0, first_row=0, rows=1, gpa=gpa, op=op, vcpu=None, size=sizes, count=None, time=None
    )
    replay.replay(batch, 0, 1)
    for policy in policies:
        replay.sweep(policy)
    replay.close_interval()
    replay.snapshot(None)
    replay.state_sums()
    replay.tlb_counters()
    enter_at_rate(replay.reuse, 0)
    sweep.observe_pages(replay.states, 0, np.zeros(1, np.int64), np.zeros((1, 1), np.uint8))
