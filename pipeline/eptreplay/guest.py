"""One guest: its trace replayed under several CPU profiles at once, and what there is to tell of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from eptreplay.analysis.migration import Link
from eptreplay.cuts import Action, Cutter, Rhythm, timed_row_groups
from eptreplay.errors import TraceError
from eptreplay.ingest.reader import Batch, read_batches
from eptreplay.model import replay as kernels
from eptreplay.model import sweep
from eptreplay.model._jit import compiled_before
from eptreplay.model.books import TALLY, close_interval, count_page_accesses, may_cross, new_books
from eptreplay.model.checksum import state_sums
from eptreplay.model.dirty_log import harvest, new_dirty_log
from eptreplay.model.reuse import new_reuse, note_reuses
from eptreplay.model.state import COUNTERS, PMAP
from eptreplay.snapshots import Snapshot, copy_books

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from eptreplay.ingest.dataset import GuestTrace
    from eptreplay.ingest.rows import BadRows, OnBadRows
    from eptreplay.model.reuse import Reuse
    from eptreplay.units import Every

GUEST_PBASE = 0x1_0000_0000
"""Physical address of a guest's page 0, bytes."""

SHARDS_PAGES = 8192
"""The most pages in a sample of SHARDS: what its authors show most results with."""

HEATMAP_STRETCHES = 256
"""The most stretches of addresses that a heatmap has."""


class Policy(StrEnum):
    """What the host does to the guest's memory at every sweep."""

    PLAIN = "plain"
    AGE = "age"
    HARVEST = "harvest"


class MissRatio(StrEnum):
    """How the miss-ratio curve is found."""

    INTERVALS = "intervals"
    SHARDS = "shards"
    EXACT = "exact"


class Pmap(Protocol):
    """The part of a profile that a replay needs."""

    @property
    def pmap_type(self) -> int:
        """PT_X86 or PT_EPT."""

    @property
    def pmap_flags(self) -> int:
        """PMAP_* flags."""

    @property
    def pml(self) -> bool:
        """Whether the CPU logs page modifications."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a trace is replayed.

    Args:
        policy: what a sweep does.
        every: distance between sweeps; None without sweeps.
        intervals: how many intervals of equal trace time the tables have; 0: one for the whole trace.
        page_accesses: whether to count the accesses of every page exactly.
        mrc: how the miss-ratio curve is found; all but `intervals` work on every row.
        link: what migrations are estimated with.
        on_bad_rows: `fail` or `skip`.
        slow_path: whether the models make every access, also those known to change nothing; the answers are the same.
    """

    policy: Policy = Policy.PLAIN
    every: Every | None = None
    intervals: int = 256
    page_accesses: bool = False
    mrc: MissRatio = MissRatio.INTERVALS
    link: Link = field(default_factory=Link)
    on_bad_rows: OnBadRows = "fail"
    slow_path: bool = False


Watcher = Callable[[int], None]
"""Hears how many more rows were replayed."""


