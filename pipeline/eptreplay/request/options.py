"""How traces are replayed: the options of a run, as the replay takes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eptreplay.request.choices import MissRatio, Policy
from eptreplay.request.link import Link

if TYPE_CHECKING:
    from eptreplay.request.choices import OnBadRows
    from eptreplay.request.host import HostOptions
    from eptreplay.units import Every


SHARDS_PAGES = 1024
"""The most pages in the sample of SHARDS."""

SHARDS_WEIGHT = 16
"""The fewest pages that one of the sample stands for, so that SHARDS costs about a nanosecond per row (docs/analysis.md)."""


@dataclass(frozen=True, slots=True)
class TlbOptions:
    """How TLBs are modelled.

    Args:
        guest_large: whether the guest's own pages are assumed to have 2 MB, not 4 KB: a trace does not say.
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
        link: what migrations are estimated over.
        on_bad_rows: `fail` or `skip`.
        tlb: how TLBs are modelled; None: they are not.
        slow_path: whether the models make every access, also those known to change nothing; the answers are the same.
        decode_ahead: whether the next rows of a trace are decoded in a thread while those before are replayed.
        host: the host that all guests share; None: each has a host of its own with enough memory.
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
