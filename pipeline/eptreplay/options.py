"""How traces are replayed: the options of a run, and when along the time of its traces something is due."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from eptreplay.analysis.migration import Link
from eptreplay.cuts import Action, EqualParts, EveryStep, Rhythm
from eptreplay.errors import TraceError
from eptreplay.ingest.times import why_unknown

if TYPE_CHECKING:
    from eptreplay.host import HostOptions
    from eptreplay.ingest.dataset import GuestTrace
    from eptreplay.ingest.rows import OnBadRows
    from eptreplay.units import Every


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


SHARDS_PAGES = 1024
"""The most pages in a sample of SHARDS."""

SHARDS_WEIGHT = 16
"""Pages that one of the sample stands for at the least, so that SHARDS costs about a nanosecond a row (docs/analysis.md)."""


@dataclass(frozen=True, slots=True)
class TlbOptions:
    """How TLBs are modelled.

    Args:
        guest_large: whether the guest's pages are taken to have 2 MB, not 4 KB: a trace does not tell.
        structures: entries of each paging-structure cache; 0: there is none.
    """

    guest_large: bool = False
    structures: int = 0


@dataclass(frozen=True, slots=True)
class Options:
    """How a trace is replayed.

    Args:
        policy: what a sweep does.
        every: distance between sweeps; None without sweeps.
        intervals: how many intervals of equal trace time the tables have; 0: one for the whole trace.
        page_accesses: whether to count the accesses of every page exactly.
        mrc: how the miss-ratio curve is found.
        link: what migrations are estimated with.
        on_bad_rows: `fail` or `skip`.
        tlb: how TLBs are modelled; None: not at all.
        slow_path: whether the models make every access, also those known to change nothing; the answers are the same.
        decode_ahead: whether the next rows of a trace are decoded in a thread while those before are replayed.
        host: the host that all guests share; None: each has one of its own, with memory enough.
    """

    policy: Policy = Policy.PLAIN
    every: Every | None = None
    intervals: int = 256
    page_accesses: bool = False
    mrc: MissRatio = MissRatio.SHARDS
    link: Link = field(default_factory=Link)
    on_bad_rows: OnBadRows = "fail"
    tlb: TlbOptions | None = None
    slow_path: bool = False
    decode_ahead: bool = True
    host: HostOptions | None = None


class Span(NamedTuple):
    """What part of a clock a replay covers.

    Args:
        file: a trace, for messages.
        rows: rows in all.
        begin, end: first and last time; None if unknown.
        unit: unit of time.
        why_unknown: why a time is unknown, in words; empty where none is.
    """

    file: str
    rows: int
    begin: int | None
    end: int | None
    unit: str
    why_unknown: str = ""

    @classmethod
    def of(cls, trace: GuestTrace) -> Span:
        """Return what a trace covers of its own clock."""
        file = str(trace.files[0]) if trace.files else trace.name
        return cls(file, trace.rows, trace.first_time, trace.last_time, trace.time_unit, why_unknown(trace))

    def rhythm(self, action: Action, every: Every) -> Rhythm:
        """Return the cuts for an action at a distance.

        Raises:
            TraceError: a distance in time, where times are unknown.
            UsageError: a distance in time that does not fit the unit.
        """
        if not every.timed:
            return Rhythm(action, rows=every.amount)
        if self.begin is None or self.end is None:
            raise TraceError(
                self.file,
                f"{self.why_unknown}, so it is unknown over what time sweeps or scans are due",
                column="time",
                advice="correct the trace, or give their distance in rows, as in 1M",
            )
        return Rhythm(action, times=EveryStep(self.begin, every.in_units_of(self.unit), self.end))

    def fits(self, every: Every) -> bool:
        """Return whether `rhythm` finds cuts at such a distance."""
        times_known = self.begin is not None and self.end is not None
        return not every.timed or (times_known and every.fits(self.unit))

    def cuts(self, rhythm: Rhythm) -> int:
        """Return how many cuts a rhythm of `rhythm` makes."""
        if rhythm.rows is not None:
            return self.rows // rhythm.rows
        return rhythm.times.count() if isinstance(rhythm.times, EveryStep) else 0


def sweep_rhythms(span: Span, options: Options) -> list[Rhythm]:
    """Return the cuts that sweeps ask for."""
    if span.rows == 0 or options.policy is Policy.PLAIN or options.every is None:
        return []
    return [span.rhythm(Action.SWEEP, options.every)]


def interval_rhythms(span: Span, options: Options) -> list[Rhythm]:
    """Return the cuts at which intervals end."""
    if span.rows == 0 or options.intervals <= 1:
        return []
    if span.begin is None or span.end is None or span.end - span.begin < options.intervals:
        return [Rhythm(Action.CLOSE_INTERVAL, rows=max(1, -(-span.rows // options.intervals)))]
    return [Rhythm(Action.CLOSE_INTERVAL, times=EqualParts(span.begin, span.end, options.intervals))]
