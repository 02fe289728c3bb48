"""A replay: rows of the guests of a host go in, and change its state under several CPU profiles at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.errors import UsageError
from eptreplay.model._numba.arrays import arrays_in, loaded, loaded_arrays, saved
from eptreplay.model.access_loop import fast_path as kernels
from eptreplay.model.access_loop import sweep
from eptreplay.model.access_loop.deferred_accessed import write_deferred
from eptreplay.model.access_loop.dirty_log import DirtyLog, harvest, new_dirty_log
from eptreplay.model.cpu.tlb import TLB_COUNTERS, Tlbs, flush_all_if_invalidated, new_tlbs, no_tlbs
from eptreplay.model.instances import GuestMemory, Kernel, flat_ram_pages, guest_bases, new_instances
from eptreplay.model.recorded.checksum import state_sums
from eptreplay.model.state.address_space import PMAP
from eptreplay.model.state.counters import COUNTERS
from eptreplay.model.state.releases import ASSERTIONS
from eptreplay.model.state.rows import Rows, rows_of
from eptreplay.model.state.state import State, stacked
from eptreplay.model.statistics.close_interval import close_interval
from eptreplay.model.statistics.intervals import (
    TALLY,
    IntervalStatistics,
    count_page_accesses,
    new_interval_statistics,
    statistics_of,
)
from eptreplay.model.statistics.reuse import note_reuses
from eptreplay.model.statistics.reuse_arrays import Reuse, new_reuse, no_reuse
from eptreplay.model.vm.vm_limits import HostMemory
from eptreplay.profiles import resolve
from eptreplay.replay.events.carry_out import PAGE_SHIFT, carry_out
from eptreplay.replay.events.given_back import GivenBack
from eptreplay.replay.events.other_writers import OtherWriters
from eptreplay.replay.found.snapshots import ClosedInterval, OtherWrites, Snapshot, copied
from eptreplay.replay.rows.event import HostEvent, between
from eptreplay.replay.state.tlb_shapes import tlb_shapes
from eptreplay.request.choices import MissRatio, Policy
from eptreplay.request.options import SHARDS_PAGES, SHARDS_WEIGHT, TlbOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from eptreplay.model.statistics.intervals import GuestStatistics
    from eptreplay.replay.rows.batch import RowBatch
    from eptreplay.replay.state.pmap_choice import Pmap

GUEST_PBASE = 0x1_0000_0000
"""Physical address of frame 0, bytes."""

HEATMAP_STRETCHES = 256
"""The most stretches of addresses that a heatmap has."""

TLB_STAND_IN = "haswell"
"""The CPU whose TLBs a profile gets that is no real CPU."""


OnRows = Callable[[int], None]
"""A callback that takes how many more rows were replayed."""


def reuse_for(
    mrc: MissRatio, guests: Sequence[GuestMemory], watched: NDArray[np.uint8] | None = None
) -> Reuse:
    """Return the reuse distances that a miss-ratio curve is made from, none if it needs none; see new_reuse."""
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
        hosts: the memory of the host under every profile; empty: there is a frame for every guest page, and no page
            daemon.
        count_pages: whether to count the accesses of every page exactly.
        slow_path: whether the models make every access, also those known to change nothing.
        tlb: how TLBs are modelled, of a host with one guest; None: not at all.
        intervals: the most intervals there will be.
        mrc: how the miss-ratio curve is found.
        log_words: room for the log of what the host does, words per profile.
        on_bad_event: a callback that takes an event that makes no sense, its row, and why.
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
    closed: list[OtherWrites] = field(init=False)
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
            [Kernel(profile.release, profile.allow_2m_x_ept, profile.fault_2m) for profile in self.profiles],
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
        self._take_views()
        self.page_accesses = np.zeros((pages if self.count_pages else 0, 4), np.int64)
        self.others = [OtherWriters(base) for base in guest_bases(self.guests)]
        self.given_back = [
            GivenBack(base, guest.pages)
            for base, guest in zip(guest_bases(self.guests), self.guests, strict=True)
        ]
        self.closed = [OtherWrites()] * len(self.guests)

    def _take_views(self) -> None:
        """Take the views that every end of an interval needs: attribute access is slow outside kernels."""
        self._tally = self.statistics.tally.view(np.ndarray).view(TALLY)
        self._cnt = self.states.cnt.view(np.ndarray).view(COUNTERS)
        self._pmap = self.states.pmap.view(np.ndarray).view(PMAP)

    def saved(self) -> dict[str, dict[str, NDArray[Any]]]:
        """Return copies of all arrays of the model, by structure and name: what a checkpoint has to keep of it."""
        structures = (self.states, self.statistics, self.log, self.tlbs, self.reuse)
        return {type(structure).__name__: saved(structure) for structure in structures}

    def arrays(self) -> dict[str, dict[str, NDArray[Any]]]:
        """Return all arrays of the model as they are now, by structure and name, as plain views: for `load`, before the next row."""
        structures = (self.states, self.statistics, self.log, self.tlbs, self.reuse)
        return {
            type(structure).__name__: {
                name: np.asarray(getattr(structure, name)) for name in arrays_in(type(structure))
            }
            for structure in structures
        }

    def load(self, kept: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        """Go on with arrays that `saved` returned, of a replay of the same guests and profiles, in new memory."""
        self.states = stacked(loaded_arrays(State, kept["State"]))
        watches = {"watched": self.states.fast_path} if self.mrc is not MissRatio.INTERVALS else {}
        self.statistics = loaded(IntervalStatistics, kept["IntervalStatistics"])
        self.log = loaded(DirtyLog, kept["DirtyLog"])
        self.tlbs = loaded(Tlbs, kept["Tlbs"])
        self.reuse = loaded(Reuse, kept["Reuse"], watches)
        self._take_views()

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

    def replay(self, batch: RowBatch, begin: int, end: int) -> None:
        """Replay rows [begin, end) of a batch, with the events among them."""
        if not batch.events:
            self._replay_rows(batch.rows, begin, end)
            return
        events = [
            event
            for event in batch.events
            if begin <= event.position < end or event.position == end == batch.length
        ]
        for first, last, event in between(events, begin, end):
            self._replay_rows(batch.rows, first, last)
            if event is not None:
                self.carry_out(event)

    def carry_out(self, event: HostEvent) -> None:
        """Carry out an event, or report why it makes no sense."""
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
            rows = rows_of(np.array([flat << PAGE_SHIFT], np.uint64), np.zeros(1, np.uint8))
            note_reuses(self.reuse, self.states.fast_path, rows, 0, 1)

    def _replay_rows(self, rows: Rows, begin: int, end: int) -> None:
        """Replay rows [begin, end), all of them accesses."""
        if end <= begin:
            return
        self.replay_rows(rows, begin, end, self.rows - begin)
        if len(rows.guest):
            self.rows_of += np.bincount(rows.guest[begin:end], minlength=len(self.rows_of))
        else:
            self.rows_of[0] += end - begin

    def replay_rows(self, rows: Rows, begin: int, end: int, first_row: int) -> None:
        """Replay rows [begin, end); see fast_path.replay_rows."""
        kernels.replay_rows(
            self.states, self.statistics, self.log, self.tlbs, self.reuse, rows, begin, end, first_row
        )
        if self.count_pages:
            count_page_accesses(rows, begin, end, self.page_accesses)
        self.rows += end - begin

    def sweep(self, policy: Policy) -> None:
        """Let the host sweep over all pages in every profile."""
        if policy is Policy.AGE:
            sweep.age(self.states, self.statistics)
        elif policy is Policy.HARVEST:
            self.write_deferred()
            harvest(self.states, self.statistics, self.log)

    def write_deferred(self) -> None:
        """Write deferred accessed bits to the entries, before anything but rows and aging sweeps looks at them."""
        write_deferred(self.states, self.statistics)

    def close_interval(self) -> None:
        """Enter the open interval in the interval statistics and begin the next."""
        self.closed = [others.close(self.statistics, self.states.fast_path) for others in self.others]
        close_interval(self.states, self.statistics)
        for given_back, tally in zip(self.given_back, self._tally, strict=True):
            given_back.close(self.statistics, int(tally["interval"]) - 1)

    def snapshot(self, time: int | None, guest: int = 0) -> Snapshot:
        """Return the interval statistics of a guest as they are now."""
        statistics = ClosedInterval(self.states, self.statistics, guest, self._tally[guest : guest + 1])
        cnt, pmap = copied(self._cnt[:, guest]), copied(self._pmap[:, guest])
        return Snapshot(int(self.rows_of[guest]), time, statistics, cnt, pmap, self.closed[guest])

    def statistics_of(self, guest: int) -> GuestStatistics:
        """Return the interval statistics of one guest, as views."""
        return statistics_of(self.statistics, self.states.guests[0, guest])

    def check_asserted(self) -> None:
        """Refuse what was found if something occurred that the kernel asserts never does.

        Raises:
            UsageError: it did; with the profile and what occurred.
        """
        for number, asserted in enumerate(self.states.host["asserted"][:, 0]):
            if asserted:
                named = getattr(self.profiles[number], "name", f"number {number}")
                raise UsageError(
                    f"profile '{named}': by row {self.rows:,} something occurred that the kernel asserts never does: "
                    f"{ASSERTIONS[int(asserted)]}. A kernel with INVARIANTS panics there, and what another does is not modelled: "
                    "replay without this profile"
                )

    def state_sums(self) -> list[int]:
        """Return the checksum of every profile's tables."""
        self.write_deferred()
        sums = np.zeros(len(self.profiles), np.uint64)
        state_sums(self.states, sums)
        return [int(value) for value in sums]
