"""Collecting what a finished replay found of one of its guests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.model.access_loop import sweep
from eptreplay.model.statistics.reuse import reuse_of
from eptreplay.replay.found.guest import GuestResult
from eptreplay.request.choices import MissRatio

if TYPE_CHECKING:
    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.replay.driver.replay import Replay
    from eptreplay.replay.found.snapshots import Snapshot


def guest_result(trace: GuestTrace, replay: Replay, snapshots: list[Snapshot], guest: int = 0) -> GuestResult:
    """Collect what a finished replay found of one of its guests.

    Raises:
        UsageError: something occurred that the kernel asserts never does.
    """
    replay.check_asserted()
    statistics = replay.statistics_of(guest)
    given_back = replay.given_back[guest].found(replay.statistics)
    first_row = statistics.first_row
    if given_back is not None:
        first_row = np.where(given_back.first_row == 0, first_row, given_back.first_row)
    page = np.flatnonzero(first_row)
    begin, end = (int(replay.states.guests[0, guest][name]) for name in ("begin", "end"))
    seen = np.zeros((len(replay.profiles), len(page)), np.uint8)
    replay.write_deferred()
    sweep.observe_pages(replay.states, guest, page, seen)
    return GuestResult(
        trace=trace,
        pml=[profile.pml for profile in replay.profiles],
        interval_start=trace.first_time,
        snapshots=snapshots,
        faults=np.array(replay.states.cnt.faults[:, guest]),
        page=page,
        first_row=first_row[page] - 1,
        touches=statistics.touch[page],
        regions=statistics.region[np.flatnonzero(statistics.region.last_write)],
        stretch_pages=1 << int(replay.statistics.heat_shift[guest]),
        mrc=replay.mrc,
        reuse=None if replay.mrc is MissRatio.INTERVALS else reuse_of(replay.reuse, guest),
        page_accesses=replay.page_accesses[begin:end][page] if replay.count_pages else None,
        seen=seen,
        given_back=given_back,
        state_sums=replay.state_sums(),
        bar_accesses=replay.states.guests["bar_accesses"][:, guest].copy(),
        bar_faults=replay.states.guests["bar_faults"][:, guest].copy(),
        tlb=None if replay.tlb is None else replay.tlb_counters(),
        guest_large=replay.tlb is not None and replay.tlb.guest_large,
    )
