"""Row batches: consecutive rows of the guests of a host and the events among them, in the form that the model takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.model.state.rows import rows_of
from eptreplay.replay.rows.event import events_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eptreplay.ingest.native.reader import Batch
    from eptreplay.model.state.rows import Rows
    from eptreplay.replay.rows.event import HostEvent


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Consecutive rows of one guest, or of all guests of a host in their common order.

    Args:
        length: how many rows.
        rows: the columns that the model takes; elements of rows that are events have no meaning.
        time: shape (length,): their times, ascending; None where times were not asked for.
        time_min: the earliest time that any of them can have, where `time` is None; None if unknown.
        events: events among the rows and between them, in order; positions count from the first row.
        next_group: number of the row group after the one that ends with this batch; None where none ends, or nobody asked.
    """

    length: int
    rows: Rows
    time: NDArray[np.uint64] | None = None
    time_min: int | None = None
    events: tuple[HostEvent, ...] = ()
    next_group: int | None = None


def row_batch(batch: Batch, vcpu_constant: int, time_min: int | None) -> RowBatch:
    """Return the decoded rows of the only guest of a host.

    Args:
        batch: the rows.
        vcpu_constant: the vCPU that made all of them, where the batch has no column of vCPUs.
        time_min: see RowBatch.
    """
    columns: dict[str, NDArray[Any]] = {}
    if batch.size is not None and batch.crosses:
        columns["size"] = batch.size.astype(np.uint16, copy=False)
    if batch.count is not None:
        columns["count"] = batch.count
    who = (
        np.array([vcpu_constant], np.uint16)
        if batch.vcpu is None
        else batch.vcpu.astype(np.uint16, copy=False)
    )
    has_events = batch.events or batch.transitions
    return RowBatch(
        batch.rows,
        rows_of(batch.gpa, batch.op, who, **columns),
        batch.time,
        time_min,
        tuple(events_of(batch, 0, batch.rows)) if has_events else (),
    )