@dataclass(slots=True)
class GuestResult:
    """What a replay of one guest found.

    Args:
        trace: the trace.
        pml: shape [profiles]: whether each logs page modifications.
        interval_start: where the first interval begins, in the trace's unit of time; None if unknown.
        snapshots: at the end of every interval.
        faults: shape [profiles, kinds, causes]: refused accesses.
        page: shape [pages]: guest page numbers that were touched, ascending.
        first_row: shape [pages]: the row that touched each first.
        touches: TOUCH [pages] of those.
        regions: REGION [regions] of the 2 MB regions that were written.
        stretch_pages: pages of a stretch of addresses of the heatmap.
        mrc: how the miss-ratio curve was asked for.
        reuse: distances of reuse; None if they were not asked for.
        page_accesses: shape [pages, 4]: reads, writes, fetches of those; None if not counted.
        seen: shape [profiles, pages]: SEEN_* bits of those at the end.
        state_sums: shape [profiles]: checksums of the final tables.
    """

    trace: GuestTrace
    pml: list[bool]
    interval_start: int | None
    snapshots: list[Snapshot]
    faults: NDArray[np.int64]
    page: NDArray[np.int64]
    first_row: NDArray[np.int64]
    touches: Any
    regions: Any
    stretch_pages: int
    mrc: MissRatio
    reuse: Reuse | None
    page_accesses: NDArray[np.int64] | None
    seen: NDArray[np.uint8]
    state_sums: list[int]


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array marked read-only, like views of decoded columns: kernels are compiled for that alone."""
    array.flags.writeable = False
    return array


NO_SIZES = _read_only(np.zeros(0, np.uint16))
NO_COUNTS = _read_only(np.zeros(0, np.uint32))


@dataclass(slots=True)
class Replay:
    """The state of one guest's replay under several profiles; rows go in, counters come out."""

    profiles: Sequence[Pmap]
    ram_pages: NDArray[np.int64]
    vcpus: int
    count_pages: bool = False
    slow_path: bool = False
    intervals: int = 1
    mrc: MissRatio = MissRatio.INTERVALS
    rows: int = 0
    states: Any = field(init=False)
    books: Any = field(init=False)
    log: Any = field(init=False)
    reuse: Any = field(init=False)
    page_accesses: NDArray[np.int64] = field(init=False)
    _tally: NDArray[np.void] = field(init=False)
    _cnt: NDArray[np.void] = field(init=False)
    _pmap: NDArray[np.void] = field(init=False)

    def __post_init__(self) -> None:
        """Make the empty guests."""
        pages = int(self.ram_pages[-1, 1])
        self.states = kernels.new_worlds(
            np.array([profile.pmap_type for profile in self.profiles], np.int64),
            np.array([profile.pmap_flags for profile in self.profiles], np.int64),
            self.ram_pages,
            self.vcpus,
            GUEST_PBASE,
        )
        self.books = new_books(
            self.ram_pages, self.vcpus, self.intervals, HEATMAP_STRETCHES, slow_path=self.slow_path
        )
        self.log = new_dirty_log(np.array([profile.pml for profile in self.profiles]), pages, self.vcpus)
        self.reuse = None
        if self.mrc is not MissRatio.INTERVALS:
            self.reuse = new_reuse(pages, SHARDS_PAGES if self.mrc is MissRatio.SHARDS else pages)
        # The same memory without attribute access, which is slow outside kernels.
        self._tally = self.books.tally.view(np.ndarray).view(TALLY)
        self._cnt = self.states.cnt.view(np.ndarray).view(COUNTERS)
        self._pmap = self.states.pmap.view(np.ndarray).view(PMAP)
        self.page_accesses = np.zeros((pages if self.count_pages else 0, 4), np.int64)

    def replay(self, batch: Batch, begin: int, end: int, vcpu_constant: int = 0) -> None:
        """Replay rows [begin, end) of a batch; `vcpu_constant` made the accesses where it has no column of vCPUs."""
        gpa, op = batch.gpa[begin:end], batch.op[begin:end]
        count = NO_COUNTS if batch.count is None else batch.count[begin:end]
        size = NO_SIZES
        vcpu = np.array([vcpu_constant]) if batch.vcpu is None else batch.vcpu[begin:end]
        vcpu = _read_only(vcpu.astype(np.uint16))
        if batch.size is not None and may_cross(gpa, batch.size[begin:end]):
            size = _read_only(batch.size[begin:end].astype(np.uint16))
        kernels.replay_rows(
            self.states,
            self.books,
            self.log,
            gpa,
            op,
            vcpu,
            size,
            count,
            self.rows,
        )
        if self.reuse is not None:
            note_reuses(self.reuse, self.states.quiet, gpa, size)
        if self.count_pages:
            count_page_accesses(gpa, op, size, count, self.page_accesses)
        self.rows += end - begin

    def sweep(self, policy: Policy) -> None:
        """Let the host sweep over all pages in every profile."""
        if policy is Policy.AGE:
            sweep.age(self.states)
        elif policy is Policy.HARVEST:
            harvest(self.states, self.books, self.log)

    def close_interval(self) -> None:
        """Enter the open interval in the books and begin the next."""
        close_interval(self.books, self.states.quiet)

    def snapshot(self, time: int | None) -> Snapshot:
        """Return the books as they are now."""
        books = copy_books(self.books, self._tally)
        return Snapshot(self.rows, time, books, self._cnt[:, 0].copy(), self._pmap[:, 0].copy())

    def state_sums(self) -> list[int]:
        """Return the checksum of every profile's tables."""
        sums = np.zeros(len(self.profiles), np.uint64)
        state_sums(self.states, sums)
        return [int(value) for value in sums]


def replay_trace(
    trace: GuestTrace,
    profiles: Sequence[Pmap],
    options: Options,
    *,
    watch: Watcher | None = None,
    bad_rows: BadRows | None = None,
) -> GuestResult:
    """Replay a trace from its first row to its last.

    Raises:
        TraceError: the trace is damaged, has no memory, or a row breaks a rule and the policy is `fail`.
        UsageError: the trace's unit of time does not fit the options.
    """
    replay = Replay(
        profiles,
        guest_ram_pages(trace),
        trace.vcpus,
        options.page_accesses,
        options.slow_path,
        max(1, options.intervals),
        options.mrc,
    )
    rhythms = rhythms_of(trace, options)
    snapshots: list[Snapshot] = []
    for action, time in drive(trace, replay, rhythms, options, vcpu=True, watch=watch, bad_rows=bad_rows):
        if action is Action.SWEEP:
            replay.sweep(options.policy)
        else:
            replay.close_interval()
            snapshots.append(replay.snapshot(time))
    if not snapshots or snapshots[-1].rows < replay.rows:
        replay.close_interval()
        snapshots.append(replay.snapshot(trace.last_time))
    return _result(trace, replay, snapshots)


