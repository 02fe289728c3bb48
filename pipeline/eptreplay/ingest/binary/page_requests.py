"""Rows of a native trace as requests to a cache of pages: when, for what, and when again."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eptreplay.errors import OutputError, UsageError
from eptreplay.ingest.binary.next_access import next_accesses
from eptreplay.ingest.native.reader import read_batches
from eptreplay.ingest.trace.schema import EVENT_MIN, PAGE_SHIFT, Op
from eptreplay.units import NANOSECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from eptreplay.ingest.binary.next_access import NextAccesses
    from eptreplay.ingest.native.reader import Batch
    from eptreplay.ingest.trace.guest_trace import GuestTrace

LOST = "times finer than a second; bytes within a page, sizes and counts: a row is one request for the page of its first byte; events"
"""What no cache trace has a place for."""

_MOST_SECONDS = (1 << 32) - 1


class Rows(NamedTuple):
    """Consecutive accesses, each array of shape (n,).

    Args:
        seconds: uint64.
        page: uint64, guest page number.
        op: uint8.
        vcpu: uint16.
        following: int64, number of the next access to the page, -1 if there is none.
    """

    seconds: NDArray[np.uint64]
    page: NDArray[np.uint64]
    op: NDArray[np.uint8]
    vcpu: NDArray[np.uint16]
    following: NDArray[np.int64]


class Found:
    """What a first pass found of a trace, and its rows in a second one.

    Attributes:
        accesses: how many there are.
        pages: different ones.
        writes: of the accesses.
        first_second: of the first access, as it is written.
        last_second: of the last one.
    """

    def __init__(self, trace: GuestTrace, following: NextAccesses) -> None:
        self._trace = trace
        self._following = following
        self._unit = NANOSECONDS["s"] // NANOSECONDS[trace.time_unit]
        self.writes = 0
        first = last = None
        for batch, kept in _accesses(trace):
            time = _times(batch)[kept]
            first, last = (int(time[0]) if first is None else first), int(time[-1])
            following.add(batch.gpa[kept] >> np.uint64(PAGE_SHIFT))
            self.writes += int(np.count_nonzero(batch.op[kept] == Op.WRITE))
        self.accesses, self.pages = following.count, following.pages
        begin, end = (first or 0) // self._unit, (last or 0) // self._unit
        self._zero = begin if end > _MOST_SECONDS else 0
        self.first_second, self.last_second = begin - self._zero, end - self._zero
        if self.last_second > _MOST_SECONDS:
            raise UsageError(
                f"the trace '{trace.name}' takes {self.last_second:,} seconds; a cache trace holds 2^32 - 1 at most"
            )

    def rows(self) -> Iterator[Rows]:
        """Yield all accesses."""
        first = 0
        for batch, kept in _accesses(self._trace):
            count = int(np.count_nonzero(kept))
            yield Rows(
                seconds=_times(batch)[kept] // np.uint64(self._unit) - np.uint64(self._zero),
                page=batch.gpa[kept] >> np.uint64(PAGE_SHIFT),
                op=batch.op[kept],
                vcpu=_vcpus(self._trace, batch)[kept],
                following=self._following.of(first, count),
            )
            first += count


@contextmanager
def requests_of(trace: GuestTrace) -> Iterator[Found]:
    """Go through a trace once and find when each page is accessed next.

    Raises:
        UsageError: the trace counts cycles, or lasts too long.
        TraceError: the trace is damaged.
        OutputError: there is no room for temporary files.
    """
    if trace.time_unit not in NANOSECONDS:
        raise UsageError(
            f"the trace '{trace.name}' counts {trace.time_unit}, of which no seconds can be made; "
            'say time_unit = "ns" in a guest.toml beside it if a cycle is to be taken for a nanosecond'
        )
    try:
        with next_accesses(trace.rows) as following:
            yield Found(trace, following)
    except OSError as error:
        raise OutputError(
            f"a file that takes 8 bytes a row cannot be written ({error.strerror}); set TMPDIR"
        ) from error


def _accesses(trace: GuestTrace) -> Iterator[tuple[Batch, NDArray[np.bool_]]]:
    """Yield batches with accesses, and which of their rows are some."""
    for batch in read_batches(trace, vcpu=True, size=False):
        kept = batch.op < EVENT_MIN
        if kept.any():
            yield batch, kept


def _times(batch: Batch) -> NDArray[np.uint64]:
    assert batch.time is not None  # noqa: S101 - it was asked for
    return batch.time


def _vcpus(trace: GuestTrace, batch: Batch) -> NDArray[Any]:
    """Return the vCPU of each row."""
    constant = trace.row_groups[batch.row_group].vcpu_constant
    return np.full(batch.rows, constant, np.uint16) if batch.vcpu is None else batch.vcpu
