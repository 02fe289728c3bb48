"""What a finished replay found of one of its guests: plain data, from which tables are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.model.statistics.reuse import GuestReuse
    from eptreplay.replay.found.given_back import GivenBackPages
    from eptreplay.replay.found.host import HostFindings
    from eptreplay.replay.found.snapshots import Snapshot
    from eptreplay.request.choices import MissRatio


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
        reuse: reuse distances; None if they were not asked for.
        page_accesses: shape [pages, 4]: reads, writes, fetches of those; None if not counted.
        seen: shape [profiles, pages]: SEEN_* bits of those at the end.
        state_sums: shape [profiles]: checksums of the final tables, of all guests of the host.
        bar_accesses: shape [profiles, BARs, 3]: reads, writes, fetches of the BARs of its devices.
        bar_faults: shape [profiles, BARs]: faults that mapped a page of them.
        tlb: TLB_COUNTERS [profiles]; None if TLBs were not modelled.
        guest_large: whether the guest's pages were then taken to have 2 MB.
        host: what its host did; None: it was alone on a host with enough memory.
        given_back: what it gave back; None: nothing.
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
    reuse: GuestReuse | None
    page_accesses: NDArray[np.int64] | None
    seen: NDArray[np.uint8]
    state_sums: list[int]
    bar_accesses: NDArray[np.int64]
    bar_faults: NDArray[np.int64]
    tlb: NDArray[Any] | None = None
    guest_large: bool = False
    host: HostFindings | None = None
    given_back: GivenBackPages | None = None