def drive(
    trace: GuestTrace,
    replay: Replay,
    rhythms: Sequence[Rhythm],
    options: Options,
    *,
    vcpu: bool = False,
    watch: Watcher | None = None,
    bad_rows: BadRows | None = None,
) -> Iterator[tuple[Action, int | None]]:
    """Feed a trace to a replay and yield wherever a cut asks for an action, with the cut's time.

    Without `vcpu`, vCPU 0 counts as the one that made every access.
    """
    cutter = Cutter(rhythms)
    batches = read_batches(
        trace,
        time_row_groups=timed_row_groups(trace, rhythms),
        vcpu=vcpu,
        on_bad_rows=options.on_bad_rows,
        bad_rows=bad_rows,
    )
    for batch in batches:
        begin = 0
        constant = trace.row_groups[batch.row_group].vcpu_constant if vcpu else None
        for cut in cutter.cuts(batch, replay.rows, trace.row_groups[batch.row_group].time_min):
            if cut.rows > begin:
                replay.replay(batch, begin, cut.rows, constant or 0)
                begin = cut.rows
            yield cut.action, cut.time
        if batch.rows > begin:
            replay.replay(batch, begin, batch.rows, constant or 0)
        if watch is not None:
            watch(batch.rows)


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


def rhythms_of(trace: GuestTrace, options: Options) -> list[Rhythm]:
    """Return the cuts that sweeps and intervals ask for."""
    begin, end = trace.first_time, trace.last_time
    rhythms: list[Rhythm] = []
    if trace.rows == 0:
        return rhythms
    if options.policy is not Policy.PLAIN and options.every is not None:
        if not options.every.timed:
            rhythms.append(Rhythm(Action.SWEEP, rows=options.every.amount))
        elif begin is not None and end is not None:
            step = options.every.in_units_of(trace.time_unit)
            rhythms.append(Rhythm(Action.SWEEP, times=range(begin + step, end + 1, step)))
        else:
            raise TraceError(
                str(trace.files[0]),
                "row groups without statistics of the time column",
                column="time",
                advice="give the distance between sweeps in rows, or write the file with statistics",
            )
    if options.intervals > 1:
        if begin is None or end is None or end - begin < options.intervals:
            rhythms.append(Rhythm(Action.CLOSE_INTERVAL, rows=max(1, -(-trace.rows // options.intervals))))
        else:
            span = end - begin
            cuts = [begin + -(-span * k // options.intervals) for k in range(1, options.intervals)]
            rhythms.append(Rhythm(Action.CLOSE_INTERVAL, times=cuts))
    return rhythms


def _result(trace: GuestTrace, replay: Replay, snapshots: list[Snapshot]) -> GuestResult:
    """Collect what a finished replay found."""
    books = replay.books
    page = np.flatnonzero(books.first_row)
    seen = np.zeros((len(replay.profiles), len(books.first_row)), np.uint8)
    sweep.observe_pages(replay.states, seen)
    return GuestResult(
        trace=trace,
        pml=[profile.pml for profile in replay.profiles],
        interval_start=trace.first_time,
        snapshots=snapshots,
        faults=np.array(replay.states.cnt.faults[:, 0]),
        page=page,
        first_row=books.first_row[page] - 1,
        touches=books.touch[page],
        regions=books.region[np.flatnonzero(books.region.last_write)],
        stretch_pages=1 << int(books.heat_shift[0]),
        mrc=replay.mrc,
        reuse=replay.reuse,
        page_accesses=replay.page_accesses[page] if replay.count_pages else None,
        seen=seen[:, page],
        state_sums=replay.state_sums(),
    )


def warm_up() -> None:
    """Compile every kernel that a replay can need, or load it from the cache."""
    replay = Replay([_AnyPmap()], np.array([[0, 1]], np.int64), 1, count_pages=True, mrc=MissRatio.EXACT)
    gpa = _read_only(np.zeros(1, np.uint64))
    sizes = _read_only(np.ones(1, np.uint16))
    op = _read_only(np.zeros(1, np.uint8))
    batch = Batch(
        row_group=0, first_row=0, rows=1, gpa=gpa, op=op, vcpu=None, size=sizes, count=None, time=None
    )
    replay.replay(batch, 0, 1)
    replay.sweep(Policy.AGE)
    replay.sweep(Policy.HARVEST)
    replay.close_interval()
    replay.state_sums()
    sweep.observe_pages(replay.states, np.zeros((1, 1), np.uint8))


def is_compiled() -> bool:
    """Return whether the kernels of a replay need not be compiled any more on this machine."""
    return compiled_before(kernels.replay_rows) and compiled_before(sweep.observe_pages)


class _AnyPmap(NamedTuple):
    """The simplest profile."""

    pmap_type: int = 0
    pmap_flags: int = 0
    pml: bool = False
