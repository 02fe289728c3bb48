"""Compiling beforehand all kernels that a replay needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.ingest.native.row_scan import scan_rows
from eptreplay.model.access_loop import sweep
from eptreplay.model.instances import GuestMemory
from eptreplay.model.state.rows import rows_of
from eptreplay.model.statistics.reuse import enter_at_rate
from eptreplay.replay.driver.replay import Replay
from eptreplay.replay.rows.batch import RowBatch
from eptreplay.replay.state.pmap_choice import AnyPmap
from eptreplay.request.choices import MissRatio, Policy

if TYPE_CHECKING:
    from collections.abc import Sequence


def warm_up(policies: Sequence[Policy] = tuple(Policy)) -> None:
    """Compile the kernels of a replay with any of these policies, or load them from the cache."""
    guest = GuestMemory(np.array([[0, 1]], np.int64), 1)
    replay = Replay([AnyPmap()], [guest], mrc=MissRatio.SHARDS)
    gpa, op = np.zeros(1, np.uint64), np.zeros(1, np.uint8)
    for kind in (np.uint8, np.uint16):
        columns: dict[str, Any] = {"gpa": gpa.copy(), "op": op.copy(), "size": np.ones(1, kind)}
        for column in columns.values():
            column.flags.writeable = False  # like views of decoded columns
        scan_rows(columns, 0)
    replay.replay(RowBatch(1, rows_of(gpa, op, size=np.ones(1, np.uint16))), 0, 1)
    for policy in policies:
        replay.sweep(policy)
    replay.close_interval()
    replay.snapshot(None)
    replay.state_sums()
    replay.tlb_counters()
    enter_at_rate(replay.reuse, 0)
    sweep.observe_pages(replay.states, 0, np.zeros(1, np.int64), np.zeros((1, 1), np.uint8))
